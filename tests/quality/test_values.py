"""One reader for each type of column: a value keeps itself, whatever the file's type, or it is set aside with a reason."""

from __future__ import annotations

import decimal
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.quality import values
from ml.quality.values import Reader


def _read(reader: Reader, told: list[Any], kind: pa.DataType | None = None) -> tuple[list[Any], list[str]]:
    """What comes of each value, and the reason where none does."""
    read, faults = reader(pa.chunked_array([pa.array(told, kind)]))
    reasons = [next((fault.reason for fault in faults if fault.rows[i]), "") for i in range(len(told))]
    return read.to_pylist(), reasons


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("12", 12),
        (" 12 ", 12),
        ("1e5", 1e5),
        ("+1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1),
        ("0.0", 0),
        ("9007199254740992", 2.0**53),
    ],
)
def test_a_decimal_number_is_read(told: str, value: float) -> None:
    assert _read(values.numbers, [told]) == ([value], [""])


@pytest.mark.parametrize(
    "told",
    [
        "NA",
        "nan",
        "inf",
        "-Infinity",
        "",
        " ",
        "1,000",
        "1.000,50",
        "10,5",
        "0x10",
        "1_000",
        "１２",
        "1e400",
        "1e-400",
        "1 2",
        "True",
    ],
)
def test_what_is_no_decimal_number_is_set_aside(told: str) -> None:
    read, (reason,) = _read(values.numbers, [told])
    assert (read, bool(reason)) == ([None], True)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (["9007199254740993"], pa.string()),
        (["12345678901234567.89"], pa.string()),
        ([2**53 + 1], pa.int64()),
        ([2**63 + 1], pa.uint64()),
        ([decimal.Decimal("12345678901234567.89")], pa.decimal128(30, 2)),
    ],
)
def test_a_whole_number_that_no_double_holds_is_set_aside(told: list[Any], kind: pa.DataType) -> None:
    assert _read(values.numbers, told, kind) == ([None], ["is a number that no double holds: send it in another unit"])


@pytest.mark.parametrize(("told", "taken"), [("999999999999999999", False), ("1e18", False), ("-1e300", False), ("9e17", True)])
def test_what_windows_cannot_add_up_is_set_aside(told: str, taken: bool) -> None:
    read, reasons = _read(values.summable, [told])
    assert (read, bool(any(reasons))) == ([float(told)] if taken else [None], not taken)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_the_last_digit_of_a_number_is_kept(amounts: list[float]) -> None:
    assert _read(values.numbers, [repr(amount) for amount in amounts])[0] == amounts
    assert _read(values.numbers, amounts)[0] == amounts


@pytest.mark.parametrize(
    ("told", "kind", "value"),
    [
        (0.1, pa.float32(), 0.1),
        (1.5, pa.float16(), 1.5),
        (decimal.Decimal("10.10"), pa.decimal128(12, 2), 10.1),
        (decimal.Decimal("10.10"), pa.decimal256(60, 2), 10.1),
        (7, pa.int8(), 7.0),
        (2**60, pa.int64(), 2.0**60),
        (1e300, pa.float64(), 1e300),
        (math.nan, pa.float64(), None),
    ],
)
def test_typed_numbers_read_as_their_text_does(told: Any, kind: pa.DataType, value: float | None) -> None:
    assert _read(values.numbers, [np.float16(told) if pa.types.is_float16(kind) else told], kind) == ([value], [""])


@pytest.mark.parametrize("kind", [pa.bool_(), pa.date32(), pa.duration("s"), pa.list_(pa.int64()), pa.binary()])
def test_what_is_no_number_by_its_type_is_set_aside(kind: pa.DataType) -> None:
    told: list[Any] = [{pa.bool_(): True, pa.list_(pa.int64()): [1], pa.binary(): b"1"}.get(kind, 1)]
    assert _read(values.numbers, told, kind) == ([None], ["cannot be read as a number"])


