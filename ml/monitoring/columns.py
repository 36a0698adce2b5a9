"""One column's reference days, and what a day or a week is compared with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ml.monitoring.lookup import Integers
from ml.monitoring.profile import Counts
from ml.monitoring.readings import Kind
from ml.monitoring.shift import Floats, angle, groups, mid_ranks, stability_index

WEEK = 7
ROW_VARIANCE = {Kind.LOCATION: 1 / 12, Kind.MISSING: 1 / 4, Kind.UNSEEN: 1 / 4}
"""Variance of a value that one row contributes, at most."""


@dataclass(frozen=True, eq=False)
class Column:
    """Rows of the reference days of one column.

    Attributes:
        present: by bin, shape (n_bins,).
        by_weekday: by weekday and group of bins, shape (7, n_groups); Monday is 0.
        text: whether the bins are categories, which have no order.
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
        """What is watched of the column."""
        return (Kind.SHAPE, Kind.MISSING, Kind.UNSEEN) if self.text else (Kind.LOCATION, Kind.SHAPE, Kind.MISSING)

    def daily(self, kind: Kind, counts: Counts) -> tuple[float, float]:
        """Value of a day and the rows that it rests on; NaN without rows.

        A share comes as its angle, so that the spread of days does not depend on it.
        """
        seen = counts.seen
        if kind is Kind.LOCATION:
            return (float(self._ranks @ counts.present) / seen, seen) if seen else (float("nan"), 0)
        unseen = counts.unseen or 0
        part, rows = (counts.missing, seen + unseen + counts.missing) if kind is Kind.MISSING else (unseen, seen + unseen)
        return (angle(part / rows), rows) if rows else (float("nan"), 0)

    def stability(self, days: Mapping[dt.date, Counts]) -> tuple[float, float]:
        """Stability index of some days against the same weekdays of the reference, and their rows; NaN without rows.

        Weekdays count by the live rows, so that a week that lacks its Sunday is not taken for a change.
        """
        rows = [counts.seen for counts in days.values()]
        if not sum(rows) or not self._rows:
            return float("nan"), 0.0
        live = _gathered(np.sum([counts.present for counts in days.values()], axis=0), self._group)
        shares = np.array(rows) @ self._shares[[day.weekday() for day in days]] / sum(rows)
        return stability_index(live, shares * self._rows), float(sum(rows))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"present": self.present.tolist(), "by_weekday": self.by_weekday.tolist(), "text": self.text}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Column:
        """From what `to_dict` gave."""
        return cls(np.array(told["present"], dtype=np.int64), np.array(told["by_weekday"], dtype=np.int64), told["text"])

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
        """Shares of the groups by weekday, shape (7, n_groups); a weekday that the reference lacks is like all of it."""
        told = np.where(self.by_weekday.sum(axis=1, keepdims=True) > 0, self.by_weekday, self.by_weekday.sum(axis=0))
        return told / told.sum(axis=1, keepdims=True)


def _gathered(present: Integers, group: Integers) -> Integers:
    return np.bincount(group, weights=present, minlength=1).astype(np.int64)
