"""Every row of every file is in the lake once, whatever crashes, repeats, is renamed, or happens at the same time."""

from __future__ import annotations

import datetime as dt
import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import staging
from ml.quality.load import FilesMissing, load_batch
from ml.quality.validate import validate_batch
from tests.deployments import land, land_text, payments, raw, small, small_file, write

AS_OF = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)
REPORTS = "payment_id,is_fraud,reported_at,source\nP0000001,1,2025-03-10T20:00:00,customer\n"


class Killed(BaseException):
    """A process that dies: nothing below catches it."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small(tmp_path)


def _rows(config: Config, table: str) -> list[dict[str, Any]]:
    with Lake(config.lake).connect({table: schema.of(table, config)}) as connection:
        return connection.execute(f"SELECT * FROM {table}").to_arrow_table().to_pylist()


def _ids(config: Config, table: str = schema.EVENTS) -> list[str]:
    return sorted(row["event_id"] for row in _rows(config, table))


def _kill_after(commits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let that many tables be committed, then die."""
    append, done = Lake.append_batches, iter(range(commits))

    def dying(self: Lake, table: str, rows: Any) -> int:
        if next(done, None) is None:
            raise Killed
        return append(self, table, rows)

    monkeypatch.setattr(Lake, "append_batches", dying)


def _with_suite(folder: Path, highest: float) -> Config:
    """The small deployment with a suite that sets aside every amount above the highest."""
    suite = yaml.safe_load((PROJECT / "expectations" / "payments.yaml").read_text())
    for entry in suite["rows"]:
        if entry["kwargs"].get("max_value") == 50000:
            entry["kwargs"]["max_value"] = highest
    (folder / "payments.yaml").write_text(yaml.safe_dump(suite))
    told = raw()
    told["events"]["suite"] = str(folder / "payments.yaml")
    return load(write(folder, told))


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
def test_a_load_that_was_cut_off_is_finished_as_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    config = _with_suite(tmp_path, 50_000)
    columns = payments(50)
    columns["amount"][7] = -1.0
    land(config, "payments_2025-03-10.parquet", columns)
    land_text(config, "fraud_reports_2025-03-10.csv", REPORTS)
    told = validate_batch(config, AS_OF)
    with monkeypatch.context() as patch:
        _kill_after(commits, patch)
        with pytest.raises(Killed):
            load_batch(config, AS_OF, told.staged)
    assert _rows(config, schema.BATCHES) == []
    _with_suite(tmp_path, 20)
    again = validate_batch(config, AS_OF + dt.timedelta(days=1))
    assert again.files == 0
    assert _ids(config) == sorted(set(payments(50)["payment_id"]) - {"P0000007"})
    assert [row["row"] for row in _rows(config, schema.QUARANTINE)] == [8]
    assert _ids(config, schema.LABELS) == ["P0000001"]
    assert {row["known_at"] for table in (schema.QUARANTINE, schema.BATCHES) for row in _rows(config, table)} == {AS_OF}
    assert load_batch(config, AS_OF, told.staged).events == 0


