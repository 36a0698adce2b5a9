"""Counts of one column on the reference days, and the statistics that compare a day or a week with them.

Example: a column with two bins. On the reference day 50 of 100 rows are in the upper bin, on the live day 80 of 100.
    >>> monday = dt.date(2025, 6, 2)
    >>> column = Column.of({monday: Counts(np.array([50, 50]), missing=0)})
    >>> live = Counts(np.array([20, 80]), missing=5)
    >>> value, rows = column.daily(Kind.LOCATION, live)  # shift of the mean rank
    >>> round(value, 2), rows
    (0.15, 100)
    >>> round(column.stability({monday: live})[0], 2)  # population stability index
    0.41
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ml.monitoring.bin_counter import Integers
from ml.monitoring.measurements import Kind
from ml.monitoring.profile import Counts
from ml.monitoring.shift import Floats, angle, groups, mid_ranks, stability_index

WEEK = 7
ROW_VARIANCE = {Kind.LOCATION: 1 / 12, Kind.MISSING: 1 / 4, Kind.UNSEEN: 1 / 4}
"""Largest variance of a daily value that one row can contribute."""


@dataclass(frozen=True, eq=False)
class Column:
    """Counts of one column on the reference days.

    Attributes:
        present: array of shape (n_bins,), rows of all reference days in each bin.
        by_weekday: array of shape (7, n_groups), rows by weekday (Monday is 0) in each group of bins.
        text: whether the bins are categories, without an order.
    """

    present: Integers
    by_weekday: Integers
    text: bool

    @classmethod
    def of(cls, days: Mapping[dt.date, Counts]) -> Column:
        """From the reference days."""
        present = np.sum([counts.present for counts in days.values()], axis=0)
        text = any(counts.unseen is not None for counts in days.values())
        group = groups(present, ordered=not text)
        by_weekday = np.zeros((WEEK, int(group.max(initial=0)) + 1), dtype=np.int64)
        for day, counts in days.items():
            by_weekday[day.weekday()] += _gathered(counts.present, group)
        return cls(present, by_weekday, text)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of signals of the column."""
        return (Kind.SHAPE, Kind.MISSING, Kind.UNSEEN) if self.text else (Kind.LOCATION, Kind.SHAPE, Kind.MISSING)

    def daily(self, kind: Kind, counts: Counts) -> tuple[float, float]:
        """Value of one kind on a day, and the number of rows behind it; NaN and 0 without rows.

        A share is returned as its angle (`ml.monitoring.shift.angle`), so that its variance does not depend on the share.
        """
        binned = counts.binned
        if kind is Kind.LOCATION:
            return (float(self._ranks @ counts.present) / binned, binned) if binned else (float("nan"), 0)
        unseen = counts.unseen or 0
        part, rows = (counts.missing, counts.rows) if kind is Kind.MISSING else (unseen, binned + unseen)
        return (angle(part / rows), rows) if rows else (float("nan"), 0)

    def stability(self, days: Mapping[dt.date, Counts]) -> tuple[float, float]:
        """Population stability index of days against the same weekdays of the reference, and their rows; NaN, 0 without rows.

        Weekdays are weighted by the live rows, so that a week without a Sunday is no change.
        """
        rows = [counts.binned for counts in days.values()]
        if not sum(rows) or not self._rows:
            return float("nan"), 0.0
        live = _gathered(np.sum([counts.present for counts in days.values()], axis=0), self._group)
        shares = np.array(rows) @ self._shares[[day.weekday() for day in days]] / sum(rows)
        return stability_index(live, shares * self._rows), float(sum(rows))

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {"present": self.present.tolist(), "by_weekday": self.by_weekday.tolist(), "text": self.text}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Column:
        """Restore from the record that `to_dict` returned."""
        return cls(np.array(record["present"], dtype=np.int64), np.array(record["by_weekday"], dtype=np.int64), record["text"])

    @cached_property
    def _rows(self) -> int:
        return int(self.present.sum())

    @cached_property
    def _ranks(self) -> Floats:
        return mid_ranks(self.present)

    @cached_property
    def _group(self) -> Integers:
        return groups(self.present, ordered=not self.text)

    @cached_property
    def _shares(self) -> Floats:
        """Shares of the groups by weekday, shape (7, n_groups); a weekday without reference days gets the overall shares."""
        counts = np.where(self.by_weekday.sum(axis=1, keepdims=True) > 0, self.by_weekday, self.by_weekday.sum(axis=0))
        return counts / counts.sum(axis=1, keepdims=True)


def _gathered(present: Integers, group: Integers) -> Integers:
    return np.bincount(group, weights=present, minlength=1).astype(np.int64)
