"""Tests that may be looked at as often as one likes: the chance that any look errs is at most alpha.

A mean that is looked at every night crosses a bound for a single look sooner or later. The bounds here hold for all looks
together. `radius` is for estimates that are normal to first order, whose standard error falls as data come in; `excess_of_rate`
is exact for counts.

Source: Robbins 1970, Statistical Methods Related to the Law of the Iterated Logarithm; Howard, Ramdas, McAuliffe, Sekhon 2021,
Time-uniform, Nonparametric, Nonasymptotic Confidence Sequences, proposition 5 (normal mixture); Waudby-Smith, Arbour, Sinha,
Kennedy, Ramdas 2024, Time-uniform Central Limit Theory and Asymptotic Confidence Sequences.

Example: at the planned number of rows the bound is half as far again as that of a single look, and never ends.
    >>> [round(radius(progress, alpha=0.01), 2) for progress in (0.1, 1.0, 10.0)]
    [4.06, 3.36, 3.56]
    >>> excess_of_rate(events=9, trials=1000, limit=0.002) < 1 / 0.01 < excess_of_rate(events=11, trials=1000, limit=0.002)
    True
"""

from __future__ import annotations

import math

from ml.errors import BadInput


def radius(progress: float, alpha: float, degrees_of_freedom: float = math.inf) -> float:
    """Distance of a one-sided bound from its estimate, in standard errors.

    Args:
        progress: rows so far by those for which the bound shall be tightest; above 0.
        alpha: chance that the bound is wrong at any look, below 0.5.
        degrees_of_freedom: of the standard error; few clusters make the bound wider, as Student's t is wider than the normal.

    Raises:
        ValueError: progress or alpha is out of range.
    """
    from scipy import stats

    if not (progress > 0 and 0 < alpha < 0.5):
        raise BadInput(f"progress is {progress}, alpha is {alpha}; expected above 0, and between 0 and 0.5")
    log = -2 * math.log(2 * alpha)
    mixed = progress * max(log + math.log(max(log, 1.0)) + 1, 1.0)
    normal = math.sqrt(2 * (1 + 1 / mixed) * math.log1p(math.sqrt(mixed + 1) / (2 * alpha)))
    if math.isinf(degrees_of_freedom):
        return normal
    return float(stats.t.isf(stats.norm.sf(normal), degrees_of_freedom))


def excess_of_rate(events: int, trials: int, limit: float) -> float:
    """Evidence that events happen more often than in a share `limit` of independent trials; inf where it is overwhelming.

    It exceeds 1/alpha at any look with a chance of at most alpha if the true share is the limit or less. It is the mean of
    likelihood ratios, over shares above the limit that are drawn from Jeffreys' prior.
    """
    from scipy.special import betainc, betaln

    above = 1 - float(betainc(events + 0.5, trials - events + 0.5, limit))
    if above <= 0:
        return 0.0
    log = float(betaln(events + 0.5, trials - events + 0.5) - betaln(0.5, 0.5)) + math.log(above)
    log -= math.log(1 - float(betainc(0.5, 0.5, limit)))
    log -= events * math.log(limit) + (trials - events) * math.log1p(-limit)
    return math.exp(log) if log < 700 else math.inf
