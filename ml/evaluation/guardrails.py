"""Guardrails: measures on which the challenger may not be worse than the champion by more than a margin.

Each is a non-inferiority test: a guardrail passes when the lower bound of the gain is above minus the margin, fails when the
upper bound is below it, and is unknown in between. All must pass, so alpha needs no correction (intersection-union test:
Berger 1982, Multiparameter Hypothesis Testing and Acceptance Sampling).

Example: the lower bound decides for passed, the upper bound for failed.
    >>> [status_of(lower, upper, margin=0.02).value for lower, upper in ((-0.01, 0.03), (-0.05, 0.03), (-0.05, -0.03))]
    ['passed', 'unknown', 'failed']
    >>> latency_within([0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4], limit=2.0, alpha=0.05).status.value
    'passed'
    >>> latency_within([0.8, 0.9], limit=2.0, alpha=0.05).status.value  # too few calls for a bound
    'unknown'
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from ml.evaluation.bootstrap import Difference, student_quantile
from ml.evaluation.holdout import CheckedRows
from ml.evaluation.metrics import Floats, daily_card_precision

CARD_PRECISION = "card precision"
LATENCY, SIZE = "latency", "size"


class Status(StrEnum):
    """Result of a guardrail."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class GuardrailCheck:
    """Result of one guardrail with its figures.

    Attributes:
        name, unit: the measure that is guarded.
        status: passed, failed, or unknown from these rows.
        margin: how much worse the challenger may be, or for a limit the largest value allowed.
        champion, challenger: value of each model; None where there is none.
        gain: how much better the challenger is; None for a limit.
        lower_bound, upper_bound: one-sided bounds of the gain, for a limit of the challenger's value; None where none could be
            computed.
        sentence: the result for people.
    """

    name: str
    unit: str
    status: Status
    margin: float
    champion: float | None
    challenger: float | None
    gain: float | None
    lower_bound: float | None
    upper_bound: float | None
    sentence: str

    @property
    def times_the_rows(self) -> float | None:
        """Factor on the number of rows with which an unknown guardrail would pass at the same gain; None where unknown."""
        if self.status is not Status.UNKNOWN or self.gain is None or self.lower_bound is None or self.gain <= -self.margin:
            return None
        return ((self.gain - self.lower_bound) / (self.gain + self.margin)) ** 2


def status_of(lower_bound: float, upper_bound: float, margin: float) -> Status:
    """Passed if the gain is significantly above minus the margin, failed if significantly below, otherwise unknown."""
    if lower_bound > -margin:
        return Status.PASSED
    return Status.FAILED if upper_bound < -margin else Status.UNKNOWN


def not_inferior(difference: Difference, margin: float) -> GuardrailCheck:
    """The guardrail on a measure for which both models were compared."""
    return GuardrailCheck(
        name=difference.name,
        unit=difference.unit,
        status=status_of(difference.lower_bound, difference.upper_bound, margin),
        margin=margin,
        champion=difference.champion,
        challenger=difference.challenger,
        gain=difference.gain,
        lower_bound=difference.lower_bound,
        upper_bound=difference.upper_bound,
        sentence=_sentence(difference.name, difference.champion, difference.challenger, difference.lower_bound, margin),
    )


def card_precision_by_day(rows: CheckedRows, cards_a_day: int, margin: float, alpha: float) -> GuardrailCheck:
    """Card precision@k with k = `cards_a_day`: both models on the same days, each day's difference is one observation.

    At least two days are needed; with fewer the status is unknown.
    """
    name, unit = f"{CARD_PRECISION}@{cards_a_day}", "share"
    old, new = (
        daily_card_precision(rows.days, rows.clusters.entity, rows.labels, scores, cards_a_day)
        for scores in (rows.champion, rows.challenger)
    )
    daily, champion, challenger = new - old, float(old.mean()), float(new.mean())
    if len(daily) < 2:
        sentence = f"{name}: {len(daily)} day of rows, an interval over days needs two"
        return GuardrailCheck(
            name, unit, Status.UNKNOWN, margin, champion, challenger, challenger - champion, None, None, sentence
        )
    half = student_quantile(1 - alpha, len(daily) - 1) * float(daily.std(ddof=1)) / np.sqrt(len(daily))
    gain = challenger - champion
    lower, upper = float(gain - half), float(gain + half)
    return GuardrailCheck(
        name=name,
        unit=unit,
        status=status_of(lower, upper, margin),
        margin=margin,
        champion=champion,
        challenger=challenger,
        gain=gain,
        lower_bound=lower,
        upper_bound=upper,
        sentence=_sentence(name, champion, challenger, lower, margin),
    )


def latency_within(milliseconds: ArrayLike, limit: float, alpha: float) -> GuardrailCheck:
    """The median time of scoring one row against a limit in milliseconds, with bounds by order statistics.

    The status is unknown with so few calls that order statistics give no bound: under five at alpha .05.

    Args:
        milliseconds: array of shape (n_calls,), time of each call.
    """
    from scipy.stats import binom

    times: Floats = np.sort(np.asarray(milliseconds, dtype=np.float64))
    median = float(np.median(times))
    sentence = f"{LATENCY}: the median of {len(times)} single rows is {median:.3f} ms, at most {limit:g} ms are allowed"
    below = int(binom.ppf(alpha, len(times), 0.5))
    if not below:
        return GuardrailCheck(LATENCY, "milliseconds", Status.UNKNOWN, limit, None, median, None, None, None, sentence)
    lower, upper = float(times[below - 1]), float(times[-below])
    status = Status.PASSED if upper <= limit else Status.FAILED if lower > limit else Status.UNKNOWN
    return GuardrailCheck(LATENCY, "milliseconds", status, limit, None, median, None, lower, upper, sentence)


def size_within(megabytes: float, limit: float) -> GuardrailCheck:
    """The size of the serving graph against a limit, both in megabytes."""
    status = Status.PASSED if megabytes <= limit else Status.FAILED
    sentence = f"{SIZE}: the serving graph has {megabytes:.2f} MB, at most {limit:g} MB are allowed"
    return GuardrailCheck(SIZE, "megabytes", status, limit, None, megabytes, None, megabytes, megabytes, sentence)


def unknown(name: str, unit: str, margin: float, why: str) -> GuardrailCheck:
    """A guardrail that could not be computed; it does not pass."""
    return GuardrailCheck(name, unit, Status.UNKNOWN, margin, None, None, None, None, None, why)


def _sentence(name: str, champion: float, challenger: float, lower: float, margin: float) -> str:
    return f"{name} {champion:.4g} → {challenger:.4g}: worse by at most {max(-lower, 0):.4g}, {margin:g} is allowed"
