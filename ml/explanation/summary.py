"""Summary statistics of a training set by column and by day, and the shift of a column between two training sets.

Example: the shift of numbers is the Kolmogorov-Smirnov distance, that of categories the total variation distance.
    >>> shift_of_numbers(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0]), "amount").size
    0.5
    >>> labels = np.array([0, 0, 0, 1])
    >>> before = summarize_category(pd.Series(["a", "a", "b", "b"]), labels, "channel")
    >>> after = summarize_category(pd.Series(["a", "a", "a", "b"]), labels, "channel")
    >>> shift_of_category(before, after).sentence
    "most: 'a' 50.00 % → 75.00 %"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.explanation.document import share

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
BINS = 32
SKEWED = 30.0
POINTS = 2000


@dataclass(frozen=True)
class NumberSummary:
    """Summary of a column of numbers.

    Attributes:
        missing: share of rows without a value.
        quantiles: at `QUANTILES`, of all rows with a value.
        means: of rows with label 0 and with label 1; None without such rows.
        negatives, positives: rows per bin between the 0.5 and 99.5 percentiles; values outside are in the outermost bins.
        is_log: whether the bins are of equal width on a logarithmic scale.
    """

    name: str
    missing: float
    quantiles: tuple[float, ...]
    means: tuple[float | None, float | None]
    negatives: tuple[int, ...]
    positives: tuple[int, ...]
    is_log: bool


@dataclass(frozen=True)
class Level:
    """A value of a category column: its rows, and those of them with a positive label."""

    name: str
    rows: int
    positives: int


@dataclass(frozen=True)
class CategorySummary:
    """Summary of a category column: share of rows without a value, and its levels, the most frequent first."""

    name: str
    missing: float
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Day:
    """Rows of a day, and those of them with a positive label."""

    date: str
    rows: int
    positives: int


@dataclass(frozen=True)
class Shift:
    """Shift of a column between two training sets: `size` in [0, 1], and a sentence with figures.

    The size is the largest distance of the two distribution functions (Kolmogorov-Smirnov) for numbers, at up to 2000 points of
    each, half the sum of the absolute differences of shares (total variation) for categories, and the difference of the missing
    shares if that is larger.
    """

    name: str
    size: float
    sentence: str


def summarize_numbers(values: np.ndarray, labels: np.ndarray, name: str) -> NumberSummary:
    """Summary of a column of numbers; `values` and `labels` of shape (n_rows,), NaN for a missing value."""
    is_present = np.isfinite(values)
    present, positive = values[is_present], labels[is_present] == 1
    if not len(present):
        return NumberSummary(name, 1.0, (), (None, None), (), (), False)
    ordered = np.sort(present)
    low, high = _at(ordered, 0.005), _at(ordered, 0.995)
    is_log = low >= 0 and high > SKEWED * _at(ordered, 0.5) > 0
    scaled = np.clip(present, low, high)
    ends = np.array([low, high if high > low else low + 1])
    if is_log:
        scaled, ends = np.log1p(scaled), np.log1p(ends)
    placed = np.clip(BINS * (scaled - ends[0]) / (ends[1] - ends[0]), 0, BINS - 1).astype(np.int64)
    return NumberSummary(
        name=name,
        missing=float(1 - is_present.mean()),
        quantiles=tuple(_at(ordered, q) for q in QUANTILES),
        means=(_mean(present[~positive]), _mean(present[positive])),
        negatives=tuple(map(int, np.bincount(placed[~positive], minlength=BINS))),
        positives=tuple(map(int, np.bincount(placed[positive], minlength=BINS))),
        is_log=bool(is_log),
    )


def summarize_category(values: pd.Series, labels: np.ndarray, name: str) -> CategorySummary:
    """Summary of a category column; `values` and `labels` of shape (n_rows,)."""
    missing = float(values.isna().mean())
    codes, levels_in_order = pd.factorize(values)
    named = pd.Index(levels_in_order).astype(str).append(pd.Index([""]))
    grouped = pd.DataFrame({"size": 1, "sum": labels}).groupby(codes).sum()
    grouped.index = named.take(grouped.index)
    grouped = grouped.groupby(level=0).sum()
    ordered = grouped.sort_index().sort_values("size", ascending=False, kind="stable")
    levels = tuple(Level(str(level), int(rows), int(positives)) for level, rows, positives in ordered.itertuples())
    return CategorySummary(name, missing, levels)


def per_day(times: pd.Series, labels: np.ndarray) -> tuple[Day, ...]:
    """Rows and positives of each day from the first to the last, including days without rows."""
    days = times.dt.tz_localize(None).dt.floor("D")
    grouped = pd.Series(labels).groupby(days.to_numpy()).agg(["size", "sum"])
    every = pd.date_range(grouped.index.min(), grouped.index.max(), freq="D")
    return tuple(
        Day(f"{day:%Y-%m-%d}", int(rows), int(positives))
        for day, rows, positives in grouped.reindex(every, fill_value=0).itertuples()
    )


def spearman(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Rank correlations of columns, shape (n, n); a missing value gets the mean rank, a constant column 0."""
    ranks = frame[list(columns)].rank()
    ranks = ranks.fillna(ranks.mean()).fillna(0.0).to_numpy(np.float64)
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    scaled = centred / np.where(norms > 0, norms, 1.0)
    correlations: np.ndarray = scaled.T @ scaled
    return correlations


