"""Profile of a day: the number of rows in each bin of each column.

The bins are defined once per champion, from its reference rows. Profiles can be added: the sum of seven days is the profile of
a week, the sum of all reference days that of the reference.

Example: bins from six reference rows, and the profile of a day with an unknown category and a missing number.
    >>> reference = pd.DataFrame({"amount": [0.0, 0.0, 1.0, 2.0, 3.0, 4.0], "country": list("aaabbb")})
    >>> binning = cut(reference, numbers=["amount"], categories=["country"], bins=2)
    >>> profile = binning.count(pd.DataFrame({"amount": [0.5, 9.0, None], "country": ["a", "c", "b"]}))
    >>> profile.counts["amount"].present.tolist(), profile.counts["amount"].missing
    ([1, 1], 1)
    >>> profile.counts["country"].present.tolist(), profile.counts["country"].unseen
    ([1, 1], 1)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.errors import BadInput
from ml.monitoring.bin_counter import BinCounter, Integers

BINS = 256


@dataclass(frozen=True)
class Bins:
    """Bins of one column: `edges` for numbers, or `categories` for text; exactly one of the two is given.

    Bin i of a column of numbers holds the values with exactly i edges below them; an edge itself belongs to the lower bin. Text
    that is not among the categories is counted as unseen.
    """

    edges: tuple[float, ...] | None = None
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if (self.edges is None) == (self.categories is None):
            raise BadInput("give either the edges of a column of numbers or the categories of a column of text")

    @property
    def count(self) -> int:
        """Number of bins, without missing and unseen values."""
        return len(self.edges) + 1 if self.edges is not None else len(self.categories or ())

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {"edges": list(self.edges)} if self.edges is not None else {"categories": list(self.categories or ())}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Bins:
        """Restore from the record that `to_dict` returned."""
        if "edges" in record:
            return cls(edges=tuple(float(edge) for edge in record["edges"]))
        return cls(categories=tuple(record["categories"]))


@dataclass(frozen=True, eq=False)
class Counts:
    """Row counts of one column.

    Attributes:
        present: int64 array of shape (n_bins,), rows by bin.
        missing: rows without a value.
        unseen: rows with a category that the reference does not have; None for numbers.
    """

    present: Integers
    missing: int
    unseen: int | None = None

    @cached_property
    def binned(self) -> int:
        """Rows in all bins, without missing and unseen values."""
        return int(self.present.sum())

    @property
    def rows(self) -> int:
        """All rows."""
        return self.binned + (self.unseen or 0) + self.missing

    def __add__(self, other: Counts) -> Counts:
        if self.present.shape != other.present.shape or (self.unseen is None) != (other.unseen is None):
            raise BadInput(f"counts of {len(self.present)} and of {len(other.present)} bins: they were not cut alike")
        unseen = None if self.unseen is None else self.unseen + (other.unseen or 0)
        return Counts(self.present + other.present, self.missing + other.missing, unseen)

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {"present": self.present.tolist(), "missing": self.missing, "unseen": self.unseen}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Counts:
        """Restore from the record that `to_dict` returned."""
        return cls(np.array(record["present"], dtype=np.int64), record["missing"], record["unseen"])


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts by column, of one day or of the sum of several days."""

    rows: int
    counts: Mapping[str, Counts]

    def __add__(self, other: Profile) -> Profile:
        if self.counts.keys() != other.counts.keys():
            raise BadInput(f"profiles differ in the columns {sorted(self.counts.keys() ^ other.counts.keys())}")
        return Profile(self.rows + other.rows, {name: counts + other.counts[name] for name, counts in self.counts.items()})

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {"rows": self.rows, "counts": {name: counts.to_dict() for name, counts in self.counts.items()}}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Profile:
        """Restore from the record that `to_dict` returned."""
        return cls(record["rows"], {name: Counts.from_dict(counts) for name, counts in record["counts"].items()})


