"""The difference of two models on the same rows, with a confidence interval that respects clusters of rows.

A stolen card brings several frauds that all models find or all miss. Resampling rows assumes that they are independent and
makes the interval too short; resampling whole cards does not. Each replicate gives every card one Poisson(1) weight, and both
models get the same weights. Rows of one day are dependent too. Days are few, so their share of the variance is computed from
influence functions instead of being resampled (`ml.evaluation.clusters`).

Example: two models that rank twelve rows of six cards on two days.
    >>> labels = [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    >>> champion = [0.9, 0.2, 0.1, 0.3, 0.4, 0.2, 0.8, 0.5, 0.1, 0.6, 0.7, 0.2]
    >>> challenger = [0.9, 0.2, 0.1, 0.8, 0.4, 0.2, 0.8, 0.5, 0.1, 0.7, 0.6, 0.2]
    >>> cards, days = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], [0] * 6 + [1] * 6
    >>> clusters = Clusters.of(cards, days, np.array(labels))
    >>> old, new = (Ranking(np.array(labels), np.array(scores), clusters) for scores in (champion, challenger))
    >>> compared = closed_form(old, new, clusters, alpha=0.05)["average precision"]
    >>> round(compared.champion, 3), round(compared.challenger, 3), round(compared.gain, 3)
    (0.83, 1.0, 0.17)
    >>> compared.lower_bound < 0 < compared.upper_bound
    True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.errors import BadInput
from ml.evaluation.clusters import Clusters, Spread, spread
from ml.evaluation.metrics import Floats, checked
from ml.evaluation.statistics import Measure, Ranking, Statistic

CELLS_PER_BLOCK = 1_000_000
"""Cells of the largest array of a block of replicates: 4 MB of weights, 8 MB for each array of sums. Larger blocks fall out
of a processor's cache: at four times the size a bootstrap takes a quarter longer."""

POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """One measure of two models on the same rows, with its uncertainty.

    Attributes:
        name, unit: what is measured.
        champion, challenger: each model's value on all rows; `champion_interval`, `challenger_interval` hold the true value
            with probability `confidence`.
        gain: how much better the challenger is; positive is better, whatever the direction of the measure.
        standard_error: of the gain, from the replicates over entities, widened by the variance between days
            (`ml.evaluation.clusters`).
        standard_error_influence: the same from influence functions alone; a cross-check without random numbers.
        share_of_days: part of the gain's variance that comes from differences between days; from 0 to 1.
        degrees_of_freedom: of Student's t; small where few cards or days determine the result.
        lower_bound, upper_bound: one-sided bounds of the gain, each missed with probability `alpha`.
        interval: two-sided interval of the gain.
    """

    name: str
    unit: str
    champion: float
    challenger: float
    champion_interval: tuple[float, float]
    challenger_interval: tuple[float, float]
    gain: float
    standard_error: float
    standard_error_influence: float
    share_of_days: float
    degrees_of_freedom: float
    lower_bound: float
    upper_bound: float
    interval: tuple[float, float]
    alpha: float
    confidence: float

    @property
    def minimum_detectable_effect(self) -> float:
        """True gain that the gate detects with probability 0.8: (t_{1-alpha} + t_{0.8} · √(n/(n-1))) · standard error.

        It is about 2.49 standard errors at alpha .05 and many clusters. The root corrects the standard error, which is too
        small with n effective clusters (at least 2): without it the gain was detected in 78 to 81 of 100 simulated gates,
        with it in 81 to 83 (30 to 400 cards with a fraud). Source: Bloom 1995, Minimum Detectable Effects.
        """
        n = max(self.degrees_of_freedom, 2.0)
        level, power = (student_quantile(p, self.degrees_of_freedom) for p in (1 - self.alpha, POWER))
        return float(level + power * np.sqrt(n / (n - 1))) * self.standard_error

    @property
    def errors_agree(self) -> bool:
        """Whether the two standard errors are within a quarter of each other."""
        return bool(np.isclose(self.standard_error, self.standard_error_influence, rtol=0.25, atol=1e-12))


