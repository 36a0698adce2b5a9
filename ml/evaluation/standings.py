"""How several versions stand on the same labelled events: average precision of each, and every difference between two.

Every version is compared with every other one by the gate's statistics: the closed form of the paired difference, with standard
errors that respect entities and days (`ml.evaluation.bootstrap.closed_form`). Of many comparisons some look certain by chance,
so their p-values are adjusted together (`ml.evaluation.holm`): if no two versions differ, the chance that any pair is called
certain is at most `ALPHA`, for one look at a time that was fixed beforehand. Looking every day, until something is certain, is
wrong more often.

Example: the third version is better than two that are alike, on 200 positives of as many customers.
    >>> import numpy as np
    >>> generator = np.random.default_rng(3)
    >>> labels = np.tile([1, 0, 0, 0, 0], 200)
    >>> scores = {name: signal * labels + generator.normal(size=1000) for name, signal in (("1", 1), ("2", 1), ("3", 2))}
    >>> found = standings(labels, scores, entities=np.arange(1000) // 5, days=np.arange(1000) % 7)
    >>> [(each.first, each.second) for each in found.comparisons if each.is_certain]
    [('1', '3'), ('2', '3')]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from numpy.typing import ArrayLike

from ml.evaluation.bootstrap import Difference, closed_form, student_probability
from ml.evaluation.clusters import Clusters
from ml.evaluation.holm import adjusted
from ml.evaluation.metrics import Floats, Integers
from ml.evaluation.release import POSITIVES
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking

ALPHA = 0.05
"""Chance that any two versions that do not differ are called different, over all comparisons."""


@dataclass(frozen=True)
class Standing:
    """Average precision of a version with its 95 % interval."""

    version: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same events.

    Parameters:
        gain: average precision of the second less that of the first; `low` and `high` are its 95 % interval, for this
            comparison alone.
        p: two-sided p-value of no difference, adjusted for all comparisons.
        is_certain: the p-value is at most `ALPHA`.
    """

    first: str
    second: str
    gain: float
    low: float
    high: float
    p: float
    is_certain: bool


@dataclass(frozen=True)
class Standings:
    """Versions in the order in which they were given, and their comparisons: each with those after it."""

    versions: tuple[Standing, ...]
    comparisons: tuple[Comparison, ...]


def standings(labels: Integers, scores: Mapping[str, Floats], entities: ArrayLike, days: ArrayLike) -> Standings | None:
    """Compare versions on the same events; None with fewer than `POSITIVES` positives, without a negative, or of one entity.

    Args:
        labels: array of shape (n_events,), 0 or 1.
        scores: of each version, at least two, on the same events, shape (n_events,).
        entities, days: of each event, shape (n_events,), of any sortable type.
    """
    positives = int(labels.sum())
    if positives < POSITIVES or positives == len(labels):
        return None
    clusters = Clusters.of(entities, days, labels)
    if clusters.entities < 2:
        return None
    rankings = {version: Ranking(labels, of_version, clusters) for version, of_version in scores.items()}
    pairs = list(combinations(rankings, 2))
    found = {
        (first, second): closed_form(rankings[first], rankings[second], clusters, alpha=ALPHA)[AVERAGE_PRECISION.name]
        for first, second in pairs
    }
    p_values = adjusted([_two_sided(difference) for difference in found.values()])
    comparisons = [
        Comparison(first, second, difference.gain, *difference.interval, p, p <= ALPHA)
        for ((first, second), difference), p in zip(found.items(), p_values, strict=True)
    ]
    beginning = pairs[0][0]
    versions = [Standing(beginning, found[pairs[0]].champion, *found[pairs[0]].champion_interval)]
    versions += [
        Standing(version, found[beginning, version].challenger, *found[beginning, version].challenger_interval)
        for version in rankings
        if version != beginning
    ]
    return Standings(tuple(versions), tuple(comparisons))


def _two_sided(difference: Difference) -> float:
    if not difference.standard_error:
        return 1.0 if not difference.gain else 0.0
    return 2 * student_probability(-abs(difference.gain) / difference.standard_error, difference.degrees_of_freedom)
