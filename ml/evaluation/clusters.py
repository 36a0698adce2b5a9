"""Rows that belong to an entity and to a day, and the standard error of a figure when both bring rows that err together.

A stolen card brings several frauds that a model finds or misses together; a day brings weather, a campaign or an outage that
all of its rows share. With the influence ψ of each row on a figure, the variance is

    V = V_entity + max(V_day - V_both, 0),

where V_g adds up (Σ_{rows of a group} ψ)² over the groups of g, and `both` are the groups of rows that share entity and day.
A day's square is divided by one less its share of the positives, for the figure is measured on that day too. What days add
is cut at 0: where days share nothing it is as often below as above.

Source: Cameron, Gelbach & Miller 2011, Robust Inference with Multiway Clustering; Bell & McCaffrey 2002 on the division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.evaluation.metrics import Floats, Integers


@dataclass(frozen=True, eq=False)
class Clusters:
    """Whose row it is and of which day.

    Attributes:
        entity: array of shape (n_rows,), the number of each row's entity, from 0.
        entities: how many there are.
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
        """From rows: whose each is and of which day, anything that sorts, and the labels, arrays of shape (n_rows,).

        Raises:
            ValueError: another shape, or a value is missing.
        """
        codes, entities = codes_of(entity, len(labels), "clusters")
        day, count = codes_of(days, len(labels), "days")
        both = np.unique(codes * count + day, return_inverse=True)[1]
        positives = np.bincount(day, weights=labels, minlength=count)
        return cls(codes, entities, day, both, positives / max(positives.sum(), 1))

    @property
    def days_with_a_positive(self) -> int:
        """With one only, nothing is known of what days add."""
        return int(np.count_nonzero(self.positives))


@dataclass(frozen=True)
class Spread:
    """The standard error of a figure to first order.

    Attributes:
        by_entity: standard error if days shared nothing.
        days: part of the variance that days add, from 0 to 1.
        degrees_of_freedom: of Student's t, Satterthwaite's for V_entity and V_day together; V_day counts in full even where it
            adds nothing, because it might have.
    """

    by_entity: float
    days: float
    degrees_of_freedom: float

    @property
    def total(self) -> float:
        """The standard error."""
        return self.widen(self.by_entity)

    def widen(self, by_entity: float) -> float:
        """A standard error by entity that was found in another way, with what days add in the same proportion."""
        return by_entity / float(np.sqrt(1 - self.days))


def spread(influence: Floats, clusters: Clusters) -> Spread:
    """The standard error of a figure from the influence of each row on it, shape (n_rows,)."""
    squares = _sums(influence, clusters.entity) ** 2
    by_entity, freedom = float(squares.sum()), effective_clusters(squares)
    if clusters.days_with_a_positive < 2 or not by_entity:
        return Spread(float(np.sqrt(by_entity)), 0.0, freedom)
    by_day = float(np.sum(_sums(influence, clusters.day) ** 2 / (1 - clusters.positives)))
    by_both = float(np.sum(_sums(influence, clusters.both) ** 2))
    added = max(by_day - by_both, 0.0)
    total = by_entity + added
    # Where days share nothing a day's variance grows with its positives, and a common effect of a day with their square.
    expected = by_both * clusters.positives + added * clusters.positives**2 / np.sum(clusters.positives**2)
    of_days = max(effective_clusters(expected) - 1, 1.0)
    return Spread(
        by_entity=float(np.sqrt(by_entity)),
        days=added / total,
        degrees_of_freedom=total**2 / (by_entity**2 / freedom + by_day**2 / of_days),
    )


def effective_clusters(squares: Floats) -> float:
    """Number of clusters that carry the result: (Σq²)²/Σq⁴, from the squares of the clusters' influences q."""
    if not squares.any():
        return float(len(squares))
    shares = squares / squares.sum()
    return float(1 / np.sum(shares**2))


def _sums(values: Floats, codes: Integers) -> Floats:
    return np.bincount(codes, weights=values).astype(np.float64)


def codes_of(groups: ArrayLike, rows: int, name: str) -> tuple[Integers, int]:
    """Number groups from 0: an array of shape (n_rows,) and how many there are.

    Args:
        name: what they are, for messages.

    Raises:
        ValueError: another shape, or a group is missing.
    """
    array: NDArray = np.asarray(groups)
    if array.shape != (rows,):
        raise ValueError(f"{name} have shape {array.shape}, expected ({rows},) like labels")
    missing = np.isnan(array) if array.dtype.kind == "f" else np.isnat(array) if array.dtype.kind == "M" else np.zeros(0, bool)
    if missing.any():
        raise ValueError(f"{name} are missing (NaN) for {int(missing.sum()):,} rows")
    try:
        names, codes = np.unique(array, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"{name} cannot be sorted, are some of them missing or of another type? {error}") from error
    return codes, len(names)
