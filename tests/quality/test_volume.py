"""The volume is that of a day, however its rows are cut into files; a file is stopped for its own days only."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality.load import load_batch
from ml.quality.validate import Validation, validate_batch
from ml.simulate.landing import replay_days
from tests import deployments
from tests.deployments import land, payments, small

FIRST = dt.date(2025, 2, 1)


def _day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def _night(number: int, hour: int = 2) -> dt.datetime:
    """The instant at which the file of a day is ingested."""
    return dt.datetime.combine(_day(number + 1), dt.time(hour), dt.UTC)


def _rows(number: int, rows: int, start: int = 0) -> dict[str, list[Any]]:
    return payments(rows, _day(number), start=1000 * number + start)


def _early(number: int, rows: int, start: int = 0) -> dict[str, list[Any]]:
    """Payments of the first minutes of a day."""
    midnight = dt.datetime.combine(_day(number), dt.time())
    return _rows(number, rows, start) | {"paid_at": [midnight + dt.timedelta(seconds=start + i) for i in range(rows)]}


def _together(*parts: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _ingest(config: Config, as_of: dt.datetime) -> Validation:
    told = validate_batch(config, as_of)
    load_batch(config, as_of, told.staged)
    return told


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A deployment with ten days of 100 payments, which came in one file."""
    config = small(tmp_path)
    land(config, "payments_history.parquet", _together(*(_rows(number, 100) for number in range(10))))
    assert _ingest(config, _night(9)).accepted == 1000
    return config


def test_a_daily_file_after_a_history_in_one_file_is_taken(config: Config) -> None:
    land(config, "payments_day.parquet", _rows(10, 100))
    told = _ingest(config, _night(10))
    assert (told.accepted, told.stopped) == (100, ())
    assert "warning" not in told.note


def test_a_day_in_four_files_is_taken_in_one_run(config: Config) -> None:
    for part in range(4):
        land(config, f"payments_{part}.parquet", _rows(10, 25, start=25 * part))
    assert _ingest(config, _night(10)).accepted == 100


def test_a_day_in_four_files_is_taken_as_they_come_during_the_day(config: Config) -> None:
    for part, hour in enumerate((6, 12, 18)):
        land(config, f"payments_{part}.parquet", _early(10, 25, start=25 * part))
        assert _ingest(config, _night(9, hour)).accepted == 25
    land(config, "payments_3.parquet", _rows(10, 25, start=75))
    assert _ingest(config, _night(10)).accepted == 25


def test_a_file_that_spans_two_days_is_taken(config: Config) -> None:
    land(config, "payments_noon.parquet", _together(_rows(10, 100), _early(11, 30)))
    assert _ingest(config, _night(10, hour=12)).accepted == 130
    land(config, "payments_rest.parquet", _rows(11, 70, start=30))
    assert _ingest(config, _night(11)).accepted == 70


def test_rows_that_are_late_for_older_days_do_not_stop_a_daily_file(config: Config) -> None:
    late = [_rows(number, 2, start=500) for number in (3, 8)]
    land(config, "payments_day.parquet", _together(_rows(10, 95), *late))
    told = _ingest(config, _night(10))
    assert (told.accepted, told.stopped) == (99, ())
    assert "warning" not in told.note


def test_a_few_rows_of_a_day_of_which_nothing_came_are_a_warning_and_no_stop(config: Config) -> None:
    land(config, "payments_day.parquet", _together(_rows(11, 95), _rows(10, 2)))
    told = _ingest(config, _night(11))
    assert told.accepted == 97
    assert "warning, payments_day.parquet: the day 2025-02-11: expect_table_row_count_to_be_between (min_value 40" in told.note


def test_half_a_daily_file_is_stopped_and_the_whole_one_is_taken(config: Config) -> None:
    path = land(config, "payments_day.parquet", _rows(10, 30))
    told = _ingest(config, _night(10))
    assert (told.accepted, told.rejected) == (0, 30)
    assert (
        "the day 2025-02-11: expect_table_row_count_to_be_between (min_value 40, max_value 250), observed 30" in told.stopped[0]
    )
    path.unlink()
    land(config, "payments_day.parquet", _rows(10, 100))
    assert _ingest(config, _night(10)).accepted == 100


def test_a_day_that_is_not_over_cannot_have_too_few_rows(config: Config) -> None:
    land(config, "payments_day.parquet", _early(10, 5))
    assert _ingest(config, _night(9, hour=3)).accepted == 5