@pytest.mark.parametrize(
    "told", ["NA", "null", "nan", "None", "N/A", "-", "007", "1e5", "1_0", "1.50", "=1+1", "é\nx", "007.0", ".0"]
)
def test_a_text_is_itself(told: str) -> None:
    assert _read(values.texts, [told]) == ([told], [""])
    assert _read(values.keys, [told]) == ([told], [""])


def test_blanks_around_a_text_are_no_part_of_it_and_an_empty_one_identifies_nothing() -> None:
    assert _read(values.texts, [" a b ", "", " ", None]) == (["a b", "", "", None], [""] * 4)
    unread = "cannot be read as text"
    assert _read(values.keys, [" a b ", "", " ", None]) == (["a b", None, None, None], ["", unread, unread, ""])


@pytest.mark.parametrize("reader", [values.texts, values.keys])
@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (["1001", "-7", "0", None], pa.string()),
        (["1001.0", "-7.0", "-0.0", None], pa.string()),
        (["1001.00", "-7.000", "0.0", None], pa.large_string()),
        ([1001, -7, 0, None], pa.int64()),
        ([1001.0, -7.0, -0.0, math.nan], pa.float64()),
        ([1001.0, -7.0, 0.0, None], pa.float32()),
        ([decimal.Decimal("1001.0"), decimal.Decimal("-7.0"), decimal.Decimal("0.0"), None], pa.decimal128(12, 1)),
    ],
)
def test_a_whole_number_is_one_key_however_it_is_written(reader: Reader, told: list[Any], kind: pa.DataType) -> None:
    assert _read(reader, told, kind) == (["1001", "-7", "0", None], [""] * 4)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (2.0**53, pa.float64()),
        (-1e17, pa.float64()),
        (2.0**24, pa.float32()),
        ("9007199254740992.0", pa.string()),
        ("1.23457E+15", pa.string()),
        ("1e+16", pa.string()),
    ],
)
def test_a_key_that_has_lost_digits_is_set_aside(told: Any, kind: pa.DataType) -> None:
    assert _read(values.keys, [told], kind) == (
        [None],
        ["is a number that has lost digits: send it as text or as a whole number"],
    )


def test_a_key_of_many_digits_is_kept_where_its_type_keeps_them() -> None:
    for told, kind in (
        (2**53 + 1, pa.int64()),
        (2**64 - 1, pa.uint64()),
        (decimal.Decimal(10**30 + 1), pa.decimal128(38, 0)),
        (str(10**30 + 1), pa.string()),
    ):
        assert _read(values.keys, [told], kind) == ([str(told)], [""])


@pytest.mark.parametrize(
    ("told", "kind", "value"),
    [(b"ab", pa.binary(), "ab"), (1.5, pa.float64(), "1.5"), (True, pa.bool_(), "true"), (20_000, pa.date32(), "2024-10-04")],
)
def test_other_types_have_the_text_that_a_csv_file_shows(told: Any, kind: pa.DataType, value: str) -> None:
    assert _read(values.texts, [told], kind) == ([value], [""])


def test_one_value_without_a_text_does_not_take_its_column_along() -> None:
    assert _read(values.texts, [b"ab", b"\xff"], pa.binary()) == (["ab", None], ["", "cannot be read as text"])


@pytest.mark.parametrize(
    ("told", "value"), [("1", 1), ("0", 0), (" TRUE", 1), ("false", 0), ("1.0", 1), (1, 1), (0.0, 0), (True, 1), (None, None)]
)
def test_an_answer_is_read(told: Any, value: float | None) -> None:
    assert _read(values.labels, [told]) == ([value], [""])


@pytest.mark.parametrize("told", ["yes", "2", "", "NA", 2, -1, 0.5])
def test_what_is_no_answer_is_set_aside_whatever_its_type(told: Any) -> None:
    assert _read(values.labels, [told]) == ([None], ["cannot be read as 0 or 1"])