def paired_bootstrap(
    champion: Sequence[Statistic],
    challenger: Sequence[Statistic],
    clusters: Clusters,
    *,
    replicates: int,
    seed: int,
    alpha: float = 0.05,
    confidence: float = 0.95,
) -> dict[str, Difference]:
    """Paired Poisson bootstrap over entities of the gain in every measure, by the measure's name.

    The bounds are gain ± t · standard error, with as many degrees of freedom as there are effective clusters: the few clusters
    with positives determine the result, however many clusters there are. Of the usual bounds this one holds its level best.
    The table gives the false promotions of an equal challenger by average precision at alpha .05, by the number of cards with
    a fraud. A card has several frauds and a common error (3,000 gates each, both tails, ± .003; the rows of
    `tests/evaluation/test_gate_statistics.py`):

    ============================  ====  ====  ====
    bound                           30    60   100
    ============================  ====  ====  ====
    bias-corrected accelerated    .095  .081  .078
    basic                         .088  .079  .075
    normal                        .071  .068  .065
    percentile                    .061  .063  .060
    t, clusters with a fraud - 1  .064  .065  .064
    t, Satterthwaite              .054  .056  .056
    **t, effective clusters**     .041  .044  .047
    ============================  ====  ====  ====

    Days widen the bounds (`ml.evaluation.clusters`). False promotions where the challenger is better on some days and worse on
    others, by a standard deviation of s in log odds of a fraud's score, means over 30, 60 and 200 cards with a fraud (6,000
    bounds a figure, ± .003; the rows of `benchmarks/payments.py`):

    ==========================================  ====  ====  ====  ====  ====  ====  ====  ====
    days                                           7     7     7     7    14    14    14    14
    s                                              0    .3    .6   1.2     0    .3    .6   1.2
    ==========================================  ====  ====  ====  ====  ====  ====  ====  ====
    entities alone                              .045  .073  .132  .220  .047  .060  .098  .156
    both; what days add is not cut at 0         .066  .067  .068  .064  .060  .062  .064  .064
    both; V_day counts for t by what it adds    .043  .056  .065  .068  .045  .050  .060  .065
    both; days have equal weights               .041  .051  .057  .060  .044  .047  .056  .059
    **both; days by their share of positives**  .040  .050  .054  .054  .043  .047  .052  .054
    ==========================================  ====  ====  ====  ====  ====  ====  ====  ====

    The 95 % interval holds the true gain in .94 to .97 of all cases, that of entities alone in .65 to .77 at s = 1.2. Where
    days have no effect, the minimum detectable effect grows by 3 % with 7 days, by 2 % with 14. Drawing entities and days at
    once (weight of a row: its card's times its day's) would be wrong: its variance is V_entity + V_day + V_both.

    Average precision ranks all rows of the window together. Where the base rates of days differ much, it measures in part how
    well a model separates the days, and a day without a positive counts with its negatives.

    Args:
        champion, challenger: statistics of each model on the same rows, in the same order.
        clusters: entity and day of each row.
        replicates: number of bootstrap replicates, at least 2.
        seed: of the weights; the same seed and rows give the same result.
        alpha: probability with which each one-sided bound may be wrong.
        confidence: of the two-sided intervals.

    Raises:
        ValueError: there are fewer than two entities, or a replicate has no positive or no negative because too few entities
            have one.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap; Hanley & MacGibbon 2006 on Poisson weights; Satterthwaite
    1946, Carter, Schnepel & Steigerwald 2017 on the effective number of clusters.
    """
    if clusters.entities < 2:
        raise BadInput("all rows belong to one cluster; an interval over clusters needs at least two")
    if replicates < 2:
        raise BadInput(f"replicates is {replicates}, expected at least 2")
    pairs = list(zip(champion, challenger, strict=True))
    largest = max(clusters.entities, *(statistic.cells for pair in pairs for statistic in pair))
    block = int(np.clip(CELLS_PER_BLOCK // largest, 1, replicates))
    generator = np.random.default_rng(seed)
    sizes = [min(block, replicates - start) for start in range(0, replicates, block)]
    drawn: list[list[list[Floats]]] = [[[], []] for _ in pairs]
    for size in sizes:
        weights = _poisson(generator, clusters.entities, size)
        for of_pair, pair in zip(drawn, pairs, strict=True):
            for of_model, statistic in zip(of_pair, pair, strict=True):
                of_model.append(statistic.figures(weights))
    differences: dict[str, Difference] = {}
    for (first, second), of_pair in zip(pairs, drawn, strict=True):
        old, new = (np.concatenate(of_model, axis=1) for of_model in of_pair)
        undefined = int(np.isnan(old + new).any(axis=0).sum())
        if undefined:
            raise BadInput(
                f"{undefined} of {replicates} replicates hold no positive or no negative: too few clusters hold one; use a "
                "longer window"
            )
        better = _better(first)
        errors = np.stack([old, new, better * (new - old)]).std(axis=2, ddof=1)
        differences |= _differences(first, second, clusters, errors, alpha, confidence)
    return differences


def closed_form(
    champion: Statistic, challenger: Statistic, clusters: Clusters, *, alpha: float, confidence: float = 0.95
) -> dict[str, Difference]:
    """As `paired_bootstrap`, without replicates, from influence functions alone: for the many small comparisons of slices."""
    return _differences(champion, challenger, clusters, None, alpha, confidence)


def compare_rankings(
    labels: ArrayLike,
    champion: ArrayLike,
    challenger: ArrayLike,
    entities: ArrayLike,
    days: ArrayLike,
    *,
    replicates: int,
    seed: int,
    alpha: float = 0.05,
    confidence: float = 0.95,
) -> dict[str, Difference]:
    """`paired_bootstrap` of average precision and ROC AUC, from rows.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        champion, challenger: arrays of shape (n_rows,), scores of the two models for the same rows.
        entities, days: arrays of shape (n_rows,), entity (the card) and day of each row, of any sortable type.

    Raises:
        ValueError: as for `paired_bootstrap`, or lengths differ, scores are not finite, or a class is missing.
    """
    if not 0 < alpha < 0.5 or not 0 < confidence < 1:
        raise BadInput(f"alpha is {alpha} and confidence {confidence}, expected (0, 0.5) and (0, 1)")
    y, old = checked(labels, champion)
    _, new = checked(labels, challenger)
    clusters = Clusters.of(entities, days, y)
    first, second = (Ranking(y, scores, clusters) for scores in (old, new))
    return paired_bootstrap([first], [second], clusters, replicates=replicates, seed=seed, alpha=alpha, confidence=confidence)


def _better(statistic: Statistic) -> Floats:
    """Factor by measure that makes better positive, shape (n_measures, 1)."""
    return np.array([[1.0 if measure.higher_is_better else -1.0] for measure in statistic.measures])


def _differences(
    first: Statistic, second: Statistic, clusters: Clusters, errors: Floats | None, alpha: float, confidence: float
) -> dict[str, Difference]:
    """Differences by measure; `errors` of shape (3, n_measures): standard errors of champion, challenger and gain from
    replicates, or None to take them from the influence functions."""
    ones = np.ones((clusters.entities, 1), dtype=np.int32)
    figures = [statistic.figures(ones)[:, 0] for statistic in (first, second)]
    old, new = (statistic.influence() for statistic in (first, second))
    differences = {}
    for index, measure in enumerate(first.measures):
        spreads = [spread(influence[index], clusters) for influence in (old, new, new - old)]
        differences[measure.name] = _difference(
            measure,
            figures=(float(figures[0][index]), float(figures[1][index])),
            spreads=spreads,
            errors=[each.by_entity for each in spreads] if errors is None else [float(error) for error in errors[:, index]],
            alpha=alpha,
            confidence=confidence,
        )
    return differences


def _difference(
    measure: Measure,
    *,
    figures: tuple[float, float],
    spreads: Sequence[Spread],
    errors: Sequence[float],
    alpha: float,
    confidence: float,
) -> Difference:
    """From the value of each model, and the spread and the standard error by entity of champion, challenger and gain."""
    gain = (figures[1] - figures[0]) * (1.0 if measure.higher_is_better else -1.0)

    def around(figure: float, which: int) -> tuple[float, float]:
        estimate = spreads[which]
        half = student_quantile(0.5 + confidence / 2, estimate.degrees_of_freedom) * estimate.widen(errors[which])
        return figure - half, figure + half

    of_gain, error = spreads[2], spreads[2].widen(errors[2])
    one_sided = student_quantile(1 - alpha, of_gain.degrees_of_freedom) * error
    return Difference(
        name=measure.name,
        unit=measure.unit,
        champion=figures[0],
        challenger=figures[1],
        champion_interval=around(figures[0], 0),
        challenger_interval=around(figures[1], 1),
        gain=gain,
        standard_error=error,
        standard_error_influence=of_gain.total,
        share_of_days=of_gain.days,
        degrees_of_freedom=of_gain.degrees_of_freedom,
        lower_bound=gain - one_sided,
        upper_bound=gain + one_sided,
        interval=around(gain, 2),
        alpha=alpha,
        confidence=confidence,
    )


def student_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Quantile of Student's t; fractional degrees of freedom are allowed."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, probability))


def student_probability(value: float, degrees_of_freedom: float) -> float:
    """Probability that Student's t lies at or below a value."""
    from scipy.special import stdtr

    return float(stdtr(degrees_of_freedom, value))


def _poisson_table() -> NDArray[np.uint8]:
    """Poisson(1) by inversion of 16 random bits: twenty times the speed of the exact draw, probabilities within 2^-16."""
    cumulative = np.cumsum([np.exp(-1) / factorial(k) for k in range(9)])
    return np.searchsorted(cumulative[:-1], (np.arange(2**16) + 0.5) / 2**16).astype(np.uint8)


_POISSON = _poisson_table()


def _poisson(generator: np.random.Generator, entities: int, replicates: int) -> NDArray[np.int32]:
    drawn = _POISSON[generator.integers(2**16, size=(replicates, entities), dtype=np.uint16)]
    return np.ascontiguousarray(drawn.T, dtype=np.int32)
