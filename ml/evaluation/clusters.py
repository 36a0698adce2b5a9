"""Standard error of a metric when rows are clustered by entity and by day (two-way cluster-robust).

The frauds of one stolen card are found or missed together; the rows of one day share weather, a campaign or an outage. With the
influence ψ of each row on the metric, the variance is

    V = V_entity + max(V_day - V_both, 0),

where V_g is the sum of (Σ_{rows of a group} ψ)² over the groups of g, and `both` are the groups of rows with the same entity
and day. The square of a day is divided by one minus its share of the positives, because the metric is measured on that day
too. The part of the days is cut at 0: where days have no common effect, the estimate is as often negative as positive.

Source: Cameron, Gelbach & Miller 2011, Robust Inference with Multiway Clustering; Bell & McCaffrey 2002 on the division.

Example: the standard error of a mean of four rows of two cards, whose rows err together.
    >>> clusters = Clusters.of(["a", "a", "b", "b"], [0, 0, 0, 0], np.array([1, 0, 1, 0]))
    >>> influence = np.array([0.1, 0.1, -0.1, -0.1])
    >>> round(spread(influence, clusters).total, 3)  # independent rows would have 0.2
    0.283
    >>> effective_clusters(np.array([1.0, 1.0, 0.0, 0.0]))
    2.0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.errors import BadInput
from ml.evaluation.metrics import Floats, Integers


@dataclass(frozen=True, eq=False)
class Clusters:
    """Entity and day of each row.

    Attributes:
        entity: array of shape (n_rows,), the number of each row's entity, from 0.
        entities: number of entities.
        day: array of shape (n_rows,), the number of each row's day, from 0.
        both: array of shape (n_rows,), the number of each row's pair of entity and day, from 0.
        positives: array of shape (n_days,), share of the positives by day.
    """

    entity: Integers
    entities: int
    day: Integers
    both: Integers
    positives: Floats

    @classmethod
    def of(cls, entity: ArrayLike, days: ArrayLike, labels: Integers) -> Self:
        """From the entity, the day and the label of each row; arrays of shape (n_rows,), entity and day of any sortable type.

        Raises:
            ValueError: an array has another shape, or a value is missing.
        """
        codes, entities = codes_of(entity, len(labels), "clusters")
        day, count = codes_of(days, len(labels), "days")
        both = np.unique(codes * count + day, return_inverse=True)[1]
        positives = np.bincount(day, weights=labels, minlength=count)
        return cls(codes, entities, day, both, positives / max(positives.sum(), 1))

    @property
    def days_with_a_positive(self) -> int:
        """Number of days with a positive; with only one, the variance between days is unknown."""
        return int(np.count_nonzero(self.positives))


@dataclass(frozen=True)
class Spread:
    """The standard error of a metric to first order.

    Attributes:
        by_entity: standard error if days had no common effect.
        days: part of the variance that comes from days, from 0 to 1.
        degrees_of_freedom: of Student's t, Satterthwaite's for V_entity and V_day together; V_day counts in full even where it
            adds nothing to the variance.
    """

    by_entity: float
    days: float
    degrees_of_freedom: float

    @property
    def total(self) -> float:
        """The standard error."""
        return self.widen(self.by_entity)

    def widen(self, by_entity: float) -> float:
        """Widen a standard error by entity from another method in the same proportion."""
        return by_entity / float(np.sqrt(1 - self.days))


def spread(influence: Floats, clusters: Clusters) -> Spread:
    """The standard error of a metric from the influence of each row on it, shape (n_rows,)."""
    squares = _sums(influence, clusters.entity) ** 2
    by_entity, freedom = float(squares.sum()), effective_clusters(squares)
    if clusters.days_with_a_positive < 2 or not by_entity:
        return Spread(float(np.sqrt(by_entity)), 0.0, freedom)
    by_day = float(np.sum(_sums(influence, clusters.day) ** 2 / (1 - clusters.positives)))
    by_both = float(np.sum(_sums(influence, clusters.both) ** 2))
    added = max(by_day - by_both, 0.0)
    total = by_entity + added
    # Without a common effect the variance of a day grows with its positives, with a common effect with their square.
    expected = by_both * clusters.positives + added * clusters.positives**2 / np.sum(clusters.positives**2)
    of_days = max(effective_clusters(expected) - 1, 1.0)
    return Spread(
        by_entity=float(np.sqrt(by_entity)),
        days=added / total,
        degrees_of_freedom=total**2 / (by_entity**2 / freedom + by_day**2 / of_days),
    )


def effective_clusters(squares: Floats) -> float:
    """Effective number of clusters: (Σq²)²/Σq⁴, from the squares of the clusters' influences q."""
    if not squares.any():
        return float(len(squares))
    shares = squares / squares.sum()
    return float(1 / np.sum(shares**2))


def _sums(values: Floats, codes: Integers) -> Floats:
    return np.bincount(codes, weights=values).astype(np.float64)


def codes_of(groups: ArrayLike, rows: int, name: str) -> tuple[Integers, int]:
    """Number groups from 0: the codes, an array of shape (n_rows,), and the number of groups.

    Args:
        name: of the groups, for error messages.

    Raises:
        ValueError: the array has another shape, or a value is missing.
    """
    array: NDArray = np.asarray(groups)
    if array.shape != (rows,):
        raise BadInput(f"{name} have shape {array.shape}, expected ({rows},) like labels")
    missing = np.isnan(array) if array.dtype.kind == "f" else np.isnat(array) if array.dtype.kind == "M" else np.zeros(0, bool)
    if missing.any():
        raise BadInput(f"{name} are missing (NaN) for {int(missing.sum()):,} rows")
    try:
        names, codes = np.unique(array, return_inverse=True)
    except TypeError as error:
        raise BadInput(f"{name} cannot be sorted, are some of them missing or of another type? {error}") from error
    return codes, len(names)
