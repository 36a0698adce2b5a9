"""Files that nobody here made, on their way into the lake: each value is the feed's own, or its row waits with a reason."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest

from ml.__main__ import main
from ml.config import Config, ConfigError, load
from ml.lake import schema
from ml.quality import landing, quarantine
from ml.quality.formats import Raw
from ml.quality.validate import validate_batch
from tests.batches import AS_OF, counts, ingested, rows_of
from tests.deployments import land, land_text, payments, small, small_told, write

NIGHT = dt.timedelta(days=1)
HEADER = "payment_id,paid_at,customer_id,terminal_id,amount,merchant_category,channel,country\n"
ANSWERS = "payment_id,is_fraud,reported_at,source\n"


def _by_id(config: Config) -> dict[str, dict[str, Any]]:
    return {
        row["event_id"]: {name: row[name] for name in row if name not in ("batch_id", "known_at")} for row in rows_of(config)
    }


def _lines(rows: int, start: int = 0, **others: str) -> list[str]:
    usual = {"customer": "C1", "terminal": "T1", "amount": "5.50", "category": "grocery", "channel": "chip", "country": "FR"}
    told = usual | others
    return [f"P{i},2025-03-10T10:00:{i % 60:02d},{','.join(told.values())}\n" for i in range(start, start + rows)]


def test_texts_that_read_like_missing_are_texts_also_on_the_way_back(config: Config, tmp_path: Path) -> None:
    columns = payments(20)
    columns["amount"][:3] = [-5.0] * 3
    columns["country"][:3] = ["NA", None, "DE"]
    columns["merchant_category"][:3] = ["null", 'say "N/A",\nor not', "x"]
    columns["customer_id"][:3] = ["NULL", "007", "1001"]
    columns["channel"][:3] = ["", "nan", None]
    land(config, "payments_2025-03-10.parquet", columns)
    assert counts(ingested(config)) == (20, 17, 3, 0)
    (batch,) = [told.batch_id for told in quarantine.summary(config)]
    mended = tmp_path / "rows.csv"
    quarantine.export(config, batch, mended)
    mended.write_text(mended.read_text().replace('"-5"', '"5"').replace(",-5,", ",5,"))
    told = quarantine.readmit(config, AS_OF, batch, "the sign", "ann", None, mended)
    assert told.accepted == 3, told.reasons
    found = _by_id(config)
    kept = ("country", "merchant_category", "customer_id", "channel", "amount")
    assert [tuple(found[f"P000000{i}"][name] for name in kept) for i in range(3)] == [
        ("NA", "null", "NULL", "", 5.0),
        (None, 'say "N/A",\nor not', "007", "nan", 5.0),
        ("DE", "x", "1001", None, 5.0),
    ]


def test_what_is_missing_is_the_deployments_to_say(tmp_path: Path) -> None:
    told = small_told()
    told["events"]["missing"] = {"country": ["-", "?"], "amount": ["-999", "NA"], "event_time": ["1900-01-01"]}
    told["labels"]["missing"] = ["n/a"]
    config = load(write(tmp_path, told))
    lines = _lines(20)
    odd = {0: {"country": "?"}, 1: {"country": "NA"}, 2: {"amount": "-999.0"}, 3: {"amount": "NA"}}
    lines[:4] = [line for i, others in odd.items() for line in _lines(1, i, **others)]
    land_text(config, "payments_1.csv", HEADER + "".join(lines))
    columns = payments(3) | {"amount": [-999, 7, 8], "country": ["-", "N/A", None]}
    land(config, "payments_2.parquet", columns)
    land_text(config, "fraud_reports_1.csv", f"{ANSWERS}P4,1,2025-03-10T20:00:00,n/a\n")
    ingested(config)
    reasons = [reason for row in rows_of(config, schema.QUARANTINE) for reason in row["reasons"]]
    assert [reason.split(", observed")[0] for reason in reasons] == ["amount: expect_column_values_to_not_be_null (holds)"] * 3
    found = _by_id(config)
    assert [found[name]["country"] for name in ("P0", "P1", "P0000001", "P0000002")] == [None, "NA", "N/A", None]
    assert [row["source"] for row in rows_of(config, schema.LABELS)] == [None]


@pytest.mark.parametrize(
    ("missing", "fault"),
    [({"counry": ["-"]}, "'missing' names ['counry'], expected columns of"), ({"country": "-"}, "list"), ([-999], "string")],
)
def test_what_is_missing_is_checked_on_load(tmp_path: Path, missing: Any, fault: str) -> None:
    told = small_told()
    told["events"]["missing"] = missing
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, told))
    assert "events.missing" in str(caught.value) or "events: " in str(caught.value)
    assert fault in str(caught.value)


def test_one_customer_has_one_id_in_files_with_and_without_a_gap(config: Config) -> None:
    frame = pd.DataFrame(payments(40))
    frame["customer_id"] = 1001
    frame["merchant_category"] = 5411
    without, gap = frame.iloc[:20], frame.iloc[20:].astype({"customer_id": float, "merchant_category": float})
    gap.loc[gap.index[0], ["customer_id", "merchant_category"]] = None
    for name, part in (("payments_1", without), ("payments_2", gap)):
        land_text(config, f"{name}.csv", part.to_csv(index=False))
    assert ",1001.0," in (config.landing / "payments_2.csv").read_text()
    ingested(config)
    with_ids = [row for row in rows_of(config) if row["customer_id"] is not None]
    assert {row["customer_id"] for row in with_ids} == {"1001"}
    assert {row["merchant_category"] for row in with_ids} == {"5411"}
    as_csv = _by_id(config)
    other = config.model_copy(update={"home": config.home.parent / "parquet"})
    for name, part in (("payments_1", without), ("payments_2", gap)):
        land(other, f"{name}.parquet", {column: part[column].tolist() for column in part})
    ingested(other)
    assert _by_id(other) == as_csv


def test_the_same_payments_as_parquet_and_again_as_csv_are_repeats(config: Config) -> None:
    columns = payments(60) | {"amount": [10 / 3 * (i + 1) ** 1.7 for i in range(60)], "country": ["NA"] * 59 + [None]}
    land(config, "payments_1.parquet", columns)
    assert ingested(config).accepted == 60
    sink = io.BytesIO()
    pa.csv.write_csv(pa.table(columns), sink)
    for name, told in (("payments_2.csv", sink.getvalue()), ("payments_3.csv", _with_pandas(columns))):
        (config.landing / name).write_bytes(told)
    assert counts(ingested(config)) == (120, 0, 0, 120)


def _with_pandas(columns: dict[str, list[Any]]) -> bytes:
    told: str = pd.DataFrame(columns).to_csv(index=False, lineterminator="\r\n")
    return b"\xef\xbb\xbf" + told.encode()


def test_a_line_that_was_cut_comes_in_with_the_whole_file(config: Config) -> None:
    whole = HEADER + "".join(_lines(40))
    land_text(config, "payments_1.csv", whole[:-2])  # 'F' of 'FR'
    assert counts(ingested(config)) == (40, 39, 1, 0)
    assert rows_of(config, schema.QUARANTINE)[0]["reasons"][0].startswith("the file ends in this line without a newline")
    land_text(config, "payments_1.csv", whole)
    assert counts(ingested(config, AS_OF + NIGHT)) == (40, 1, 0, 39)
    assert {row["country"] for row in rows_of(config)} == {"FR"}


def test_the_last_lines_of_a_feed_that_writes_no_last_newline_come_in_by_themselves(config: Config) -> None:
    for day in range(3):
        land_text(config, f"payments_{day}.csv", HEADER + "".join(_lines(30, 30 * day)).removesuffix("\n"))
        ingested(config, AS_OF + day * NIGHT)
        # The first file may be cut off; the second says that this feed ends its files so.
        assert len(rows_of(config)) == (29, 59, 89)[day]
    assert quarantine.count_open(config) == 1


def test_a_last_line_of_a_feed_that_writes_newlines_waits_for_a_person(config: Config) -> None:
    for day, end in enumerate(("", "\n", "\n")):
        land_text(config, f"payments_{day}.csv", HEADER + "".join(_lines(30, 30 * day)).removesuffix("\n") + end)
        ingested(config, AS_OF + day * NIGHT)
    assert quarantine.count_open(config) == 1
    (batch,) = [told.batch_id for told in quarantine.summary(config)]
    assert quarantine.readmit(config, AS_OF + 2 * NIGHT, batch, "looked at", "ann").accepted == 1


def test_what_is_not_read_is_said_by_ingest_and_by_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(tmp_path)
    for name in ("payments_4.txt", ".payments_5.csv", "Payments_6.csv", "notes.md"):
        land_text(config, name, HEADER)
    (config.landing / "payments_7").mkdir()
    told = validate_batch(config, AS_OF)
    assert (told.files, told.stopped) == (0, ())
    assert main(["status", "--config", str(tmp_path / "deployment.yaml")]) == 0
    for shown in (told.note, capsys.readouterr().out):
        named = [name for name in ("payments_4.txt", "Payments_6.csv", "payments_7 ") if name in shown]
        assert named == ["payments_4.txt", "Payments_6.csv", "payments_7 "]
        assert ".payments_5.csv" not in shown
        assert "notes.md" not in shown


def test_parquet_is_read_by_its_short_name_and_packed(config: Config) -> None:
    for number, name in enumerate(("payments_1.pq", "payments_2.PQ", "payments_3.parquet.gz", "payments_4.pq.zst")):
        plain = land(config, name, payments(10, start=10 * number))
        if codec := {".gz": "gzip", ".zst": "zstd"}.get(plain.suffix):
            content = plain.read_bytes()
            with pa.CompressedOutputStream(str(plain), codec) as packed:
                packed.write(content)
    assert counts(ingested(config)) == (40, 40, 0, 0)


def test_packed_bytes_that_are_no_parquet_stop_that_file_alone(config: Config) -> None:
    land_text(config, "payments_1.parquet.gz", "no gzip")
    land(config, "payments_2.pq", payments(10))
    told = ingested(config)
    assert counts(told) == (10, 10, 0, 0)
    assert any("payments_1.parquet.gz: not readable as parquet.gz" in stopped for stopped in told.stopped)
    assert not any("payments_2" in stopped for stopped in told.stopped)


@pytest.mark.parametrize("name", ["payments_1.pq", "payments_1.parquet.gz", "Payments_1.PARQUET"])
def test_a_delivery_in_another_format_than_the_pattern_asks_is_said(tmp_path: Path, name: str) -> None:
    told = small_told()
    told["events"]["files"] = "payments_*.parquet"
    config = load(write(tmp_path, told))
    land_text(config, name, "x")
    land_text(config, "payments_1.md5", "x")
    (sentence,) = landing.ignored_files(config)
    assert sentence.startswith(f"{name} is not read: it differs from the pattern 'payments_*.parquet'")


def test_one_files_odd_columns_stop_that_file_and_no_other(config: Config) -> None:
    land(config, "payments_1.parquet", payments(50) | {"amount": pa.array([[1]] * 50)})
    land(config, "payments_2.parquet", payments(50, start=50) | {"customer_id": pa.array(["C1"] * 50, pa.string_view())})
    land(config, "payments_3.parquet", payments(50, start=100) | {"paid_at": pa.array([1] * 50, pa.duration("s"))})
    land_text(config, "payments_4.parquet", "no parquet")
    odd = payments(50, start=200) | {"extra": pa.array([{"x": [1]}] * 50), "amount": [-1.0] + [2.0] * 49}
    land(config, "payments_5.parquet", odd)
    told = ingested(config)
    assert counts(told) == (200, 99, 1, 100)
    stopped = "\n".join(told.stopped)
    for name, column in (("payments_1.parquet", "'amount'"), ("payments_3.parquet", "'paid_at'"), ("payments_4.parquet", "")):
        assert any(line.startswith(f"{name}: ") and column in line for line in stopped.splitlines())
    assert "payments_2" not in stopped


def test_a_fault_that_nobody_foresaw_stops_the_file(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, content: bytes) -> Raw:
        if b"bad" in content:
            raise ZeroDivisionError("of all things")
        return read_as(name, content)

    from ml.quality import landing

    read_as = landing.read_as
    monkeypatch.setattr(landing, "read_as", broken)
    land_text(config, "payments_1.csv", HEADER + "bad")
    land(config, "payments_2.parquet", payments(50))
    told = ingested(config)
    assert told.accepted == 50
    assert "payments_1.csv: reading it failed: ZeroDivisionError: of all things" in told.stopped


def test_the_hours_of_clock_changes_never_stop_a_file(tmp_path: Path) -> None:
    told = small_told()
    told["events"]["timezone"] = "Europe/Berlin"
    config = load(write(tmp_path, told))
    autumn = payments(50, dt.date(2024, 10, 27))
    autumn["paid_at"] = [dt.datetime(2024, 10, 27, 1, 30) + dt.timedelta(minutes=i) for i in range(50)]  # noqa: DTZ001
    land(config, "payments_2024-10-27.parquet", autumn)
    as_of = dt.datetime(2024, 10, 28, 2, tzinfo=dt.UTC)
    out = ingested(config, as_of)
    assert (counts(out), out.stopped) == ((50, 30, 20, 0), ())
    assert "20 × event_time: an hour that the clock of Europe/Berlin shows twice" in out.note


def test_answers_of_a_source_without_a_rank_and_answers_before_their_events_are_told(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    land_text(
        config,
        "fraud_reports_2025-03-10.csv",
        f"{ANSWERS}P0000001,1,2025-03-10T20:00:00,oracle\nP0000002,1,2025-03-10T20:00:00,oracle\n"
        "P0000003,1,2025-03-09T20:00:00,customer\nP0000004,0,2025-03-10T20:00:00,\n",
    )
    told = ingested(config)
    assert told.accepted == 54
    assert "2 answers of source 'oracle', which labels.sources does not rank" in told.note
    assert "1 answers of no source" in told.note
    assert "1 answers are dated before their events, such as 'P0000003', answered 2025-03-09 20:00 UTC" in told.note
