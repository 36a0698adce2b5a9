"""Reads times in one pattern of ISO 8601 as UTC microseconds; a time of any other form, or finer, becomes a fault.

`2025-03-12`, `2025-03-12 10:05`, `2025-03-12T10:05:07.25`, each with a time of day also followed by a zone: `Z`, `UTC`, `+01`,
`+0100` or `+01:00`, after a blank or not. A date alone is its midnight. Times without a zone are in the deployment's time zone.
A number is a time only where the deployment says what it counts, such as milliseconds since 1970 UTC.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.config.data import Epoch
from ml.lake.schema import INSTANT
from ml.quality.values import Read, ValueFault, is_text, mask, shown, unreadable

DAY, CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9}0*)?)?"
WALL = f"{DAY}({CLOCK})?$"
ZONED = f"{DAY}{CLOCK} ?([Zz]|UTC|GMT|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)$"
LOCAL = pa.timestamp("us")
FIRST, LAST = np.datetime64("0001-01-02", "us"), np.datetime64("9999-12-30", "us")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
COUNT = r"^(?P<whole>[0-9]{1,19})(?P<part>(?:\.[0-9]*)?)$"
DIGITS: dict[Epoch, int] = {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}
"""Digits of a second that the whole part of a number has, by what it counts."""
LAST_COUNTED = 253_370_764_800_000_000
"""Microseconds from 1970 to the year 9999."""


def instants(raw: pa.ChunkedArray, timezone: str, in_order: bool, epoch: Epoch | None = None) -> Read:
    """Read a column as times in UTC.

    Args:
        timezone: the IANA time zone of times without a zone.
        in_order: the rows are a complete file; where its times ascend or descend, their order resolves the hour that the clock
            shows twice.
        epoch: what a number counts since 1970 UTC; None if a number is no time.
    """
    if epoch is not None and (is_text(raw.type) or pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type)):
        return _from_counts(raw, timezone, in_order, epoch)
    if is_text(raw.type):
        texts = pc.utf8_trim_whitespace(raw.cast(pa.string()))
        is_zoned = pc.fill_null(pc.match_substring_regex(texts, ZONED), False)
        wall, too_fine = _cast(pc.if_else(is_zoned, None, texts), LOCAL, WALL)
        zoned, too_fine_zoned = _cast(pc.if_else(is_zoned, texts, None), INSTANT, ZONED)
        fine = too_fine | too_fine_zoned
    elif pa.types.is_timestamp(raw.type):
        counts, fine = _microseconds(raw)
        wall, zoned = (counts, None) if raw.type.tz is None else (None, counts)
    elif pa.types.is_date(raw.type):
        wall, zoned, fine = raw.cast(pa.date32()).cast(LOCAL), None, np.zeros(len(raw), bool)
    else:
        wall, zoned, fine = None, None, np.zeros(len(raw), bool)
    utc = np.full(len(raw), np.datetime64("NaT"), "M8[us]") if zoned is None else _numpy(zoned)
    faults = [ValueFault(fine, "is finer than a microsecond")]
    if wall is not None:
        local = _numpy(wall)
        local[(local < FIRST) | (local > LAST)] = np.datetime64("NaT")
        utc, wall_faults = _from_wall(local, utc, timezone, in_order)
        faults += wall_faults
    utc[(utc < FIRST) | (utc > LAST)] = np.datetime64("NaT")
    values = pa.chunked_array([pa.array(utc).cast(LOCAL).cast(INSTANT)])
    explained = np.logical_or.reduce([fault.rows for fault in faults])
    rest = unreadable(raw, values, "cannot be read as a time (ISO 8601)")
    return values, [ValueFault(rest.rows & ~explained, rest.reason), *faults]


def _from_counts(raw: pa.ChunkedArray, timezone: str, in_order: bool, epoch: Epoch) -> Read:
    """Read numbers as what they count, and all other texts as ISO 8601."""
    texts = pc.utf8_trim_whitespace(shown(raw))
    found = pc.extract_regex(texts, COUNT)
    is_count = pc.is_valid(found)
    whole = pc.fill_null(pc.struct_field(found, "whole"), "0").cast(pa.uint64()).to_numpy()
    part = pc.utf8_rpad(pc.utf8_slice_codeunits(pc.fill_null(pc.struct_field(found, "part"), ""), 1), 6, "0")
    digits = max(0, 6 - DIGITS[epoch])
    per_count = 10**digits
    counted = whole // 1000 if epoch == "nanoseconds" else whole
    in_range = mask(is_count) & (counted <= LAST_COUNTED // per_count)
    microseconds = np.where(in_range, counted, 0).astype(np.int64) * per_count
    if digits:
        microseconds += pc.utf8_slice_codeunits(part, 0, digits).cast(pa.int64()).to_numpy()
    too_fine = mask(pc.match_substring_regex(pc.utf8_slice_codeunits(part, digits), "[1-9]"))
    too_fine |= (epoch == "nanoseconds") & (whole % 1000 != 0)
    times = np.where(in_range & ~too_fine, microseconds.astype("M8[us]"), np.datetime64("NaT"))
    counts = pa.chunked_array([pa.array(times).cast(LOCAL).cast(INSTANT)])
    others, faults = instants(pc.if_else(is_count, None, texts), timezone, in_order)
    values = pc.coalesce(counts, others)
    faults = [ValueFault(in_range & too_fine, "is finer than a microsecond"), *faults[1:]]
    explained = np.logical_or.reduce([fault.rows for fault in faults])
    rest = unreadable(raw, values, f"cannot be read as a time ({epoch} since 1970, or ISO 8601)")
    return values, [ValueFault(rest.rows & ~explained, rest.reason), *faults]


def _cast(texts: pa.ChunkedArray, type_: pa.DataType, pattern: str) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Texts of a pattern as times, null where they do not match, and a mask of those that are finer than a microsecond."""
    texts = pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)
    fine = np.zeros(len(texts), bool)
    if texts.null_count == len(texts):
        return pa.chunked_array([pa.nulls(len(texts), type_)]), fine
    try:
        return texts.cast(type_), fine
    except pa.ArrowInvalid:
        texts = pc.replace_substring_regex(texts, "^(.{10})t", r"\1T")
        texts = pc.replace_substring_regex(texts, " ?([Zz]|UTC|GMT)$", "Z")
        texts = pc.replace_substring_regex(texts, " ([+-][0-9:]+)$", r"\1")
        texts = pc.replace_substring_regex(texts, r"(\.[0-9]{6})0+([^0-9]|$)", r"\1\2")
        is_fine = pc.fill_null(pc.match_substring_regex(texts, r"\.[0-9]{7}"), False)
        texts, fine = pc.if_else(is_fine, None, texts), mask(is_fine)
    try:
        return texts.cast(type_), fine
    except pa.ArrowInvalid:
        codes = texts.combine_chunks().dictionary_encode()
        each = pa.array([_one(text, type_) for text in codes.dictionary], type_)
        return pa.chunked_array([each.take(codes.indices)]), fine


