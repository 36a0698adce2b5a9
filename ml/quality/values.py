"""One reader for each type of column, whatever the file's own type: the same values, as text or typed, read the same.

Texts lose the blanks around them. A whole number that was written as a float (`1001.0`: a column of whole numbers with a gap
in it) is the whole number `1001`. A number is decimal, with a point and perhaps an exponent, and becomes the nearest double;
a float of 32 bits is the decimal that its writer shows. A whole number that no double holds, or of which a float has lost
digits, is set aside, and so is whatever else would come in altered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
WHOLE_FLOAT = r"^-?(0|[1-9][0-9]*)\.0+$"
SCIENTIFIC = r"^-?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"
EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""Below it in size, a float of so many bits holds every whole number, so that one of them is its writer's own."""

SUMMABLE = 1e18
"""In size; windows add up whole numbers of 128 bits, of up to 12 digits behind the point."""


@dataclass(frozen=True)
class Fault:
    """Values that are there and are not taken.

    Args:
        rows: mask of shape (n_rows,).
        reason: what is wrong, to be said behind the value; of the hour and not of the value where it is no fault of type.
        of_type: whether many of them mean that the column has changed its type.
    """

    rows: np.ndarray
    reason: str
    of_type: bool = True


Read = tuple[pa.ChunkedArray, list[Fault]]
Reader = Callable[[pa.ChunkedArray], Read]


