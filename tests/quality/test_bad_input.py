"""Whatever lands, every row is accounted for, and what is wrong is said where, what and what to do."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml.config import Config
from ml.lake import schema
from ml.ledger.ledger import Ledger
from ml.ledger.run import Run
from ml.quality import landing
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from tests.batches import AS_OF, counts, ingested, rows_of
from tests.deployments import land, land_text, payments

FUTURE, ANCIENT = (dt.datetime.fromisoformat(day) for day in ("2031-01-01", "1999-01-01"))
HEADER = "payment_id,paid_at,customer_id,terminal_id,amount,merchant_category,channel,country\n"


def _reasons(config: Config) -> list[str]:
    return [reason for row in rows_of(config, schema.QUARANTINE) for reason in row["reasons"]]


def test_good_files_are_accepted_whole(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    assert counts(ingested(config)) == (50, 50, 0, 0)
    assert len(rows_of(config, schema.EVENTS)) == 50


def test_nothing_landed_is_no_batch(config: Config) -> None:
    assert ingested(config).files == 0


def test_a_file_of_zero_bytes_is_stopped(config: Config) -> None:
    land_text(config, "payments_2025-03-10.csv", "")
    told = ingested(config)
    assert counts(told) == (0, 0, 0, 0)
    assert "payments_2025-03-10.csv: the file has zero bytes" in told.stopped
    assert any("python -m ml discard --file 'payments_2025-03-10.csv'" in line for line in told.stopped)


@pytest.mark.parametrize("name", ["payments_2025-03-10.csv", "payments_2025-03-10.parquet"])
def test_a_file_without_rows_is_stopped_for_its_volume(config: Config, name: str) -> None:
    if name.endswith("csv"):
        land_text(config, name, HEADER)
    else:
        land(config, name, payments(0))
    told = ingested(config)
    assert counts(told) == (0, 0, 0, 0)
    assert "expect_table_row_count_to_be_between (min_value 1), observed 0" in told.stopped[0]


def test_a_truncated_parquet_file_is_stopped(config: Config) -> None:
    path = land(config, "payments_2025-03-10.parquet", payments(50))
    path.write_bytes(path.read_bytes()[:-100])
    told = ingested(config)
    assert told.accepted == 0
    assert "not readable as parquet" in told.stopped[0]


def test_a_csv_that_is_not_text_is_stopped(config: Config) -> None:
    path = land_text(config, "payments_2025-03-10.csv", HEADER)
    path.write_bytes(HEADER.encode() + b"\xff\xfe\x00" * 20)
    assert "not readable as csv" in ingested(config).stopped[0]


def test_a_missing_column_stops_the_file_with_all_itsrows_of(config: Config) -> None:
    columns = payments(50)
    del columns["amount"]
    land(config, "payments_2025-03-10.parquet", columns)
    told = ingested(config)
    assert counts(told) == (50, 0, 0, 50)
    assert "column 'amount': expect_column_to_exist, observed only ['payment_id', 'paid_at'" in told.stopped[0]
    assert "change events.columns.amount" in told.stopped[0]


def test_a_renamed_column_is_missing_and_a_new_one_is_left_out(config: Config) -> None:
    columns = payments(50)
    columns["betrag"] = columns.pop("amount")
    land(config, "payments_2025-03-10.parquet", columns)
    told = ingested(config)
    assert counts(told) == (50, 0, 0, 50)
    assert "'betrag'" in told.stopped[0]


def test_an_extra_column_is_left_out_with_a_warning(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50) | {"loyalty": list(range(50))})
    told = ingested(config)
    assert counts(told) == (50, 50, 0, 0)
    assert "column 'loyalty' is not in events.columns and was left out" in told.note


def test_csv_lines_with_another_number_of_fields_are_quarantined(config: Config) -> None:
    lines = [f"P{i},2025-03-10T10:00:{i:02d},C1,T1,{i}.50,grocery,chip,FR\n" for i in range(40)]
    lines[10] = "P10,2025-03-10T10:00:10,C1,T1,10.50,grocery\n"
    lines[20] = lines[20].strip() + ",one too many\n"
    land_text(config, "payments_2025-03-10.csv", HEADER + "".join(lines))
    assert counts(ingested(config)) == (40, 38, 2, 0)
    assert sorted(_reasons(config)) == ["the line has 6 fields, expected 8", "the line has 9 fields, expected 8"]
    assert sorted(row["row"] for row in rows_of(config, schema.QUARANTINE)) == [11, 21]


def test_a_column_that_changed_its_type_stops_the_file(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50) | {"amount": ["ten"] * 50})
    told = ingested(config)
    assert counts(told) == (50, 0, 0, 50)
    assert (
        "expect_column_values_to_be_of_type a number, observed 50 of 50 values that are not, such as 'ten'" in told.stopped[0]
    )


def test_times_as_numbers_stop_the_file(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50) | {"paid_at": list(range(50))})
    assert "expect_column_values_to_be_of_type a time (ISO 8601)" in ingested(config).stopped[0]


@pytest.mark.parametrize("value", [b"\xff", [1, 2], {"x": 1}])
def test_columns_of_types_that_nothing_can_be_read_from_stop_the_file(config: Config, value: Any) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50) | {"customer_id": [value] * 50})
    assert "expect_column_values_to_be_of_type text, observed 50 of 50 values that are not" in ingested(config).stopped[0]


def test_text_that_is_not_utf8_stops_the_file(config: Config) -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    land(config, "payments_2025-03-10.parquet", payments(1) | {"customer_id": broken})
    assert "not readable as parquet" in ingested(config).stopped[0]


def test_a_file_that_changes_while_it_is_read_is_stopped(config: Config) -> None:
    path = land(config, "payments_2025-03-10.parquet", payments(50))
    (found,) = landing.find_files(config)
    land(config, path.name, payments(51))
    with pytest.raises(landing.Unreadable, match="written to while it was read"):
        landing.read(found)


def test_a_suite_sees_each_value_once_and_tells_of_every_row(config: Config) -> None:
    columns = payments(200)
    columns["customer_id"][150:] = [None] * 50
    columns["channel"][:30] = ["pigeon"] * 30
    land(config, "payments_2025-03-10.parquet", columns)
    told = ingested(config)
    assert counts(told) == (200, 150, 50, 0)
    assert sorted(row["row"] for row in rows_of(config, schema.QUARANTINE)) == list(range(151, 201))
    assert "30 of 200 values (15 %), such as pigeon" in told.note


def test_one_value_of_the_wrong_type_is_quarantined(config: Config) -> None:
    amounts: list[Any] = [str(a) for a in payments(50)["amount"]]
    amounts[3] = "ten"
    land(config, "payments_2025-03-10.parquet", payments(50) | {"amount": amounts})
    assert counts(ingested(config)) == (50, 49, 1, 0)
    assert _reasons(config) == ["amount: 'ten' cannot be read as a number"]
    assert '"amount": "ten"' in rows_of(config, schema.QUARANTINE)[0]["content"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("amount", -5.0, "amount: expect_column_values_to_be_between"),
        ("amount", 1e9, "amount: expect_column_values_to_be_between"),
        ("amount", math.nan, "amount: expect_column_values_to_not_be_null"),
        ("amount", math.inf, "amount: inf cannot be read as a number"),
        ("paid_at", FUTURE, "event_time: expect_column_values_to_be_between"),
        ("paid_at", ANCIENT, "event_time: expect_column_values_to_be_between"),
        ("paid_at", None, "event_time: expect_column_values_to_not_be_null"),
        ("payment_id", None, "event_id: expect_column_values_to_not_be_null"),
        ("payment_id", "x'; DROP TABLE events; --", "event_id: expect_column_values_to_match_regex"),
        ("customer_id", None, "customer_id: expect_column_values_to_not_be_null"),
        ("customer_id", " ", "customer_id: ' ' cannot be read as text"),
    ],
)
def test_a_bad_value_sets_its_row_aside(config: Config, column: str, value: Any, reason: str) -> None:
    columns = payments(50)
    columns[column][7] = value
    land(config, "payments_2025-03-10.parquet", columns)
    assert counts(ingested(config)) == (50, 49, 1, 0)
    (row,) = rows_of(config, schema.QUARANTINE)
    assert row["row"] == 8
    assert any(told.startswith(reason) for told in row["reasons"])


def test_a_row_with_several_faults_has_several_reasons(config: Config) -> None:
    columns = payments(50)
    columns["amount"][7], columns["paid_at"][7] = -1.0, FUTURE
    land(config, "payments_2025-03-10.parquet", columns)
    assert ingested(config).quarantined == 1
    assert len(_reasons(config)) == 2


def test_an_unknown_channel_is_a_warning_and_the_row_is_taken(config: Config) -> None:
    columns = payments(50)
    columns["channel"][0] = "telepathy"
    land(config, "payments_2025-03-10.parquet", columns)
    told = ingested(config)
    assert counts(told) == (50, 50, 0, 0)
    assert "channel: expect_column_values_to_be_in_set" in told.note


def test_customers_never_seen_before_are_taken(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50) | {"customer_id": [f"NEW{i}" for i in range(50)]})
    assert counts(ingested(config)) == (50, 50, 0, 0)


def test_a_repeat_within_a_file_is_rejected_once(config: Config) -> None:
    columns = {name: [*values, values[0]] for name, values in payments(50).items()}
    land(config, "payments_2025-03-10.parquet", columns)
    assert counts(ingested(config)) == (51, 50, 0, 1)


def test_two_rows_of_one_id_that_disagree_are_both_set_aside(config: Config) -> None:
    columns = payments(50)
    columns["payment_id"][1] = columns["payment_id"][0]
    land(config, "payments_2025-03-10.parquet", columns)
    assert counts(ingested(config)) == (50, 48, 2, 0)
    assert all("occurs 2 times here with different values" in reason for reason in _reasons(config))


def test_repeats_across_files_and_runs_are_rejected(config: Config) -> None:
    land(config, "payments_2025-03-09.parquet", payments(50))
    land(config, "payments_2025-03-10.parquet", payments(50, start=25))
    assert counts(ingested(config)) == (100, 50, 50, 0)
    first = {row["event_id"] for row in rows_of(config, schema.EVENTS)}
    taken = {
        name: [v for v, i in zip(values, payments(50)["payment_id"], strict=True) if i in first]
        for name, values in payments(50).items()
    }
    land(config, "payments_2025-03-11.parquet", taken)
    assert counts(ingested(config, AS_OF + dt.timedelta(days=1))) == (25, 0, 0, 25)
    assert {row["event_id"] for row in rows_of(config, schema.EVENTS)} == first


def test_an_id_that_comes_back_with_other_values_is_set_aside(config: Config) -> None:
    land(config, "payments_2025-03-09.parquet", payments(50))
    ingested(config)
    columns = payments(50)
    columns["amount"] = [amount + 1 for amount in columns["amount"]]
    land(config, "payments_2025-03-10.parquet", columns)
    assert counts(ingested(config, AS_OF + dt.timedelta(days=1))) == (50, 0, 50, 0)
    assert all("delivered before with other values" in reason for reason in _reasons(config))


def test_a_file_under_another_name_is_the_same_batch(config: Config) -> None:
    path = land(config, "payments_2025-03-09.parquet", payments(50))
    ingested(config)
    path.rename(path.with_name("payments_again.parquet"))
    assert ingested(config, AS_OF + dt.timedelta(days=1)).files == 0


def test_loading_twice_adds_nothing(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    told = validate_batch(config, AS_OF)
    assert load_batch(config, AS_OF, told.staged).events == 50
    assert load_batch(config, AS_OF, told.staged).events == 0
    assert len(rows_of(config, schema.EVENTS)) == 50


def test_a_volume_far_from_usual_stops_the_file(config: Config) -> None:
    for day in range(1, 6):
        land(config, f"payments_2025-03-0{day}.parquet", payments(100, dt.date(2025, 3, day), start=1000 * day))
    ingested(config)
    land(config, "payments_2025-03-06.parquet", payments(10, dt.date(2025, 3, 6), start=9000))
    land(config, "payments_2025-03-07.parquet", payments(400, dt.date(2025, 3, 7), start=10_000))
    told = ingested(config, AS_OF + dt.timedelta(days=1))
    assert counts(told) == (410, 0, 0, 410)
    assert sum("expect_table_row_count_to_be_between (min_value 40, max_value 250)" in line for line in told.stopped) == 2


def test_labels_for_events_never_seen_are_set_aside(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    land_text(
        config,
        "fraud_reports_2025-03-10.csv",
        "payment_id,is_fraud,reported_at,source\n"
        "P0000001,1,2025-03-10T20:00:00,customer\nGHOST,1,2025-03-10T20:00:00,customer\n",
    )
    assert counts(ingested(config)) == (52, 51, 1, 0)
    assert _reasons(config) == ["event_id: a label for an event that was never seen"]


def test_labels_that_disagree_are_kept_when_they_come_from_two_sources_and_set_aside_when_from_one(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    land_text(
        config,
        "fraud_reports_2025-03-10.csv",
        "payment_id,is_fraud,reported_at,source\n"
        "P0000001,1,2025-03-10T20:00:00,customer\nP0000001,0,2025-03-10T21:00:00,analyst\n"
        "P0000002,1,2025-03-10T20:00:00,customer\nP0000002,0,2025-03-10T20:00:00,customer\n"
        "P0000003,1,2025-03-10T20:00:00,customer\nP0000003,1,2025-03-10T20:00:00,customer\n",
    )
    assert counts(ingested(config)) == (56, 53, 2, 1)
    assert {row["event_id"] for row in rows_of(config, schema.LABELS)} == {"P0000001", "P0000003"}


def test_labels_that_are_neither_yes_nor_no_or_from_tomorrow_are_set_aside(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    good = "".join(f"P{i:07d},true,2025-03-10T20:00:00Z,customer\n" for i in range(5, 45))
    land_text(
        config,
        "fraud_reports_2025-03-10.csv",
        f"payment_id,is_fraud,reported_at,source\n{good}P0000001,maybe,2025-03-10T20:00:00,customer\n"
        "P0000002,1,2025-09-10T20:00:00,customer\n",
    )
    told = ingested(config)
    assert counts(told) == (92, 90, 2, 0)


@pytest.mark.parametrize("name", ["payments_2025 03 10.parquet", "payments_..parquet", "payments_..%2F..%2Fetc.parquet"])
def test_odd_names_are_only_names(config: Config, name: str) -> None:
    land(config, name, payments(50))
    assert counts(ingested(config)) == (50, 50, 0, 0)


def test_a_link_out_of_the_landing_folder_is_not_followed(config: Config, tmp_path: Path) -> None:
    outside = land(config, "payments_2025-03-10.parquet", payments(50)).rename(tmp_path / "elsewhere.parquet")
    (config.landing / "payments_link.parquet").symlink_to(outside)
    assert ingested(config).files == 0


def test_a_million_rows_with_one_bad_row_lose_one_row(config: Config) -> None:
    rows = 1_000_000
    columns = payments(rows)
    columns["amount"][654_321] = -1.0
    land(config, "payments_2025-03-10.parquet", columns)
    assert counts(ingested(config)) == (rows, rows - 1, 1, 0)
    (row,) = rows_of(config, schema.QUARANTINE)
    assert (row["file"], row["row"]) == ("payments_2025-03-10.parquet", 654_322)


def test_good_files_go_on_beside_a_stopped_one(config: Config) -> None:
    land_text(config, "payments_2025-03-09.csv", "")
    land(config, "payments_2025-03-10.parquet", payments(50))
    told = ingested(config)
    assert (told.files, told.accepted) == (2, 50)
    assert "STOPPED payments_2025-03-09.csv" in told.note


def test_a_stopped_file_is_taken_once_it_is_mended(config: Config) -> None:
    path = land(config, "payments_2025-03-10.parquet", payments(50) | {"amount": ["ten"] * 50})
    assert ingested(config).stopped
    path.unlink()
    land(config, "payments_2025-03-10.parquet", payments(50))
    assert counts(ingested(config)) == (50, 50, 0, 0)


def test_people_are_told_of_a_stopped_file_once_however_often_it_is_tried(config: Config) -> None:
    for day in range(1, 6):
        land(config, f"payments_2025-03-0{day}.parquet", payments(100, dt.date(2025, 3, day), start=1000 * day))
    ingested(config)
    land(config, "payments_2025-03-06.parquet", payments(10, dt.date(2025, 3, 6), start=9000))
    for night in range(1, 4):  # other files land, so the bounds of the volume move
        day = dt.date(2025, 3, 6) + dt.timedelta(days=night)
        land(config, f"payments_{day}.parquet", payments(200, day, start=10_000 * night))
        assert validate_batch(config, AS_OF + dt.timedelta(days=night), run=Run(id=f"night {night}")).stopped
        ingested(config, AS_OF + dt.timedelta(days=night))
    (told,) = Ledger(config.ledger).messages.all(config.name)
    assert told.event == "stopped batch"
    assert told.text.startswith(
        "payments_2025-03-06.parquet was stopped: the day 2025-03-06: expect_table_row_count_to_be_between "
        "(min_value 40, max_value 250), observed 10;"
    )
    assert (told.figure, told.process, told.run_id) == ("10 rows stay out", "ingest", "night 1")


def test_people_are_told_again_of_other_content_and_of_another_fault(config: Config) -> None:
    path = land(config, "payments_2025-03-10.parquet", payments(50) | {"amount": ["ten"] * 50})
    ingested(config)
    path.rename(path.with_name("payments_again.parquet"))
    ingested(config)
    renamed = config.model_copy(
        update={"events": config.events.model_copy(update={"columns": config.events.columns | {"x": "y"}})}
    )
    validate_batch(renamed, AS_OF)
    land(config, "payments_2025-03-11.parquet", payments(50) | {"amount": ["five"] * 50})
    ingested(config)
    told = [message.text for message in Ledger(config.ledger).messages.all(config.name)]
    assert ["column 'amount'" in text for text in told] == [True, False, True]
    assert "column 'y': expect_column_to_exist" in told[1]
    assert {message.process for message in Ledger(config.ledger).messages.all(config.name)} == {""}
