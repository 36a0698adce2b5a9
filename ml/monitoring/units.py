"""Whether the values of a day, or a part of them, came in another unit: cents, thousands, minutes.

A factor moves every size |x| by the same step on a logarithmic scale, and leaves zeros where they are. So a day is compared
with the reference by Wasserstein's distance of the logarithms of its sizes, which is what the sizes must be moved by on
average, and which goes on growing where all values lie outside of the reference. Then the reference itself is moved by each
factor that people use, in the part of its rows that fits best. If that explains the day and nothing else does, its unit
has changed.

The replicate is the day: all rows of a day may share one weather, and lie far from the reference together. How far single
reference days have lain from all of them says what is far. A day that lies farther, but not by much, is only doubted; the
same factor on the next day confirms it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ml.monitoring.shift import Floats

FACTORS = (*[10.0**power for power in range(-6, 7) if power], 60.0, 1 / 60, 3600.0, 1 / 3600)
"""Of cents, thousands, minutes and the like."""
LEVELS = 256
FEWEST_ROWS = 20
"""Rows with a size without which a day is neither judged nor a reference day."""
FEWEST_DAYS, ENOUGH_DAYS = 7, 14
"""Reference days without which nothing is judged, and without which every judgement is in doubt."""
CLEAR = 3.0
"""A distance that is so many times the farthest of the reference days leaves no doubt, if it also `FITS_WELL`."""
FITS, FITS_WELL = 1 / 3, 1 / 5
"""Of the distance, what may be left when the factor is taken into account."""
LEAST_PART = 0.1
"""Of the rows, that must have been hit."""
FLOOR = 0.02
"""Least distance that reference days are taken to have, in powers of ten: 5 %."""
ZEROS = 0.1
"""By how much the share of zeros may lie outside of that of the reference days: a factor leaves them where they are."""


@dataclass(frozen=True)
class Change:
    """A factor that explains a day.

    Attributes:
        factor: by which values were multiplied; part: of the rows, in which they were.
        distance: of the day from the reference, in powers of ten; rest: from the reference when it is moved likewise.
        is_clear: whether no day like this one is to be expected.
    """

    factor: float
    part: float
    distance: float
    rest: float
    is_clear: bool


@dataclass(frozen=True, eq=False)
class Sizes:
    """What sizes a measure has on the reference days.

    Attributes:
        levels: quantiles of log10 |x| over all rows that are not 0, shape (LEVELS,); empty where there are too few days.
        days: that have enough of them.
        farthest: how far from them a reference day may lie; the farthest but one, so that one broken day hides no other.
        zeros: least and largest share of zeros of a reference day.
    """

    levels: Floats
    days: int
    farthest: float
    zeros: tuple[float, float]

    @classmethod
    def of(cls, days: Mapping[Any, ArrayLike]) -> Sizes:
        """From the values of the reference days, each of shape (n_rows,), NaN where one is missing."""
        values = {day: np.asarray(told, dtype=np.float64) for day, told in days.items()}
        each = [levels for told in values.values() if (levels := _levels(told)) is not None]
        together = _levels(np.concatenate(list(values.values()))) if len(each) >= FEWEST_DAYS else None
        if together is None:
            return cls(np.empty(0), len(each), 0.0, (0.0, 1.0))
        apart = sorted(_distance(levels, together) for levels in each)
        zeros = [_zeros(told) for told in values.values() if np.isfinite(told).any()]
        return cls(together, len(each), max(float(apart[-2]), FLOOR), (min(zeros), max(zeros)))

    def change(self, values: ArrayLike) -> Change | None:
        """The factor by which a day's values, shape (n_rows,), were multiplied; None where none explains the day."""
        told = np.asarray(values, dtype=np.float64)
        levels = _levels(told)
        if levels is None or not len(self.levels):
            return None
        distance = _distance(levels, self.levels)
        least, most = self.zeros
        if distance < self.farthest or not least - ZEROS <= _zeros(told) <= most + ZEROS:
            return None
        rest, part, factor = min(self._explained(levels))
        if rest > FITS * distance or part < LEAST_PART:
            return None
        is_clear = self.days >= ENOUGH_DAYS and distance >= CLEAR * self.farthest and rest <= FITS_WELL * distance
        return Change(factor, part, distance, rest, is_clear)

    def _explained(self, day: Floats) -> Iterator[tuple[float, float, float]]:
        """By factor: the distance that is left, the part of the rows that fits best (least squares), and the factor."""
        for factor in FACTORS:
            moved = self.levels + np.log10(factor)
            edges = np.unique(np.concatenate([day, self.levels, moved]))
            widths = np.diff(edges)
            here, before, then = (_below(of, edges[:-1]) for of in (day, self.levels, moved))
            step, apart = then - before, here - before
            part = float(np.clip((widths * step) @ apart / ((widths * step) @ step), 0.0, 1.0))
            yield float(widths @ np.abs(apart - part * step)), part, factor

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"levels": self.levels.tolist(), "days": self.days, "farthest": self.farthest, "zeros": list(self.zeros)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Sizes:
        """From what `to_dict` gave."""
        least, most = told["zeros"]
        return cls(np.array(told["levels"], dtype=np.float64), told["days"], told["farthest"], (least, most))


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
    """Wasserstein's distance of two distributions that are told by the same quantiles."""
    return float(np.abs(one - other).mean())


def _below(levels: Floats, at: Floats) -> Floats:
    """Cumulative distribution."""
    return np.searchsorted(levels, at, side="right") / len(levels)
