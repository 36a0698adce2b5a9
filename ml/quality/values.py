"""One reader for each type of column; the result does not depend on the file's own type, whether text or typed.

Texts are stripped of blanks. A whole number that was written as a float (`1001.0`, as in a column with missing values) becomes
the whole number `1001`. A number is decimal, with an optional point and exponent, and becomes the nearest double; a 32-bit
float is read as its shortest decimal. A whole number that no double represents, or whose float has lost digits, is a fault, and
so is every other value that would be altered.
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
"""Bits of a float → the absolute value below which it represents every whole number exactly."""

SUMMABLE = 1e18
"""Limit of the absolute value; windows add up 128-bit integers of up to 12 decimal digits after the point."""


@dataclass(frozen=True)
class ValueFault:
    """Values that are present but not accepted.

    Args:
        rows: mask of shape (n_rows,).
        reason: what is wrong; it follows the value in messages, or precedes it where `of_type` is false.
        of_type: whether many of them indicate that the column has changed its type.
    """

    rows: np.ndarray
    reason: str
    of_type: bool = True


Read = tuple[pa.ChunkedArray, list[ValueFault]]
Reader = Callable[[pa.ChunkedArray], Read]


def shown(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, as in a CSV file; null where a value is missing or has no text form."""
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
    """Mask of the missing values."""
    return pc.is_null(raw, nan_is_null=pa.types.is_floating(raw.type))


def unreadable(raw: pa.ChunkedArray, values: pa.ChunkedArray, reason: str) -> ValueFault:
    """The fault of the values that are present but could not be read."""
    return ValueFault(mask(pc.and_(pc.is_null(values), pc.invert(is_missing(raw)))), reason)


def mask(rows: pa.ChunkedArray) -> np.ndarray:
    """A mask as a NumPy array of booleans."""
    return rows.to_numpy().astype(bool, copy=False)


def texts(raw: pa.ChunkedArray) -> Read:
    """Read texts that may be empty, such as categories."""
    values, lost = _texts(raw)
    return pc.if_else(lost, None, values), [_lost(lost), unreadable(raw, values, "cannot be read as text")]


def keys(raw: pa.ChunkedArray) -> Read:
    """Read identifiers: texts that are neither empty nor a number in scientific notation, which has lost digits."""
    values, lost = _texts(raw)
    values = pc.if_else(pc.equal(values, ""), None, values)
    if is_text(raw.type) and (_has(values, b"e+") or _has(values, b"E+")):
        lost = pc.or_(lost, pc.fill_null(pc.match_substring_regex(values, SCIENTIFIC), False))
    return pc.if_else(lost, None, values), [_lost(lost), unreadable(raw, values, "cannot be read as text")]


def _lost(rows: pa.ChunkedArray) -> ValueFault:
    return ValueFault(mask(rows), "is a number that has lost digits: send it as text or as a whole number")


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
    """Whether any text may contain a part; fast, because it searches the buffer of all texts at once."""
    data = [chunk.buffers()[2] for chunk in values.chunks]
    return any(part in buffer.to_pybytes() for buffer in data if buffer is not None)


def numbers(raw: pa.ChunkedArray) -> Read:
    """Read finite doubles."""
    values, reason = _numbers(raw), "cannot be read as a number"
    finite = pc.if_else(pc.is_finite(values), values, None)
    inexact = _inexact(raw, finite)
    return pc.if_else(inexact, None, finite), [
        unreadable(raw, finite, reason),
        ValueFault(mask(inexact), "is a number that no double holds: send it in another unit"),
    ]


def summable(raw: pa.ChunkedArray) -> Read:
    """Doubles that windows add up, a hundred million of them at least."""
    values, faults = numbers(raw)
    beyond = pc.fill_null(pc.greater_equal(pc.abs(values), SUMMABLE), False)
    reason = f"is {SUMMABLE:g} or more in size, which windows cannot add up: send it in another unit"
    return pc.if_else(beyond, None, values), [*faults, ValueFault(mask(beyond), reason)]


def _numbers(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = raw.type
    if pa.types.is_float64(kind):
        return raw
    if pa.types.is_integer(kind):
        return raw.cast(pa.float64(), safe=False)
    if is_text(kind):
        trimmed = pc.utf8_trim_whitespace(raw.cast(pa.string()))
        return pc.if_else(pc.match_substring_regex(trimmed, NUMBER), trimmed, None).cast(pa.float64())
    if pa.types.is_decimal(kind) or pa.types.is_float32(kind):
        return raw.cast(pa.string()).cast(pa.float64())
    if pa.types.is_float16(kind):
        return raw.cast(pa.float64())
    return pa.chunked_array([pa.nulls(len(raw), pa.float64())])


def _inexact(raw: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Mask of numbers that were altered: a whole one above 2^53 that no double represents, or a small one that became zero."""
    suspect = np.zeros(len(raw), bool)
    if not (pa.types.is_floating(raw.type) or (pa.types.is_integer(raw.type) and raw.type.bit_width < 64)):
        size = np.abs(values.to_numpy())
        suspect = size >= EXACT[64]
        if is_text(raw.type) and (size == 0).any():
            suspect |= (size == 0) & mask(pc.fill_null(pc.match_substring_regex(raw, "^[^eE]*[1-9]"), False))
    for position in np.flatnonzero(suspect):
        text, value = str(raw[int(position)].as_py()).strip(), values[int(position)].as_py()
        exact = Decimal(text)
        suspect[position] = exact != 0 if value == 0 else "e" not in text.lower() and exact != Decimal(value)
    return pa.chunked_array([pa.array(suspect)])


def labels(raw: pa.ChunkedArray) -> Read:
    """Zeros and ones: numbers, truth values, or the texts 0, 1, true and false."""
    label_texts, _ = _texts(raw)
    values = pc.take(pa.array(TRUTH.values()), pc.index_in(pc.utf8_lower(label_texts), pa.array(TRUTH)))
    return values, [unreadable(raw, values, "cannot be read as 0 or 1")]
