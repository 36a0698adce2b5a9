"""Times: one grammar of ISO 8601 for every time zone, in microseconds UTC; what is less exact, or finer, is set aside.

`2025-03-12`, `2025-03-12 10:05`, `2025-03-12T10:05:07.25`, each with a time of day also followed by a zone: `Z`, `UTC`, `+01`,
`+0100` or `+01:00`, behind a blank or not. A day alone is its midnight. Without a zone it is the deployment's wall clock.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.lake.schema import INSTANT
from ml.quality.values import Fault, Read, is_text, mask, unread

DAY, CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9}0*)?)?"
WALL = f"{DAY}({CLOCK})?$"
ZONED = f"{DAY}{CLOCK} ?([Zz]|UTC|GMT|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)$"
LOCAL = pa.timestamp("us")
FIRST, LAST = np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def instants(raw: pa.ChunkedArray, timezone: str, in_order: bool) -> Read:
    """Times in UTC.

    Args:
        timezone: of the wall clock that times without a zone are read from.
        in_order: the rows are a whole file, so that, where its times ascend or descend, an hour that the clock shows twice is
            told apart.
    """
    if is_text(raw.type):
        told = pc.utf8_trim_whitespace(raw.cast(pa.string()))
        is_zoned = pc.fill_null(pc.match_substring_regex(told, ZONED), False)
        wall, too_fine = _cast(pc.if_else(is_zoned, None, told), LOCAL, WALL)
        zoned, too_fine_zoned = _cast(pc.if_else(is_zoned, told, None), INSTANT, ZONED)
        fine = too_fine | too_fine_zoned
    elif pa.types.is_timestamp(raw.type):
        counts, fine = _microseconds(raw)
        wall, zoned = (counts, None) if raw.type.tz is None else (None, counts)
    elif pa.types.is_date(raw.type):
        wall, zoned, fine = raw.cast(pa.date32()).cast(LOCAL), None, np.zeros(len(raw), bool)
    else:
        wall, zoned, fine = None, None, np.zeros(len(raw), bool)
    known = np.full(len(raw), np.datetime64("NaT"), "M8[us]") if zoned is None else _numpy(zoned)
    faults = [Fault(fine, "is finer than a microsecond")]
    if wall is not None:
        local = _numpy(wall)
        local[(local < FIRST) | (local > LAST)] = np.datetime64("NaT")
        known, more = _from_wall(local, known, timezone, in_order)
        faults += more
    known[(known < FIRST) | (known > LAST)] = np.datetime64("NaT")
    values = pa.chunked_array([pa.array(known).cast(LOCAL).cast(INSTANT)])
    explained = np.logical_or.reduce([fault.rows for fault in faults])
    rest = unread(raw, values, "cannot be read as a time (ISO 8601)")
    return values, [Fault(rest.rows & ~explained, rest.reason), *faults]


def _cast(told: pa.ChunkedArray, kind: pa.DataType, grammar: str) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Texts of a grammar as times, null where they are none, and a mask of those that are finer than a microsecond."""
    told = pc.if_else(pc.match_substring_regex(told, grammar), told, None)
    fine = np.zeros(len(told), bool)
    if told.null_count == len(told):
        return pa.chunked_array([pa.nulls(len(told), kind)]), fine
    try:
        return told.cast(kind), fine
    except pa.ArrowInvalid:
        told = pc.replace_substring_regex(told, "^(.{10})t", r"\1T")
        told = pc.replace_substring_regex(told, " ?([Zz]|UTC|GMT)$", "Z")
        told = pc.replace_substring_regex(told, " ([+-][0-9:]+)$", r"\1")
        told = pc.replace_substring_regex(told, r"(\.[0-9]{6})0+([^0-9]|$)", r"\1\2")
        is_fine = pc.fill_null(pc.match_substring_regex(told, r"\.[0-9]{7}"), False)
        told, fine = pc.if_else(is_fine, None, told), mask(is_fine)
    try:
        return told.cast(kind), fine
    except pa.ArrowInvalid:
        codes = told.combine_chunks().dictionary_encode()
        each = pa.array([_one(text, kind) for text in codes.dictionary], kind)
        return pa.chunked_array([each.take(codes.indices)]), fine


def _one(text: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None


def _microseconds(raw: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Timestamps of any unit in microseconds since 1970, null where too far away or too fine; a mask of the latter."""
    counts, per_second = raw.cast(pa.int64()), PER_SECOND[raw.type.unit]
    if per_second > 10**6:
        whole = pc.divide(counts, per_second // 10**6)
        fine = mask(pc.fill_null(pc.not_equal(pc.multiply(whole, per_second // 10**6), counts), False))
        return pc.if_else(pa.array(fine), None, whole).cast(LOCAL), fine
    factor = 10**6 // per_second
    countable = pc.less(pc.abs(pc.if_else(pc.equal(counts, -(2**63)), 2**62, counts)), 2**62 // factor)
    return pc.multiply(pc.if_else(countable, counts, None), factor).cast(LOCAL), np.zeros(len(raw), bool)


def _numpy(times: pa.ChunkedArray) -> np.ndarray:
    return np.array(times.cast(LOCAL).to_numpy(), dtype="M8[us]")


def _from_wall(local: np.ndarray, known: np.ndarray, timezone: str, in_order: bool) -> tuple[np.ndarray, list[Fault]]:
    """Wall clock times in UTC, beside times that are known already; an hour that cannot be told is null and a fault."""
    if timezone == "UTC":
        return np.where(np.isnat(local), known, local), []
    both = [_localised(local, timezone, np.full(len(local), is_dst)) for is_dst in (True, False)]
    first, second = np.fmin(*both), np.fmax(*both)
    twice = ~np.isnat(first) & (first != second)
    skipped = np.isnat(first) & ~np.isnat(local)
    found = np.where(np.isnat(local), known, first)
    untold = twice
    if in_order and twice.any():
        for way in (slice(None), slice(None, None, -1)):
            told, left = _told_apart(local[way], found[way], second[way], twice[way])
            if left is not None:
                found, untold = told[way], left[way]
                break
    found[untold] = np.datetime64("NaT")
    ask = "say it with its zone, such as 2025-10-26T02:30:00+02:00"
    return found, [
        Fault(untold, f"an hour that the clock of {timezone} shows twice; {ask}", of_type=False),
        Fault(skipped, f"an hour that the clock of {timezone} skips; {ask}", of_type=False),
    ]


def _localised(local: np.ndarray, timezone: str, is_dst: np.ndarray) -> np.ndarray:
    times = pd.Series(local).dt.tz_localize(timezone, ambiguous=is_dst, nonexistent="NaT")
    return times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("M8[us]")


def _told_apart(
    local: np.ndarray, found: np.ndarray, second: np.ndarray, twice: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Times with the hour that the clock shows twice told apart where the wall clock steps back once within it.

    Returns:
        Times in UTC, and a mask of what could not be told; None instead of it if the rest of the times does not ascend.
    """
    found, untold = found.copy(), np.zeros(len(found), bool)
    rows = np.flatnonzero(twice)
    for day in np.unique(local[rows].astype("M8[D]")):
        mine = rows[local[rows].astype("M8[D]") == day]
        back = np.flatnonzero(np.diff(local[mine]) < np.timedelta64(0))
        if len(back) == 1:
            found[mine[back[0] + 1 :]] = second[mine[back[0] + 1 :]]
        else:
            untold[mine] = True
    certain = found[~untold & ~np.isnat(found)]
    ascends = bool((np.diff(certain) >= np.timedelta64(0)).all())
    return found, untold if ascends else None