def _one(text: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return None


def _microseconds(raw: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Timestamps of any unit as microseconds since 1970, null if out of range or too fine, and a mask of the too fine ones."""
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


def _from_wall(local: np.ndarray, zoned: np.ndarray, timezone: str, in_order: bool) -> tuple[np.ndarray, list[ValueFault]]:
    """Local times in UTC, beside times that have a zone; a time that is ambiguous or does not exist is null and a fault."""
    if timezone == "UTC":
        return np.where(np.isnat(local), zoned, local), []
    both = [_localised(local, timezone, np.full(len(local), is_dst)) for is_dst in (True, False)]
    first, second = np.fmin(*both), np.fmax(*both)
    twice = ~np.isnat(first) & (first != second)
    skipped = np.isnat(first) & ~np.isnat(local)
    utc = np.where(np.isnat(local), zoned, first)
    ambiguous = twice
    if in_order and twice.any():
        for way in (slice(None), slice(None, None, -1)):
            resolved, unresolved = _resolve(local[way], utc[way], second[way], twice[way])
            if unresolved is not None:
                utc, ambiguous = resolved[way], unresolved[way]
                break
    utc[ambiguous] = np.datetime64("NaT")
    advice = "say it with its zone, such as 2025-10-26T02:30:00+02:00"
    return utc, [
        ValueFault(ambiguous, f"an hour that the clock of {timezone} shows twice; {advice}", of_type=False),
        ValueFault(skipped, f"an hour that the clock of {timezone} skips; {advice}", of_type=False),
    ]


def _localised(local: np.ndarray, timezone: str, is_dst: np.ndarray) -> np.ndarray:
    times = pd.Series(local).dt.tz_localize(timezone, ambiguous=is_dst, nonexistent="NaT")
    return times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("M8[us]")


def _resolve(local: np.ndarray, utc: np.ndarray, second: np.ndarray, twice: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Resolve the hour that the clock shows twice, on days where the local times step back exactly once within it.

    Returns:
        Times in UTC, and a mask of the unresolved ones; None instead of the mask if the resolved times do not ascend.
    """
    utc, unresolved = utc.copy(), np.zeros(len(utc), bool)
    rows = np.flatnonzero(twice)
    for day in np.unique(local[rows].astype("M8[D]")):
        indices = rows[local[rows].astype("M8[D]") == day]
        back = np.flatnonzero(np.diff(local[indices]) < np.timedelta64(0))
        if len(back) == 1:
            utc[indices[back[0] + 1 :]] = second[indices[back[0] + 1 :]]
        else:
            unresolved[indices] = True
    resolved = utc[~unresolved & ~np.isnat(utc)]
    ascends = bool((np.diff(resolved) >= np.timedelta64(0)).all())
    return utc, unresolved if ascends else None
