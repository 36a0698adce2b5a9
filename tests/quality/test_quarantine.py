"""Rows that were set aside come in after all: once, by the same checks, known from then on, and with their history."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
import yaml

from ml import artifacts
from ml.__main__ import main
from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import quarantine, staging
from ml.quality.load import load_batch
from ml.quality.maintain import maintain
from ml.quality.quarantine import NotInQuarantine, NotReadmittable
from ml.quality.validate import validate_batch
from tests.deployments import FIRST_AS_OF, land, land_text, payments, small_file, write

AS_OF = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)  # within the archive
LATER = AS_OF + dt.timedelta(hours=3)
HEADER = "payment_id,paid_at,customer_id,terminal_id,amount,merchant_category,channel,country\n"
WHO = {"reason": "the limit was raised", "actor": "ada"}


def _deployment(folder: Path, highest: float = 50_000) -> Config:
    """The small deployment with a suite that sets aside every amount above the highest."""
    suite = yaml.safe_load((PROJECT / "expectations" / "payments.yaml").read_text())
    for entry in suite["rows"]:
        if entry["kwargs"].get("max_value") == 50000:
            entry["kwargs"]["max_value"] = highest
    small_file(folder)
    told = yaml.safe_load((folder / "deployment.yaml").read_text())
    (folder / "payments.yaml").write_text(yaml.safe_dump(suite))
    told["events"]["suite"] = str(folder / "payments.yaml")
    return load(write(folder, told))


def _ingest(config: Config, as_of: dt.datetime = AS_OF) -> None:
    load_batch(config, as_of, validate_batch(config, as_of).staged)


def _rows(config: Config, table: str) -> list[dict[str, Any]]:
    with Lake(config.lake).connect({table: schema.of(table, config)}) as connection:
        return connection.execute(f"SELECT * FROM {table}").to_arrow_table().to_pylist()


def _assert_accounted_for(config: Config) -> None:
    """Rows in = accepted + quarantined + rejected of every file, and each quarantined row is open or settled, never both."""
    for told in quarantine.summary(config):
        (batch,) = [b for b in _rows(config, schema.BATCHES) if b["batch_id"] == told.batch_id]
        assert batch["rows"] == batch["accepted"] + batch["quarantined"] + batch["rejected"]
        assert batch["quarantined"] == told.open + told.accepted + told.rejected
    ids = [row["event_id"] for row in _rows(config, schema.EVENTS)]
    delivered = sum(batch["accepted"] for batch in _rows(config, schema.BATCHES) if batch["kind"] == "events")
    readmitted = sum(told.accepted for told in quarantine.summary(config) if told.kind == "events")
    assert len(ids) == len(set(ids)) == delivered + readmitted


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Fifty payments are delivered; those of 95 and more, five, were set aside by a suite whose limit is too low."""
    config = _deployment(tmp_path, highest=94.5)
    columns = payments(50)
    columns["amount"][:5] = [95.0, 96.0, 97.0, 98.0, 99.0]
    land(config, "payments_2025-03-10.parquet", columns)
    _ingest(config)
    assert quarantine.count_open(config) == 5
    return config


def _batch(config: Config) -> str:
    return quarantine.summary(config)[0].batch_id


def test_a_batch_tells_how_many_rows_wait_and_why(config: Config) -> None:
    (told,) = quarantine.summary(config)
    assert (told.file, told.kind, told.open, told.accepted) == ("payments_2025-03-10.parquet", "events", 5, 0)
    assert told.reasons == {"amount: expect_column_values_to_be_between (min_value 0.0, max_value 94.5)": 5}


def test_rows_that_the_mended_suite_accepts_come_in_once_and_are_known_from_then_on(config: Config, tmp_path: Path) -> None:
    _deployment(tmp_path)
    told = quarantine.readmit(config, LATER, _batch(config)[:8], **WHO)
    assert (told.rows, told.accepted, told.quarantined, told.rejected) == (5, 5, 0, 0)
    versions = Lake(config.lake).versions(staging.ORDER)
    assert quarantine.readmit(config, LATER, _batch(config)[:8], **WHO) == told
    assert Lake(config.lake).versions(staging.ORDER) == versions
    known = {row["known_at"] for row in _rows(config, schema.EVENTS) if row["amount"] >= 95}
    assert known == {LATER}
    assert quarantine.count_open(config) == 0
    _assert_accounted_for(config)


def test_rows_that_fail_again_stay_with_what_was_tried(config: Config) -> None:
    told = quarantine.readmit(config, LATER, _batch(config), rows=[2], **WHO)
    assert (told.accepted, told.quarantined) == (0, 1)
    (row,) = quarantine.rows_of(config, _batch(config), 2)
    assert row.is_open
    (attempt,) = row.attempts
    assert (attempt.actor, attempt.reason, attempt.outcome, attempt.known_at) == ("ada", WHO["reason"], "quarantined", LATER)
    assert attempt.reasons == ("amount: expect_column_values_to_be_between (min_value 0.0, max_value 94.5), observed 96.0",)
    _assert_accounted_for(config)


