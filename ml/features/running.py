"""Computes snapshots as running totals: contributions enter an entity's windows at one tick and leave each at a later one."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import AnyWindow, Config, Window
from ml.features import ticks, windows

Snapshots = list[tuple[dt.datetime, dt.datetime]]
# Positions of contributions sorted by tick, and the offsets of each tick.
Changes = tuple[np.ndarray, np.ndarray]


def snapshots(config: Config, window: Window, contributions: pa.Table, due: Snapshots) -> pa.Table:
    """Rows of a view's snapshots, in the order of tick and key.

    An entity has a row while its longest window holds an event, and one row of zeros at the next tick.

    Args:
        contributions: columns key, first, seen, n, v, x of `ml.features.windows`; all that can affect `due`.
        due: consecutive ticks, each with its creation time.
    """
    keys, code = _codes(contributions["key"])
    n, v, x = contributions["n"].to_numpy(), contributions["v"].to_numpy(), whole_numbers(contributions["x"])
    # Without missing values the number of values equals the number of events, so one total serves for both.
    columns_by_name = {"n": n, "x": x} if np.array_equal(n, v) else {"n": n, "v": v, "x": x}
    origin = ticks.number(window, due[0][0])
    first, seen = (contributions[name].to_numpy() - origin for name in ("first", "seen"))
    lengths = {d: ticks.in_days(window, d) for d in window.days}
    longest = max(lengths.values())
    change_ticks = {d: np.maximum(first + length, seen) for d, length in {0: 0, **lengths}.items()}
    moves = {d: _by_tick(change_tick, len(due)) for d, change_tick in change_ticks.items()}
    ending = _by_tick(np.where(seen < first + longest, first + longest + 1, change_ticks[0]), len(due))
    parts = _present(code, n, len(keys), moves[0], ending)
    tick_index = np.repeat(np.arange(len(due)), [len(part) for part in parts])
    totals = {name: {d: np.zeros(len(keys), column.dtype) for d in moves} for name, column in columns_by_name.items()}
    window_sums = {
        d: {name: np.empty(len(tick_index), column.dtype) for name, column in columns_by_name.items()} for d in window.days
    }
    begin = 0
    for number, present in enumerate(parts):
        for d, (order, ends) in moves.items():
            changed = order[ends[number] : ends[number + 1]]
            for name, column in columns_by_name.items():
                np.add.at(totals[name][d], code[changed], column[changed])
        rows = slice(begin, begin := begin + len(present))
        for d, columns in window_sums.items():
            for name, column in columns.items():
                column[rows] = (totals[name][0] - totals[name][d])[present]
    times, created = (pa.array(instants, pa.timestamp("us", "UTC")) for instants in zip(*due, strict=True))
    arrays = [keys.take(pa.array(np.concatenate(parts))), times.take(pa.array(tick_index)), created.take(pa.array(tick_index))]
    for d in window.days:
        arrays += features(window, window_sums.pop(d))
    return pa.Table.from_arrays(arrays, schema=windows.schema_of(config, window))


def _present(code: np.ndarray, n: np.ndarray, keys: int, entering: Changes, ending: Changes) -> list[np.ndarray]:
    """By tick, the positions of the keys that have a row: some event has entered and not left."""
    total, parts = np.zeros(keys, n.dtype), []
    for number in range(len(entering[1]) - 2):
        for (order, ends), change in ((entering, n), (ending, -n)):
            changed = order[ends[number] : ends[number + 1]]
            np.add.at(total, code[changed], change[changed])
        parts.append(np.flatnonzero(total > 0))
    return parts


def features(window: AnyWindow, sums: dict[str, np.ndarray]) -> list[pa.Array]:
    """Aggregates from a window's sums; a mean over no value is missing."""
    count, total = sums["n"], sums["x"].astype(np.float64) / windows.scale(window)
    values = sums.get("v", count)
    empty = values == 0
    aggregates = {
        "count": pa.array(count, pa.int64()),
        "sum": pa.array(total),
        "mean": pa.array(total / np.where(empty, 1, values), mask=empty),
    }
    return [aggregates[name] for name in window.aggregates]


def _codes(keys: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The distinct keys in order, and for each row the position of its key."""
    encoded = keys.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    return encoded.dictionary.take(pa.array(order)), position[encoded.indices.to_numpy()]


def whole_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """64-bit integers, or Python integers if the total might need more bits."""
    if np.abs(column.cast(pa.float64()).to_numpy()).sum() < 2**62:
        return column.cast(pa.int64()).to_numpy()
    return np.array([int(value) for value in column.to_pylist()], dtype=object)


def _by_tick(change_tick: np.ndarray, due: int) -> Changes:
    """Rows in the order of their ticks, and the offsets of each tick; earlier rows belong to the first tick."""
    clipped = np.clip(change_tick, 0, due).astype(np.min_scalar_type(due))
    ends = np.concatenate([[0], np.cumsum(np.bincount(clipped, minlength=due + 1))])
    return np.argsort(clipped, kind="stable"), ends
