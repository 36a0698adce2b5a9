"""Detect that the values of a day, or a part of them, have another unit: cents, thousands, minutes.

A factor shifts every size |x| by a constant on a logarithmic scale and keeps zeros. So a day is compared with the reference by
the Wasserstein distance of log10 |x|: the mean shift between the two distributions, which also grows where they do not overlap.
Then the reference is shifted by each common factor, in the part of its rows that fits best. If a factor explains most of the
distance, the unit has changed.

The replicate is the day, because the rows of a day are dependent (one weather). So the distances of single reference days from
the whole reference define what is far. A day that is only a little farther is a suspicion; the same factor on the next day
confirms it.

Source: Vallender 1974, Calculation of the Wasserstein distance between probability distributions on the line.

Example: a day whose amounts are in cents.
    >>> rng = np.random.default_rng(0)
    >>> reference = Sizes.of({day: rng.lognormal(3, 1, 500) for day in range(14)})
    >>> change = reference.change(100 * rng.lognormal(3, 1, 500))
    >>> change.factor, round(change.part, 1), change.is_clear
    (100.0, 1.0, True)
    >>> reference.change(rng.lognormal(3, 1, 500)) is None
    True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ml.monitoring.shift import Floats

FACTORS = (*[10.0**power for power in range(-6, 7) if power], 60.0, 1 / 60, 3600.0, 1 / 3600)
"""Factors of common units: powers of ten, minutes, hours."""
LEVELS = 256
FEWEST_ROWS = 20
"""Fewest values that are not 0 with which a day is tested or used as a reference day."""
FEWEST_DAYS, ENOUGH_DAYS = 7, 14
"""Fewest reference days for any test, and fewest for a clear result on the first day."""
CLEAR = 3.0
"""A distance of this many times `farthest` is clear on the first day, if the factor also fits within `FITS_WELL`."""
FITS, FITS_WELL = 1 / 3, 1 / 5
"""Largest share of the distance that may remain after the shift by the factor."""
LEAST_PART = 0.1
"""Smallest share of the rows that must have changed."""
FLOOR = 0.02
"""Lower limit of the farthest distance, in powers of ten: 5 %."""
ZEROS = 0.1
"""How far the share of zeros may be outside the range of the reference days: a factor keeps zeros."""


@dataclass(frozen=True)
class Change:
    """A factor that explains a day.

    Attributes:
        factor: factor by which values were multiplied.
        part: share of the rows whose values were multiplied.
        distance: distance of the day from the reference, in powers of ten.
        remaining_distance: distance of the day from the reference after its shift by the factor, in powers of ten.
        is_clear: whether one day is sufficient evidence.
    """

    factor: float
    part: float
    distance: float
    remaining_distance: float
    is_clear: bool


@dataclass(frozen=True, eq=False)
class Sizes:
    """Distribution of the sizes |x| of a measure on the reference days.

    Attributes:
        levels: quantiles of log10 |x| over all rows that are not 0, shape (LEVELS,); empty where there are too few days.
        days: number of reference days with enough values.
        farthest: second largest distance of a reference day, so that one broken reference day has no effect.
        zeros: smallest and largest share of zeros of a reference day.
    """

    levels: Floats
    days: int
    farthest: float
    zeros: tuple[float, float]

    @classmethod
    def of(cls, days: Mapping[Any, ArrayLike]) -> Sizes:
        """From the values of the reference days, each of shape (n_rows,), NaN where one is missing."""
        values = {day: np.asarray(of_day, dtype=np.float64) for day, of_day in days.items()}
        each = [levels for of_day in values.values() if (levels := _levels(of_day)) is not None]
        together = _levels(np.concatenate(list(values.values()))) if len(each) >= FEWEST_DAYS else None
        if together is None:
            return cls(np.empty(0), len(each), 0.0, (0.0, 1.0))
        apart = sorted(_distance(levels, together) for levels in each)
        zeros = [_zeros(of_day) for of_day in values.values() if np.isfinite(of_day).any()]
        return cls(together, len(each), max(float(apart[-2]), FLOOR), (min(zeros), max(zeros)))

    def change(self, values: ArrayLike) -> Change | None:
        """The factor by which a day's values, shape (n_rows,), were multiplied; None where none explains the day."""
        present = np.asarray(values, dtype=np.float64)
        levels = _levels(present)
        if levels is None or not len(self.levels):
            return None
        distance = _distance(levels, self.levels)
        least, most = self.zeros
        if distance < self.farthest or not least - ZEROS <= _zeros(present) <= most + ZEROS:
            return None
        remaining, part, factor = min(self._explained(levels))
        if remaining > FITS * distance or part < LEAST_PART:
            return None
        is_clear = self.days >= ENOUGH_DAYS and distance >= CLEAR * self.farthest and remaining <= FITS_WELL * distance
        return Change(factor, part, distance, remaining, is_clear)

    def _explained(self, day: Floats) -> Iterator[tuple[float, float, float]]:
        """For each factor: remaining distance, part of the rows that fits best (least squares), and the factor."""
        for factor in FACTORS:
            moved = self.levels + np.log10(factor)
            edges = np.unique(np.concatenate([day, self.levels, moved]))
            widths = np.diff(edges)
            here, before, then = (_below(of, edges[:-1]) for of in (day, self.levels, moved))
            step, apart = then - before, here - before
            part = float(np.clip((widths * step) @ apart / ((widths * step) @ step), 0.0, 1.0))
            yield float(widths @ np.abs(apart - part * step)), part, factor

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {"levels": self.levels.tolist(), "days": self.days, "farthest": self.farthest, "zeros": list(self.zeros)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Sizes:
        """Restore from the record that `to_dict` returned."""
        least, most = record["zeros"]
        return cls(np.array(record["levels"], dtype=np.float64), record["days"], record["farthest"], (least, most))


def _levels(values: Floats) -> Floats | None:
    """Quantiles of log10 |x|; None for too few values."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if len(sizes) < FEWEST_ROWS:
        return None
    levels: Floats = np.quantile(np.log10(sizes), (np.arange(LEVELS) + 0.5) / LEVELS, method="inverted_cdf")
    return levels


def _zeros(values: Floats) -> float:
    present = values[np.isfinite(values)]
    return float(np.mean(present == 0)) if len(present) else 0.0


def _distance(one: Floats, other: Floats) -> float:
    """Wasserstein distance of two distributions, given their values at the same quantiles."""
    return float(np.abs(one - other).mean())


def _below(levels: Floats, at: Floats) -> Floats:
    """Cumulative distribution."""
    return np.searchsorted(levels, at, side="right") / len(levels)
