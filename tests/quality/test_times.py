"""Times are read by one grammar, to the microsecond; hours that a clock skips or shows twice are told apart or set aside."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from ml.config.data import Epoch
from ml.quality.times import instants

TEN = dt.datetime(2025, 3, 12, 10, tzinfo=dt.UTC)
BERLIN = "Europe/Berlin"


def _read(
    told: list[str | None] | pa.Array, timezone: str = "UTC", in_order: bool = True
) -> tuple[list[dt.datetime | None], list[str]]:
    column = told if isinstance(told, pa.Array) else pa.array(told, pa.string())
    read, faults = instants(pa.chunked_array([column]), timezone, in_order)
    reasons = [next((fault.reason for fault in faults if fault.rows[i]), "") for i in range(len(column))]
    return read.to_pylist(), reasons


def _hours(told: list[dt.datetime | None]) -> list[str]:
    return ["-" if time is None else f"{time:%H:%M}" for time in told]


@pytest.mark.parametrize("zone", [BERLIN, "UTC"])
@pytest.mark.parametrize(
    "told",
    [
        "2025-03-12T10:00:00Z",
        "2025-03-12T10:00:00z",
        "2025-03-12t10:00:00.000Z",
        "2025-03-12 10:00Z",
        "2025-03-12 10:00:00 UTC",
        "2025-03-12 11:00:00+01",
        "2025-03-12 11:00:00+01:00",
        "2025-03-12T11:00:00.000000 +0100",
        "2025-03-12 04:30:00-05:30",
        " 2025-03-12T10:00:00Z ",
        "2025-03-12T10:00:00.000000000Z",
    ],
)
def test_a_time_with_a_zone_reads_the_same_in_every_zone(told: str, zone: str) -> None:
    assert _read([told], zone) == ([TEN], [""])


@pytest.mark.parametrize("told", ["2025-03-12T10:00:00", "2025-03-12 10:00", "2025-03-12T10:00:00.0", " 2025-03-12 10:00:00 "])
def test_a_time_without_a_zone_is_the_clock_of_the_deployment(told: str) -> None:
    assert _read([told]) == ([TEN], [""])
    assert _read([told], BERLIN) == ([TEN - dt.timedelta(hours=1)], [""])


@pytest.mark.parametrize("zone", [BERLIN, "UTC"])
@pytest.mark.parametrize(
    "told",
    [
        *("2025", "2025-03", "2025-03-12T10", "20250312", "2025-W11-3", "12.03.2025", "03/12/2025", "NA", "", "1741773600"),
        *("2025-02-30", "2025-03-12T24:00:00", "2025-03-12T10:00:60", "2025-03-12T10:60", "2025-13-01", "0000-01-01"),
        *("2025-03-12Z", "2025-03-12T10:00:00+25:00", "2025-03-12T10:00:00 CET", "2025-03-12T10:00:00,5", "10:00"),
        *("2025-03-12T10:00:00.1234567", "2025-03-12T10:00:00.1234567Z", "２０２５-03-12"),
    ],
)
def test_what_is_less_or_finer_than_a_time_is_set_aside_alone(told: str, zone: str) -> None:
    (first, second), (reason, none) = _read([told, "2025-03-12T10:00:00Z"], zone)
    assert (first, second, bool(reason), none) == (None, TEN, True, "")


def test_a_day_is_its_midnight_as_text_and_as_a_date() -> None:
    midnight = dt.datetime(2025, 3, 11, 23, tzinfo=dt.UTC)
    for told in (["2025-03-12"], pa.array([dt.date(2025, 3, 12)]), pa.array([dt.date(2025, 3, 12)], pa.date64())):
        assert _read(told, BERLIN) == ([midnight], [""])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata", "+05:30"])
def test_timestamps_of_every_unit_and_zone_are_instants(unit: str, zone: str | None) -> None:
    count = int(TEN.timestamp()) * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    assert _read(pa.array([count, None], pa.timestamp(unit, zone))) == ([TEN, None], ["", ""])


@pytest.mark.parametrize(
    ("unit", "count"),
    [("ns", 1_741_773_600_000_000_001), ("s", 2**62), ("s", -(2**63)), ("ms", 2**61), ("us", 2**62), ("us", -(2**62))],
)
def test_timestamps_too_fine_or_too_far_away_are_set_aside(unit: str, count: int) -> None:
    for zone in (None, "UTC"):
        told, (reason,) = _read(pa.array([count], pa.int64()).cast(pa.timestamp(unit, zone)), BERLIN)
        assert (told, bool(reason)) == ([None], True)


def _autumn(*clock: str) -> list[str | None]:
    return [f"2025-10-26T{time}:00" for time in clock]


def test_the_hour_that_comes_twice_is_told_apart_by_order() -> None:
    clock = _autumn("01:50", "02:10", "02:50", "02:05", "02:10", "02:50", "03:00")
    utc = ["23:50", "00:10", "00:50", "01:05", "01:10", "01:50", "02:00"]
    for way in (1, -1):
        told, reasons = _read(clock[::way], BERLIN)
        assert _hours(told) == utc[::way]
        assert set(reasons) == {""}
    typed = pa.array([dt.datetime.fromisoformat(time) for time in clock if time])
    assert _hours(_read(typed, BERLIN)[0]) == utc


@pytest.mark.parametrize(
    "clock",
    [
        _autumn("01:50", "02:10", "02:50", "03:00"),  # no step back: either hour
        _autumn("02:10", "01:50", "02:50", "02:05", "03:00"),  # not in order
        _autumn("02:10", "02:50", "02:05", "02:50", "02:10"),  # more than one step back
    ],
)
def test_where_order_does_not_tell_only_those_rows_are_set_aside(clock: list[str | None]) -> None:
    told, reasons = _read(clock, BERLIN)
    for time, read, reason in zip(clock, told, reasons, strict=True):
        twice = "T02" in str(time)
        assert (read is None) == twice
        assert ("shows twice" in reason) == twice


def test_order_says_nothing_of_rows_that_are_no_whole_file() -> None:
    told, reasons = _read(_autumn("02:10", "02:50", "02:05", "02:50"), BERLIN, in_order=False)
    assert told == [None] * 4
    assert all("shows twice" in reason for reason in reasons)


def test_an_hour_said_with_its_zone_is_told_apart_and_helps_nobody_else() -> None:
    clock = ["2025-10-26T02:10:00+02:00", "2025-10-26T02:10:00+01:00", "2025-10-26T02:30:00"]
    told, reasons = _read(clock, BERLIN)
    assert _hours(told) == ["00:10", "01:10", "-"]
    assert "2025-10-26T02:30:00+02:00" in reasons[2]


def test_each_autumn_of_a_history_has_its_own_step_back() -> None:
    clock = [f"{day}T02:{minute}:00" for day in ("2024-10-27", "2025-10-26") for minute in ("10", "50", "10", "50")]
    told, _ = _read(clock, BERLIN)
    assert _hours(told) == ["00:10", "00:50", "01:10", "01:50"] * 2


def test_an_hour_that_the_clock_skips_is_set_aside_and_counts_as_no_change_of_type() -> None:
    column = pa.chunked_array([pa.array(["2025-03-30T01:59:59", "2025-03-30T02:30:00", "2025-03-30T03:00:00"])])
    read, faults = instants(column, BERLIN, in_order=True)
    assert _hours(read.to_pylist()) == ["00:59", "-", "01:00"]
    (skipped,) = [fault for fault in faults if fault.rows.any()]
    assert "skips" in skipped.reason
    assert not skipped.of_type
    assert np.flatnonzero(skipped.rows).tolist() == [1]


MARCH = dt.datetime(2024, 3, 1, 3, 29, 44, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "epoch", "microseconds"),
    [
        ("1709263784", "seconds", 0),
        ("1709263784.0", "seconds", 0),
        ("1709263784.467123", "seconds", 467_123),
        ("1709263784467", "milliseconds", 467_000),
        (" 1709263784467 ", "milliseconds", 467_000),
        ("1709263784467.120000", "milliseconds", 467_120),
        ("1709263784467123", "microseconds", 467_123),
        ("1709263784467123000", "nanoseconds", 467_123),
    ],
)
def test_a_number_is_a_time_where_the_deployment_says_what_it_counts(text: str, epoch: Epoch, microseconds: int) -> None:
    read, faults = instants(pa.chunked_array([pa.array([text])]), BERLIN, True, epoch)
    assert read.to_pylist() == [MARCH + dt.timedelta(microseconds=microseconds)]
    assert not any(fault.rows.any() for fault in faults)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.float64()])
def test_numbers_of_every_type_count(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([1709263784467, None], kind)])
    read, faults = instants(column, "UTC", True, "milliseconds")
    assert read.to_pylist() == [MARCH + dt.timedelta(milliseconds=467), None]
    assert not any(fault.rows.any() for fault in faults)


@pytest.mark.parametrize(
    ("text", "epoch", "reason"),
    [
        ("1709263784.4671234", "seconds", "finer"),
        ("1709263784467123001", "nanoseconds", "finer"),
        ("1709263784467", "seconds", "seconds since 1970"),
        ("99999999999999999999", "nanoseconds", "nanoseconds since 1970"),
        ("-5", "seconds", "seconds since 1970"),
        ("1.7e9", "seconds", "seconds since 1970"),
        ("soon", "milliseconds", "milliseconds since 1970"),
    ],
)
def test_a_number_that_is_no_such_time_is_set_aside(text: str, epoch: Epoch, reason: str) -> None:
    read, faults = instants(pa.chunked_array([pa.array([text])]), "UTC", True, epoch)
    assert read.to_pylist() == [None]
    assert [reason in fault.reason for fault in faults if fault.rows.any()] == [True]


def test_a_time_in_words_is_read_beside_numbers() -> None:
    read, faults = instants(pa.chunked_array([pa.array(["1709263784", "2025-03-12T11:00:00", None])]), BERLIN, True, "seconds")
    assert read.to_pylist() == [MARCH, TEN, None]
    assert not any(fault.rows.any() for fault in faults)


def test_without_a_declaration_a_number_is_no_time() -> None:
    assert _read(["1709263784467"])[0] == [None]