def test_a_crash_whose_staged_rows_are_gone_is_told(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    told = validate_batch(config, AS_OF)
    with monkeypatch.context() as patch:
        _kill_after(1, patch)
        with pytest.raises(Killed):
            load_batch(config, AS_OF, told.staged)
    folder = config.home / "staging" / told.staged
    folder.rename(config.home / "elsewhere")
    with pytest.raises(staging.StagedRowsMissing, match=r"put .* back"):
        validate_batch(config, AS_OF)
    (config.home / "elsewhere").rename(folder)
    assert validate_batch(config, AS_OF).files == 0
    assert len(_ids(config)) == 50


def test_loading_again_after_the_staged_rows_are_gone_adds_nothing(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    told = validate_batch(config, AS_OF)
    first = load_batch(config, AS_OF, told.staged)
    assert not (config.home / "staging" / told.staged).exists()
    again = load_batch(config, AS_OF, told.staged)
    assert (first.events, again.events) == (50, 0)
    assert again.versions == first.versions


@pytest.mark.parametrize("staged", ["absent", "..", "../lake", "0" * 64])
def test_an_address_at_which_nothing_is_staged_is_told(config: Config, staged: str) -> None:
    with pytest.raises(FileNotFoundError, match="run validate_batch again"):
        load_batch(config, AS_OF, staged)


def test_rows_that_came_in_since_they_were_checked_are_not_loaded_again(config: Config) -> None:
    """Two validations saw the same lake, and their files have events in common."""
    first = land(config, "payments_2025-03-09.parquet", payments(50))
    one = validate_batch(config, AS_OF)
    hidden = first.rename(config.home / "payments_2025-03-09.parquet")
    land(config, "payments_2025-03-10.parquet", payments(50, start=25))
    other = validate_batch(config, AS_OF)
    hidden.rename(first)
    assert (one.accepted, other.accepted) == (50, 50)
    assert load_batch(config, AS_OF, one.staged).events == 50
    late = load_batch(config, AS_OF, other.staged)
    assert Counter(_ids(config)).most_common(1)[0][1] == 1
    assert late.events + 50 == len(_ids(config))
    assert "checked again, because the lake had moved on: 1 files, 50 rows" in late.note


def test_rows_to_be_checked_again_need_their_file(config: Config) -> None:
    gone = land(config, "payments_2025-03-09.parquet", payments(50))
    one = validate_batch(config, AS_OF)
    gone.unlink()
    land(config, "payments_2025-03-10.parquet", payments(50, start=100))
    load_batch(config, AS_OF, validate_batch(config, AS_OF).staged)
    with pytest.raises(FilesMissing, match=r"payments_2025-03-09\.parquet.*put them back"):
        load_batch(config, AS_OF, one.staged)
    assert len(_ids(config)) == 50


def test_a_mended_suite_is_not_answered_from_what_was_staged_before(tmp_path: Path) -> None:
    config = _with_suite(tmp_path, 20)
    land(config, "payments_2025-03-10.parquet", payments(50))
    before = validate_batch(config, AS_OF)
    _with_suite(tmp_path, 50_000)
    after = validate_batch(config, AS_OF)
    assert before.quarantined > 0
    assert (after.accepted, after.quarantined) == (50, 0)


def test_a_lake_that_was_deleted_is_filled_again(config: Config) -> None:
    land(config, "payments_2025-03-10.parquet", payments(50))
    load_batch(config, AS_OF, validate_batch(config, AS_OF).staged)
    Path(config.lake).rename(config.home / "old")
    assert load_batch(config, AS_OF, validate_batch(config, AS_OF).staged).events == 50


def test_files_may_arrive_in_any_order_and_under_any_name(tmp_path: Path) -> None:
    found = []
    for number, order in enumerate(((0, 1, 2), (2, 0, 1), (1, 2, 0))):
        (tmp_path / str(number)).mkdir()
        config = small(tmp_path / str(number))
        for step, which in enumerate(order):
            land(config, f"payments_{number}_{step}.parquet", payments(40, start=40 * which))
            load_batch(config, AS_OF, validate_batch(config, AS_OF).staged)
        found.append(_ids(config))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 120


def _ingest(path: str, own: int, barrier) -> int:
    """Lands a file of its own and one that another process lands too, and ingests at the same moment as all others."""
    config = load(path)
    day = payments(300)
    land(config, f"payments_{own}.parquet", {name: values[40 * own : 40 * own + 60] for name, values in day.items()})
    land(config, f"payments_shared_{own}.parquet", payments(50, start=1000 + 100 * (own // 2)))
    barrier.wait()
    told = validate_batch(config, AS_OF)
    return load_batch(config, AS_OF, told.staged).events


def test_processes_that_ingest_overlapping_files_at_once_load_every_row_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = str(small_file(tmp_path))
    with context.Manager() as manager, context.Pool(4) as pool:
        barrier = manager.Barrier(4)
        added = pool.starmap(_ingest, [(path, number, barrier) for number in range(4)], chunksize=1)
    config = load(path)
    batches, quarantined = _rows(config, schema.BATCHES), _rows(config, schema.QUARANTINE)
    assert len(batches) == len({batch["batch_id"] for batch in batches}) == 4 + 2
    assert all(b["rows"] == b["accepted"] + b["quarantined"] + b["rejected"] for b in batches)
    ids = _ids(config)
    assert len(ids) == len(set(ids)) == sum(batch["accepted"] for batch in batches) == sum(added)
    assert quarantined == []
    sent = {f"P{start + i:07d}" for start, rows in ((0, 180), (1000, 50), (1100, 50)) for i in range(rows)}
    assert set(ids) == sent