def shown(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, as a CSV file shows it; null where a value is missing or has no text of its own."""
    kind = raw.type
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return raw.cast(pa.string())
    if pa.types.is_floating(kind):
        return _shown_floats(raw)
    try:
        return raw.cast(pa.string())
    except (pa.ArrowException, NotImplementedError):
        return pa.chunked_array([pa.array([_shown_value(cell) for chunk in raw.chunks for cell in chunk], pa.string())])


def _shown_floats(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    numbers = raw.cast(pa.float64())
    whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), 1e15))
    digits = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
    other = pc.if_else(pc.or_(pc.is_nan(numbers), whole), pa.scalar(None, raw.type), raw)
    return pc.coalesce(digits, other.cast(pa.string()))


def _shown_value(cell: pa.Scalar) -> str | None:
    try:
        return str(cell.cast(pa.string()).as_py()) if cell.is_valid else None
    except (pa.ArrowException, NotImplementedError, UnicodeDecodeError):
        return None


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's own values are text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_missing(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    """Mask of the values that are not there."""
    return pc.is_null(raw, nan_is_null=pa.types.is_floating(raw.type))


def unread(raw: pa.ChunkedArray, values: pa.ChunkedArray, reason: str) -> Fault:
    """The values that are there and were not read."""
    return Fault(mask(pc.and_(pc.is_null(values), pc.invert(is_missing(raw)))), reason)


def mask(rows: pa.ChunkedArray) -> np.ndarray:
    """A mask in NumPy's form."""
    return rows.to_numpy().astype(bool, copy=False)


def texts(raw: pa.ChunkedArray) -> Read:
    """Text that may be empty, for categories and the like."""
    values, lost = _texts(raw)
    return pc.if_else(lost, None, values), [_lost(lost), unread(raw, values, "cannot be read as text")]


def keys(raw: pa.ChunkedArray) -> Read:
    """Text that identifies something: neither empty nor a number in scientific notation, which has lost digits."""
    values, lost = _texts(raw)
    values = pc.if_else(pc.equal(values, ""), None, values)
    if is_text(raw.type) and (_has(values, b"e+") or _has(values, b"E+")):
        lost = pc.or_(lost, pc.fill_null(pc.match_substring_regex(values, SCIENTIFIC), False))
    return pc.if_else(lost, None, values), [_lost(lost), unread(raw, values, "cannot be read as text")]


def _lost(rows: pa.ChunkedArray) -> Fault:
    return Fault(mask(rows), "is a number that has lost digits: send it as text or as a whole number")


def _texts(raw: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Texts, and a mask of whole numbers that a float may have rounded."""
    values = pc.utf8_trim_whitespace(shown(raw))
    if pa.types.is_floating(raw.type):
        numbers = raw.cast(pa.float64())
        lost = pc.greater_equal(pc.abs(numbers), float(EXACT[raw.type.bit_width]))
        return pc.if_else(pc.is_finite(numbers), values, None), pc.and_(
            pc.fill_null(lost, False), pc.is_finite(pc.fill_null(numbers, 0))
        )
    never = pa.chunked_array([pa.repeat(pa.scalar(False), len(values))])
    if not _has(values, b".0"):
        return values, never
    is_float = pc.fill_null(pc.match_substring_regex(values, WHOLE_FLOAT), False)
    whole = pc.replace_substring_regex(values, r"\.0+$", "")
    whole = pc.if_else(pc.equal(whole, "-0"), "0", whole)
    numbers = pc.if_else(is_float, values, None).cast(pa.float64())
    lost = pc.fill_null(pc.greater_equal(pc.abs(numbers), float(EXACT[64])), False)
    return pc.if_else(is_float, whole, values), lost


def _has(values: pa.ChunkedArray, part: bytes) -> bool:
    """Whether a text may hold a part, in no time: one search through the bytes of all."""
    data = [chunk.buffers()[2] for chunk in values.chunks]
    return any(part in buffer.to_pybytes() for buffer in data if buffer is not None)


def numbers(raw: pa.ChunkedArray) -> Read:
    """Doubles."""
    values, reason = _numbers(raw), "cannot be read as a number"
    finite = pc.if_else(pc.is_finite(values), values, None)
    inexact = _inexact(raw, finite)
    return pc.if_else(inexact, None, finite), [
        unread(raw, finite, reason),
        Fault(mask(inexact), "is a number that no double holds: send it in another unit"),
    ]


def summable(raw: pa.ChunkedArray) -> Read:
    """Doubles that windows add up, a hundred million of them at least."""
    values, faults = numbers(raw)
    beyond = pc.fill_null(pc.greater_equal(pc.abs(values), SUMMABLE), False)
    reason = f"is {SUMMABLE:g} or more in size, which windows cannot add up: send it in another unit"
    return pc.if_else(beyond, None, values), [*faults, Fault(mask(beyond), reason)]


def _numbers(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = raw.type
    if pa.types.is_float64(kind):
        return raw
    if pa.types.is_integer(kind):
        return raw.cast(pa.float64(), safe=False)
    if is_text(kind):
        told = pc.utf8_trim_whitespace(raw.cast(pa.string()))
        return pc.if_else(pc.match_substring_regex(told, NUMBER), told, None).cast(pa.float64())
    if pa.types.is_decimal(kind) or pa.types.is_float32(kind):
        return raw.cast(pa.string()).cast(pa.float64())
    if pa.types.is_float16(kind):
        return raw.cast(pa.float64())
    return pa.chunked_array([pa.nulls(len(raw), pa.float64())])


def _inexact(raw: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Mask of what became another number: a whole one beyond 2^53 that no double is, or a small one that became zero."""
    suspect = np.zeros(len(raw), bool)
    if not (pa.types.is_floating(raw.type) or (pa.types.is_integer(raw.type) and raw.type.bit_width < 64)):
        size = np.abs(values.to_numpy())
        suspect = size >= EXACT[64]
        if is_text(raw.type) and (size == 0).any():
            suspect |= (size == 0) & mask(pc.fill_null(pc.match_substring_regex(raw, "^[^eE]*[1-9]"), False))
    for position in np.flatnonzero(suspect):
        told, value = str(raw[int(position)].as_py()).strip(), values[int(position)].as_py()
        exact = Decimal(told)
        suspect[position] = exact != 0 if value == 0 else "e" not in told.lower() and exact != Decimal(value)
    return pa.chunked_array([pa.array(suspect)])


def labels(raw: pa.ChunkedArray) -> Read:
    """Zeros and ones: numbers, truth values, or the texts 0, 1, true and false."""
    told, _ = _texts(raw)
    values = pc.take(pa.array(TRUTH.values()), pc.index_in(pc.utf8_lower(told), pa.array(TRUTH)))
    return values, [unread(raw, values, "cannot be read as 0 or 1")]
