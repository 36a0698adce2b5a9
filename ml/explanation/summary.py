"""Figures of a training set, column by column and day by day, and how far they are from those of another one."""

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
    """A column of numbers.

    Attributes:
        missing: share of rows without a value.
        quantiles: at `QUANTILES`, of all rows with a value.
        means: of rows with label 0 and with label 1; None where there is none.
        negatives, positives: rows a bin, between the 0.5 and 99.5 percentiles; what lies beyond is in the outermost bins.
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
    """A category column: share of rows without a value, and its levels, the commonest first."""

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
    """A column that differs between two training sets; `size` in [0, 1] is the share of rows that would have to change.

    It is the largest distance between the two distribution functions (Kolmogorov, Smirnov) for numbers, looked for at 2000
    points of each, half the sum of the differences of shares (total variation) for categories, and the difference of the
    missing shares where that is larger.
    """

    name: str
    size: float
    told: str


def summarize_numbers(values: np.ndarray, labels: np.ndarray, name: str) -> NumberSummary:
    """Figures of a column; `values` of shape (n_rows,) with NaN for a missing one, `labels` of the same shape."""
    there = np.isfinite(values)
    found, positive = values[there], labels[there] == 1
    if not len(found):
        return NumberSummary(name, 1.0, (), (None, None), (), (), False)
    ordered = np.sort(found)
    low, high = _at(ordered, 0.005), _at(ordered, 0.995)
    is_log = low >= 0 and high > SKEWED * _at(ordered, 0.5) > 0
    scaled = np.clip(found, low, high)
    ends = np.array([low, high if high > low else low + 1])
    if is_log:
        scaled, ends = np.log1p(scaled), np.log1p(ends)
    placed = np.clip(BINS * (scaled - ends[0]) / (ends[1] - ends[0]), 0, BINS - 1).astype(np.int64)
    return NumberSummary(
        name=name,
        missing=float(1 - there.mean()),
        quantiles=tuple(_at(ordered, q) for q in QUANTILES),
        means=(_mean(found[~positive]), _mean(found[positive])),
        negatives=tuple(map(int, np.bincount(placed[~positive], minlength=BINS))),
        positives=tuple(map(int, np.bincount(placed[positive], minlength=BINS))),
        is_log=bool(is_log),
    )


def summarize_category(values: pd.Series, labels: np.ndarray, name: str) -> CategorySummary:
    """Figures of a category column."""
    missing = float(values.isna().mean())
    codes, levels_found = pd.factorize(values)
    named = pd.Index(levels_found).astype(str).append(pd.Index([""]))
    grouped = pd.DataFrame({"size": 1, "sum": labels}).groupby(codes).sum()
    grouped.index = named.take(grouped.index)
    grouped = grouped.groupby(level=0).sum()
    ordered = grouped.sort_index().sort_values("size", ascending=False, kind="stable")
    levels = tuple(Level(str(level), int(rows), int(positives)) for level, rows, positives in ordered.itertuples())
    return CategorySummary(name, missing, levels)


def per_day(times: pd.Series, labels: np.ndarray) -> tuple[Day, ...]:
    """Rows and positives of each day from the first to the last; a day without rows is there with none."""
    days = times.dt.tz_localize(None).dt.floor("D")
    grouped = pd.Series(labels).groupby(days.to_numpy()).agg(["size", "sum"])
    every = pd.date_range(grouped.index.min(), grouped.index.max(), freq="D")
    return tuple(
        Day(f"{day:%Y-%m-%d}", int(rows), int(positives))
        for day, rows, positives in grouped.reindex(every, fill_value=0).itertuples()
    )


def spearman(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Rank correlations of columns, shape (n, n); a missing value takes the middle rank, a constant correlates with nothing."""
    ranks = frame[list(columns)].rank()
    ranks = ranks.fillna(ranks.mean()).fillna(0.0).to_numpy(np.float64)
    centred = ranks - ranks.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    scaled = centred / np.where(norms > 0, norms, 1.0)
    found: np.ndarray = scaled.T @ scaled
    return found


def shift_of_numbers(before: np.ndarray, after: np.ndarray, name: str) -> Shift:
    """How far a column of numbers moved; arrays with NaN for a missing value."""
    missing = [float(1 - np.isfinite(values).mean()) for values in (before, after)]
    first, second = (np.sort(values[np.isfinite(values)]) for values in (before, after))
    gone = abs(missing[1] - missing[0])
    if not len(first) or not len(second):
        return Shift(name, gone, f"missing {share(missing[0], 1)} → {share(missing[1], 1)}")
    points = np.concatenate([values[:: max(1, len(values) // POINTS)] for values in (first, second)])
    below = [np.searchsorted(values, points, side="right") / len(values) for values in (first, second)]
    place = int(np.abs(below[1] - below[0]).argmax())
    distance = float(abs(below[1][place] - below[0][place]))
    medians = " → ".join(f"{_at(values, 0.5):,.4g}" for values in (first, second))
    moved = f"{share(below[0][place])} → {share(below[1][place])} of rows are at most {points[place]:,.4g}"
    told = f"{moved}; median {medians}"
    if gone > 0.0005:
        told += f"; missing {share(missing[0], 1)} → {share(missing[1], 1)}"
    return Shift(name, max(distance, gone), told)


def shift_of_category(before: CategorySummary, after: CategorySummary) -> Shift:
    """How far the shares of a category's levels moved, and which levels are new or gone."""
    shares = []
    for summary in (before, after):
        whole = sum(level.rows for level in summary.levels) or 1
        shares.append({level.name: level.rows / whole for level in summary.levels})
    first, second = shares
    differences = {level: second.get(level, 0.0) - first.get(level, 0.0) for level in {**first, **second}}
    size = sum(map(abs, differences.values())) / 2
    told = []
    for what, levels in (("new", [x for x in second if x not in first]), ("gone", [x for x in first if x not in second])):
        if levels:
            shown = ", ".join(repr(level) for level in levels[:5])
            told.append(f"{what}: {shown}" + (f" and {len(levels) - 5} more" if len(levels) > 5 else ""))
    if size > 0:
        most = max(differences, key=lambda level: abs(differences[level]))
        told.append(f"most: {most!r} {share(first.get(most, 0.0))} → {share(second.get(most, 0.0))}")
    return Shift(after.name, size, "; ".join(told) or "the same shares")


def _at(ordered: np.ndarray, quantile: float) -> float:
    """A quantile of sorted values, of shape (n,) with n above 0: the value below which that share of them lies."""
    return float(ordered[min(int(quantile * len(ordered)), len(ordered) - 1)])


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