def test_the_file_that_brings_the_excess_is_stopped_and_the_others_are_taken(config: Config) -> None:
    land(config, "payments_a.parquet", _rows(10, 100))
    land(config, "payments_b.parquet", _rows(10, 300, start=200))
    land(config, "payments_c.parquet", _rows(10, 20, start=600))
    told = _ingest(config, _night(10))
    assert (told.accepted, told.rejected) == (120, 300)
    assert told.stopped[0].startswith("payments_b.parquet: the day 2025-02-11")
    assert "max_value 250), observed 400" in told.stopped[0]


def test_an_excess_counts_what_is_in_the_lake_and_no_row_twice(config: Config) -> None:
    land(config, "payments_a.parquet", _early(10, 200))
    assert _ingest(config, _night(10)).accepted == 200
    land(config, "payments_again.parquet", _early(10, 210))
    told = _ingest(config, _night(10))
    assert (told.accepted, told.rejected, told.stopped) == (10, 200, ())
    land(config, "payments_more.parquet", _rows(10, 60, start=400))
    assert "observed 270" in _ingest(config, _night(10)).stopped[0]


def test_many_bad_files_in_one_run_do_not_become_what_is_usual(config: Config) -> None:
    for number in range(10, 40):
        land(config, f"payments_{_day(number)}.parquet", _rows(number, 300))
    told = _ingest(config, _night(39))
    assert told.accepted == 0
    assert sum("expect_table_row_count" in line for line in told.stopped) == 30


def test_an_odd_day_within_a_history_is_a_warning(tmp_path: Path) -> None:
    config = small(tmp_path)
    days = [_rows(number, {7: 10, 9: 400}.get(number, 100)) for number in range(20)]
    land(config, "payments_history.parquet", _together(*days))
    told = _ingest(config, _night(20))
    assert told.accepted == 2210
    assert "the day 2025-02-08: expect_table_row_count_to_be_between (min_value 40, max_value 250), observed 10" in told.note
    assert "the day 2025-02-10: expect_table_row_count_to_be_between (min_value 40, max_value 250), observed 400" in told.note


def test_days_are_those_of_the_feeds_clock(tmp_path: Path) -> None:
    """A feed of local days in Auckland: 100 payments before noon, which is still the day before in UTC."""
    told = deployments.small_told()
    told["events"]["timezone"] = "Pacific/Auckland"
    config = load(deployments.write(tmp_path, told))
    for number in range(6):
        rows = _rows(number, 100)
        rows["paid_at"] = [dt.datetime.combine(_day(number), dt.time(1)) + dt.timedelta(minutes=i) for i in range(100)]
        land(config, f"payments_{_day(number)}.parquet", rows)
    assert _ingest(config, _night(6)).accepted == 600
    rows = {name: values[:30] for name, values in rows.items()}
    rows["payment_id"] = [f"Q{i}" for i in range(30)]
    rows["paid_at"] = [at + dt.timedelta(days=1) for at in rows["paid_at"]]
    land(config, "payments_next.parquet", rows)
    # 13:00 UTC is two in the morning there, an hour after the file was due.
    assert "the day 2025-02-07" in _ingest(config, _night(5, hour=13)).stopped[0]


def _without_rows(tmp_path: Path, **events: Any) -> Config:
    told = deployments.small_told()
    told["events"] |= events
    config = load(deployments.write(tmp_path, told))
    land(config, "payments_2025-02-01.parquet", _rows(0, 100))
    land(config, "payments_2025-02-02.parquet", payments(0))
    return config


def test_a_file_without_rows_is_taken_where_days_without_events_are_declared(tmp_path: Path) -> None:
    config = _without_rows(tmp_path, empty_days=True)
    told = _ingest(config, _night(1))
    assert (told.files, told.accepted, told.stopped) == (2, 100, ())
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}) as connection:
        assert sorted(connection.execute("SELECT rows FROM batches").fetchall()) == [(0,), (100,)]
    assert _ingest(config, _night(2)).files == 0


def test_a_file_without_rows_is_stopped_elsewhere(tmp_path: Path) -> None:
    assert "(min_value 1), observed 0" in _ingest(_without_rows(tmp_path), _night(1)).stopped[0]


def test_a_replay_passes_its_own_days_without_events(tmp_path: Path) -> None:
    told = deployments.small_told()
    told["feed"] = {"kind": "replay", "first_as_of": _night(4).isoformat()}
    config = load(deployments.write(tmp_path, told))
    data = land(config, "past.parquet", _together(_rows(0, 50), _rows(3, 50))).rename(tmp_path / "payments.parquet")
    replay_days(data, "paid_at", config.landing, None, _day(3))
    told = _ingest(config, _night(3))
    assert (told.accepted, told.stopped) == (100, ())