@dataclass(frozen=True)
class Binning:
    """Bins of all columns, by name."""

    columns: Mapping[str, Bins]

    def count(self, frame: pd.DataFrame) -> Profile:
        """Profile of a frame's rows.

        Raises:
            ValueError: the frame lacks a column, or a column of numbers holds something else.
        """
        lacking = [name for name in self.columns if name not in frame.columns]
        if lacking:
            raise BadInput(f"the frame lacks the columns {lacking}; it has {list(frame.columns)}")

        def of(name: str) -> Counts:
            bins = self.columns[name]
            if bins.edges is None:
                return _count_text(frame[name], bins.categories or ())
            return Counts(*self._counters[name].count(numbers_of(frame[name])))

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return Profile(len(frame), dict(zip(self.columns, pool.map(of, self.columns), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {name: bins.to_dict() for name, bins in self.columns.items()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Binning:
        """Restore from the record that `to_dict` returned."""
        return cls({name: Bins.from_dict(bins) for name, bins in record.items()})

    @cached_property
    def _counters(self) -> dict[str, BinCounter]:
        return {name: BinCounter(np.array(bins.edges)) for name, bins in self.columns.items() if bins.edges is not None}


def cut(frame: pd.DataFrame, numbers: Sequence[str], categories: Sequence[str] = (), bins: int = BINS) -> Binning:
    """Define the bins of all columns from reference rows.

    Numbers are cut at quantiles into up to `bins` bins. A value as frequent as two bins, for example 0, gets its own bin; a
    column with at most `bins` distinct values gets a bin for each. Text keeps its `bins` most frequent categories; rarer ones
    count as unseen.

    Args:
        numbers, categories: names of the columns.

    Raises:
        ValueError: the frame lacks a column, a name is given twice, or `bins` is below 2.
    """
    names = [*numbers, *categories]
    lacking = [name for name in names if name not in frame.columns]
    if lacking or len(set(names)) < len(names) or bins < 2:
        raise BadInput(f"asked for {bins} bins (at least 2) of the columns {names}; the frame lacks {lacking}")
    cuts = {name: Bins(edges=_edges(numbers_of(frame[name]), bins)) for name in numbers}
    return Binning(cuts | {name: Bins(categories=_categories(frame[name], bins)) for name in categories})


def numbers_of(column: pd.Series) -> NDArray[Any]:
    """A column as float32 if it is that, otherwise as float64, with NaN where it is missing."""
    if column.dtype == np.float32:
        return column.to_numpy()
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise BadInput(f"column '{column.name}' is cut as numbers, but it is {column.dtype}: {error}") from error


def _edges(numbers: NDArray[Any], bins: int) -> tuple[float, ...]:
    values, counts = np.unique(numbers[~np.isnan(numbers)].astype(np.float64), return_counts=True)
    if len(values) <= bins:
        last = np.arange(len(values) - 1)
    else:
        at_or_below = np.cumsum(counts)
        wanted = np.arange(1, bins) * at_or_below[-1] / bins
        last, times = np.unique(np.searchsorted(at_or_below, wanted, side="left"), return_counts=True)
        atoms = last[times > 1]
        last = np.union1d(last, atoms - 1)
        last = last[(last >= 0) & (last < len(values) - 1)]
    below, above = values[last], values[last + 1]
    with np.errstate(over="ignore", invalid="ignore"):
        middle = below + (above - below) / 2
    return tuple(np.where((middle >= below) & (middle < above), middle, below).tolist())


def _categories(column: pd.Series, bins: int) -> tuple[str, ...]:
    frequent = _texts(column)
    return tuple(sorted(frequent.index[:bins]))


def _texts(column: pd.Series) -> pd.Series:
    """Rows by text, the most frequent first, then in alphabetical order; missing values are left out."""
    counts = column.value_counts(sort=False)
    counts = counts.groupby(counts.index.astype(str)).sum()
    return counts.iloc[np.lexsort((counts.index.to_numpy(dtype=str), -counts.to_numpy()))]


def _count_text(column: pd.Series, categories: Sequence[str]) -> Counts:
    counts = _texts(column)
    present = counts.reindex(list(categories), fill_value=0).to_numpy(dtype=np.int64)
    not_missing = int(counts.sum())
    return Counts(present, len(column) - not_missing, not_missing - int(present.sum()))
