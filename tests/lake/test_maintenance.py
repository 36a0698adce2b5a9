"""Housekeeping changes no row of a version that somebody may still read, and forgets no batch."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import multiprocessing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.config import Config
from ml.lake.maintenance import compact, kept_versions, vacuum
from ml.lake.tables import Lake
from ml.registry.versions import Registry
from tests.deployments import small

COMMITS = 12
FIRST = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


def _day(number: int) -> pa.Table:
    times = [FIRST + dt.timedelta(days=number, seconds=i) for i in range(200)]
    return pa.table(
        {"event_id": [f"{number}-{i}" for i in range(200)], "event_time": times, "batch_id": [f"b{number}"] * 200},
        pa.schema([("event_id", pa.string()), ("event_time", pa.timestamp("us", "UTC")), ("batch_id", pa.string())]),
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "home" / "lake")
    for number in range(COMMITS):
        lake.append_batches("events", _day(number))
    return lake


def _read(lake: Lake, version: int | None = None) -> list[str]:
    found = lake.open("events", version)
    assert found is not None
    return sorted(found.to_pyarrow_table()["event_id"].to_pylist())


def _bytes(lake: Lake) -> int:
    return sum(file.stat().st_size for file in Path(lake.uri("events")).glob("*.parquet"))


def test_kept_versions_and_the_newest_read_the_same_before_and_after(lake: Lake) -> None:
    kept = {3, 7, COMMITS}
    before = {version: _read(lake, version) for version in kept}
    for _ in range(2):
        compact(lake, "events")
        vacuum(lake, "events", kept)
    assert {version: _read(lake, version) for version in kept} == before
    assert _read(lake) == before[COMMITS]


def test_files_of_versions_that_nobody_keeps_are_deleted(lake: Lake) -> None:
    before = _bytes(lake)
    compact(lake, "events")
    assert vacuum(lake, "events", []) == COMMITS
    assert lake.count_files("events") == 1
    assert _bytes(lake) < before
    with pytest.raises(FileNotFoundError):
        _read(lake, 5)


def test_batches_are_still_known_to_be_in(lake: Lake) -> None:
    compact(lake, "events")
    vacuum(lake, "events", [])
    assert lake.append_batches("events", _day(4)) == 0
    assert lake.append_batches("events", _day(COMMITS)) == 200


def test_nothing_to_do_makes_no_version(lake: Lake) -> None:
    for _ in range(2):
        compact(lake, "events")
        vacuum(lake, "events", [])
    version = lake.version("events")
    compact(lake, "events")
    assert vacuum(lake, "events", []) == 0
    assert lake.version("events") == version


def test_a_file_that_is_not_committed_yet_is_left_alone(lake: Lake) -> None:
    writing = Path(lake.uri("events")) / "part-00000-of-a-writer.parquet"
    writing.write_bytes(b"half a file")
    compact(lake, "events")
    vacuum(lake, "events", [])
    assert writing.exists()


def test_a_reader_of_a_few_hours_skips_the_row_groups_of_others(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    times = pa.array([FIRST + dt.timedelta(seconds=i) for i in range(300_000)], pa.timestamp("us", "UTC"))
    lake.append_batches("events", pa.table({"event_time": times, "batch_id": ["b"] * len(times)}))
    found = lake.open("events")
    assert found is not None
    (file,) = found.file_uris()
    groups = [pq.read_metadata(file).row_group(i) for i in range(pq.read_metadata(file).num_row_groups)]
    spans = [(g.column(0).statistics.min, g.column(0).statistics.max) for g in groups]
    assert max(group.num_rows for group in groups) <= 122_880
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def _append_many(root: str, first: int, started) -> int:
    lake = Lake(Path(root))
    started.set()
    return sum(lake.append_batches("events", _day(number)) for number in range(first, first + 15))


def test_appends_during_a_compaction_lose_nothing(lake: Lake) -> None:
    """The writer does not take turns here: Delta Lake's own commits have to keep both."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(1) as pool:
        started = manager.Event()
        appended = pool.apply_async(_append_many, (lake.root.address, COMMITS, started))
        assert started.wait(60)
        while not appended.ready():
            compact(lake, "events")
            vacuum(lake, "events", [])
        assert appended.get() == 15 * 200
    compact(lake, "events")
    assert _read(lake) == sorted(name for number in range(COMMITS + 15) for name in _day(number)["event_id"].to_pylist())


def _compact_and_tell(root: str, ready) -> None:
    ready.set()
    while True:
        Lake(Path(root)).append_batches("other", _day(0))
        compact(Lake(Path(root)), "events")


def test_a_compaction_that_was_killed_is_run_again(lake: Lake) -> None:
    before = _read(lake)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_compact_and_tell, args=(lake.root.address, ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    assert _read(lake) == before
    compact(lake, "events")
    assert (_read(lake), lake.count_files("events")) == (before, 1)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small(tmp_path)


def _record(config: Config, name: str, lake_versions: object) -> None:
    folder = config.home / "training_sets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"lake": lake_versions}))


def test_what_training_sets_and_registered_models_name_is_kept(config: Config, tmp_path: Path) -> None:
    _record(config, "one", {"events": 5, "labels": 3})
    _record(config, "two", {"events": 7, "labels": -1})
    registry = Registry(config.tracking, config.name)
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("model_uuid: x\n")
    run = registry.run(registry.experiment("test", str(tmp_path / "artifacts")), "key")
    registry.register(model, run, {"lake_versions": str({"events": 2, "labels": 3})}, "a test's model")
    assert kept_versions(config) == {"events": {2, 5, 7}, "labels": {3}}


@pytest.mark.parametrize("told", ["__import__('os').getcwd()", {"events": "5"}, [5], None])
def test_a_record_that_cannot_be_read_keeps_everything(config: Config, told: object) -> None:
    _record(config, "one", told)
    with pytest.raises(ValueError, match=r"one\.json: lake versions are .* expected a version by table"):
        kept_versions(config)