def test_mended_values_come_in_and_leave_what_was_delivered_as_it_was(config: Config, tmp_path: Path) -> None:
    target = tmp_path / "mended.csv"
    assert quarantine.export(config, _batch(config), target) == 5
    target.write_text(target.read_text().replace('"95"', "15").replace('"96"', "16"))
    before = _rows(config, schema.QUARANTINE)
    told = quarantine.readmit(config, LATER, _batch(config), data=target, **WHO)
    assert (told.accepted, told.quarantined) == (2, 3)
    assert sorted(r["amount"] for r in _rows(config, schema.EVENTS) if r["batch_id"] == told.attempt) == [15.0, 16.0]
    assert _rows(config, schema.QUARANTINE) == before
    (row,) = quarantine.rows_of(config, _batch(config), 1)
    assert '"amount": "15"' in row.attempts[0].content
    assert '"amount": 95.0' in row.content
    _assert_accounted_for(config)


def test_what_is_written_for_mending_reads_as_what_was_delivered(config: Config, tmp_path: Path) -> None:
    quarantine.export(config, _batch(config), tmp_path / "same.csv")
    _deployment(tmp_path)
    told = quarantine.readmit(config, LATER, _batch(config), data=tmp_path / "same.csv", **WHO)
    assert told.accepted == 5
    columns = payments(50)
    mine = {row["event_id"]: row for row in _rows(config, schema.EVENTS)}
    for number in range(5):
        row = mine[columns["payment_id"][number]]
        assert row["event_time"] == columns["paid_at"][number].replace(tzinfo=dt.UTC)
        assert row["amount"] == 95.0 + number


def test_rows_that_came_in_by_another_way_meanwhile_are_rejected(config: Config, tmp_path: Path) -> None:
    _deployment(tmp_path)
    columns = {name: values[:5] for name, values in payments(50).items()}
    columns["amount"] = [95.0, 96.0, 97.0, 98.0, 99.0]
    land(config, "payments_2025-03-11.parquet", payments(50, start=500))
    land(config, "payments_again.parquet", {n: [*v, *payments(45, start=900)[n]] for n, v in columns.items()})
    _ingest(config, LATER)
    told = quarantine.readmit(config, LATER, _batch(config), **WHO)
    assert (told.accepted, told.rejected) == (0, 5)
    assert quarantine.count_open(config) == 0
    _assert_accounted_for(config)


def test_a_row_that_is_settled_or_was_never_set_aside_is_told(config: Config, tmp_path: Path) -> None:
    _deployment(tmp_path)
    quarantine.readmit(config, LATER, _batch(config), rows=[1], **WHO)
    with pytest.raises(NotInQuarantine, match=r"row 1 .* was accepted at 2025-03-11 05:00 \(the limit was raised\)"):
        quarantine.readmit(config, LATER, _batch(config), rows=[1, 2], **WHO)
    with pytest.raises(NotInQuarantine, match=r"row 40 .* is not in quarantine"):
        quarantine.readmit(config, LATER, _batch(config), rows=[40], **WHO)
    assert quarantine.count_open(config) == 4


@pytest.mark.parametrize("prefix", ["", "zz", "' OR 1=1 --", "%"])
def test_a_batch_is_named_by_the_beginning_of_its_id(config: Config, prefix: str) -> None:
    land(config, "payments_2025-03-11.parquet", payments(50, start=500) | {"customer_id": [None, *["C"] * 49]})
    _ingest(config)
    with pytest.raises(NotInQuarantine, match="in quarantine begins with"):
        quarantine.rows_of(config, prefix)


def test_mended_data_that_do_not_fit_are_told(config: Config, tmp_path: Path) -> None:
    quarantine.export(config, _batch(config), tmp_path / "good.csv")
    table = pa.csv.read_csv(tmp_path / "good.csv")
    twice = pa.concat_tables([table, table])
    wrong = {
        "no columns": table.drop_columns(["amount"]),
        "names a row twice": twice,
        "names other batches": table.set_column(0, "batch_id", pa.array(["x"] * 5)),
        "must hold the data rows": table.set_column(1, "row", pa.array(["one"] * 5)),
    }
    for number, (message, told) in enumerate(wrong.items()):
        pa.csv.write_csv(told, tmp_path / f"{number}.csv")
        with pytest.raises(NotReadmittable, match=message):
            quarantine.readmit(config, LATER, _batch(config), data=tmp_path / f"{number}.csv", **WHO)
    with pytest.raises(ValueError, match="exists already"):
        quarantine.export(config, _batch(config), tmp_path / "good.csv")
    assert _rows(config, schema.READMISSIONS) == []