def shift_of_numbers(before: np.ndarray, after: np.ndarray, name: str) -> Shift:
    """Shift of a column of numbers; arrays with NaN for a missing value."""
    missing = [float(1 - np.isfinite(values).mean()) for values in (before, after)]
    first, second = (np.sort(values[np.isfinite(values)]) for values in (before, after))
    more_missing = abs(missing[1] - missing[0])
    if not len(first) or not len(second):
        return Shift(name, more_missing, f"missing {share(missing[0], 1)} → {share(missing[1], 1)}")
    points = np.concatenate([values[:: max(1, len(values) // POINTS)] for values in (first, second)])
    below = [np.searchsorted(values, points, side="right") / len(values) for values in (first, second)]
    place = int(np.abs(below[1] - below[0]).argmax())
    distance = float(abs(below[1][place] - below[0][place]))
    medians = " → ".join(f"{_at(values, 0.5):,.4g}" for values in (first, second))
    moved = f"{share(below[0][place])} → {share(below[1][place])} of rows are at most {points[place]:,.4g}"
    sentence = f"{moved}; median {medians}"
    if more_missing > 0.0005:
        sentence += f"; missing {share(missing[0], 1)} → {share(missing[1], 1)}"
    return Shift(name, max(distance, more_missing), sentence)


def shift_of_category(before: CategorySummary, after: CategorySummary) -> Shift:
    """Shift of a category column, with its new and removed levels."""
    shares = []
    for summary in (before, after):
        whole = sum(level.rows for level in summary.levels) or 1
        shares.append({level.name: level.rows / whole for level in summary.levels})
    first, second = shares
    differences = {level: second.get(level, 0.0) - first.get(level, 0.0) for level in {**first, **second}}
    size = sum(map(abs, differences.values())) / 2
    parts = []
    for what, levels in (("new", [x for x in second if x not in first]), ("gone", [x for x in first if x not in second])):
        if levels:
            shown = ", ".join(repr(level) for level in levels[:5])
            parts.append(f"{what}: {shown}" + (f" and {len(levels) - 5} more" if len(levels) > 5 else ""))
    if size > 0:
        most = max(differences, key=lambda level: abs(differences[level]))
        parts.append(f"most: {most!r} {share(first.get(most, 0.0))} → {share(second.get(most, 0.0))}")
    return Shift(after.name, size, "; ".join(parts) or "the same shares")


def _at(ordered: np.ndarray, quantile: float) -> float:
    """A quantile of sorted values of shape (n,), n above 0."""
    return float(ordered[min(int(quantile * len(ordered)), len(ordered) - 1)])


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