@pytest.mark.parametrize("commits", [0, 1])
def test_a_readmission_that_was_cut_off_is_finished_by_the_next_load(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    _deployment(tmp_path)
    append, done = Lake.append_batches, iter(range(commits))

    def dying(self: Lake, table: str, rows: Any) -> int:
        if next(done, None) is None:
            raise KeyboardInterrupt
        return append(self, table, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append_batches", dying)
        with pytest.raises(KeyboardInterrupt):
            quarantine.readmit(config, LATER, _batch(config), **WHO)
    validate_batch(config, LATER)
    assert quarantine.count_open(config) == 0
    assert quarantine.readmit(config, LATER, _batch(config), **WHO).accepted == 5
    _assert_accounted_for(config)


def test_a_label_can_be_readmitted_once_its_event_was(config: Config, tmp_path: Path) -> None:
    """It was set aside itself, so no load brings it; the next load would bring the label, and nobody has to wait for that."""
    payments_batch = _batch(config)
    report = "payment_id,is_fraud,reported_at,source\nP0000001,1,2025-03-10T20:00:00,customer\n"
    land_text(config, "fraud_reports_2025-03-10.csv", report)
    _ingest(config)
    (labels_batch,) = {told.batch_id for told in quarantine.summary(config)} - {payments_batch}
    assert quarantine.readmit(config, AS_OF, labels_batch, **WHO).quarantined == 1
    _deployment(tmp_path)
    assert quarantine.readmit(config, LATER, payments_batch, **WHO).accepted == 5
    assert quarantine.readmit(config, LATER, labels_batch, **WHO).accepted == 1
    (label,) = _rows(config, schema.LABELS)
    assert (label["event_id"], label["known_at"]) == ("P0000001", LATER)


def test_a_line_that_could_not_be_cut_comes_in_once_it_is_mended(tmp_path: Path) -> None:
    config = _deployment(tmp_path)
    lines = [f"P{i},2025-03-10T10:00:{i:02d},C1,T1,{i}.50,grocery,chip,FR\n" for i in range(40)]
    lines[10] = "P10,2025-03-10T10:00:10,C1,T1,10.50,grocery\n"
    land_text(config, "payments_2025-03-10.csv", HEADER + "".join(lines))
    _ingest(config)
    again = quarantine.readmit(config, LATER, _batch(config), **WHO)
    assert (again.quarantined, again.reasons) == (1, {"the line has 6 fields, expected 8": 1})
    mended = tmp_path / "mended.csv"
    quarantine.export(config, _batch(config), mended)
    cut = dict(zip(HEADER.strip().split(","), [*lines[10].strip().split(","), "chip", "FR"], strict=True))
    table = pa.csv.read_csv(mended).select(["batch_id", "row"])
    for name, value in cut.items():
        table = table.append_column(name, pa.array([value]))
    pa.csv.write_csv(table, mended)
    assert quarantine.readmit(config, LATER, _batch(config), data=mended, **WHO).accepted == 1
    _assert_accounted_for(config)


def test_housekeeping_sweeps_what_is_in_and_what_the_dead_left_and_nothing_else(config: Config) -> None:
    land(config, "payments_2025-03-11.parquet", payments(50, start=500))
    waiting = validate_batch(config, LATER)
    staging_folder = artifacts.local(config).path(staging.KIND)
    half, writing = staging_folder / ".private-dead", staging_folder / ".private-alive"
    for folder in (half, writing):
        folder.mkdir()
        (folder / "events.parquet").write_bytes(b"half a file")
    os.utime(half, (0, 0))
    rows = _rows(config, schema.EVENTS)
    assert maintain(config, LATER).swept == 1
    assert (half.exists(), writing.exists()) == (False, True)
    assert load_batch(config, LATER, waiting.staged).events == 50
    assert len(_rows(config, schema.EVENTS)) == len(rows) + 50


HOSTILE = [
    b"payments_\x1b[2J.parquet",
    b"payments_'; DROP TABLE events; --.parquet",
    b"payments_[red]\n.parquet",
    b"payments_\xff.parquet",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_and_values_are_only_text(tmp_path: Path, name: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    config = _deployment(tmp_path)
    columns = payments(50)
    columns["amount"] = [str(amount) for amount in columns["amount"]]
    columns["amount"][0] = "\x1b[31m[bold]=1+1"
    os.rename(land(config, "payments_x.parquet", columns), os.fsencode(config.landing) + b"/" + name)
    _ingest(config)
    batch = _batch(config)
    command = ["--config", str(tmp_path / "deployment.yaml")]
    instant = ["--as-of", FIRST_AS_OF.isoformat()]
    assert main(["quarantine", "list", *command]) == 0
    assert main(["quarantine", "show", *command, "--batch", batch[:8]]) == 0
    assert main(["quarantine", "readmit", *command, *instant, "--batch", batch[:8], "--reason", "r", "--actor", "a"]) == 1
    assert main(["status", *command]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "1 rows are open, see `python -m ml quarantine list --config " in told
    assert main(["quarantine", "show", *command, "--batch", batch, "--to", str(tmp_path / "x.csv")]) == 0
    assert pa.csv.read_csv(tmp_path / "x.csv")["amount"].to_pylist() == ["\x1b[31m[bold]=1+1"]
    assert len(_rows(config, schema.EVENTS)) == 49
