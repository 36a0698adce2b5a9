"""A table takes each batch once, whoever commits at the same time, and forgets neither versions nor batches."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.lake.tables import Lake

# Longer than the 30 days after which Delta Lake would by default forget what a log file says.
LONG_AGO = 1_000_000_000


def _rows(batch: str, count: int = 3) -> pa.Table:
    return pa.table({"batch_id": [batch] * count, "value": list(range(count))})


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a lake of each kind."""
    return str(tmp_path) if request.param == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture
def lake(place: str) -> Lake:
    """A lake in a folder, and one in an object store."""
    return Lake(place)


def _append_all(place: str, own: int) -> int:
    """Appends what all processes append and something of its own, in turns; returns the rows added."""
    lake = Lake(place)
    return sum(lake.append_batches("table", pa.concat_tables([_rows(f"all-{i}"), _rows(f"{own}-{i}")])) for i in range(8))


def test_a_batch_is_appended_once(lake: Lake) -> None:
    assert lake.append_batches("table", _rows("a")) == 3
    assert lake.append_batches("table", pa.concat_tables([_rows("a"), _rows("b")])) == 3
    assert lake.append_batches("table", _rows("a")) == 0
    assert lake.version("table") == 2
    assert lake.committed("table", ["a", "b", "c"]) == {"a", "b"}


def test_values_that_hardly_repeat_have_no_dictionary(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append_batches("table", _rows("a").append_column("event_id", pa.array(["1", "2", "3"])))
    found = lake.open("table")
    assert found is not None
    columns = pq.ParquetFile(lake.files("table", found)[0]).metadata.row_group(0).to_dict()["columns"]
    assert {column["path_in_schema"]: column["has_dictionary_page"] for column in columns} == {
        "batch_id": True,
        "value": True,
        "event_id": False,
    }


def test_processes_that_make_a_table_and_append_the_same_batches_at_once_double_nothing(place: str) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        added = pool.starmap(_append_all, [(place, number) for number in range(4)], chunksize=1)
    found = Lake(place).open("table")
    assert found is not None
    rows = found.to_pyarrow_table()
    assert sum(added) == rows.num_rows == 3 * (8 + 4 * 8)
    assert set(rows["batch_id"].value_counts().field("counts").to_pylist()) == {3}


def test_a_column_that_had_to_have_values_may_lack_them_when_its_schema_says_so(lake: Lake) -> None:
    strict = pa.schema([pa.field("batch_id", pa.string(), nullable=False), pa.field("value", pa.int64(), nullable=False)])
    lake.append_batches("table", _rows("a").cast(strict))
    wide = pa.schema([strict.field("batch_id"), pa.field("value", pa.int64())])
    assert lake.append_batches("table", pa.table({"batch_id": ["b"], "value": [None]}, wide)) == 1
    assert lake.append_batches("table", pa.table({"batch_id": ["b"], "value": [None]}, wide)) == 0
    found = lake.open("table")
    assert found is not None
    assert sorted(found.to_pyarrow_table()["value"].to_pylist(), key=str) == [0, 1, 2, None]


def test_a_commit_that_cannot_be_made_is_an_error(lake: Lake) -> None:
    lake.append_batches("table", _rows("a"))
    with pytest.raises(Exception, match="schema"):
        lake.append_batches("table", pa.table({"batch_id": ["b"], "other": [1]}))
    assert lake.committed("table", ["b"]) == set()


def test_versions_and_batches_are_remembered_for_longer_than_delta_lake_would(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number in range(105):
        lake.append_batches("table", _rows(f"b{number}", 1))
        for file in (tmp_path / "table" / "_delta_log").iterdir():
            os.utime(file, (LONG_AGO, LONG_AGO))
    assert list((tmp_path / "table" / "_delta_log").glob("*.checkpoint.parquet"))
    for version in (1, 50, 105):
        found = lake.open("table", version)
        assert found is not None
        assert found.to_pyarrow_table().num_rows == version
    assert lake.committed("table", [f"b{number}" for number in range(106)]) == {f"b{number}" for number in range(105)}


def test_only_one_process_writes_at_a_time_and_a_dead_one_gives_its_turn_back(place: str) -> None:
    context = multiprocessing.get_context("spawn")
    held, held_too = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(place, held, 600))
    holder.start()
    assert held.wait(60)
    waiting = context.Process(target=_hold, args=(place, held_too, 0))
    waiting.start()
    assert not held_too.wait(5)
    holder.kill()
    holder.join()
    assert held_too.wait(60)
    waiting.join(60)
    assert waiting.exitcode == 0


def _hold(place: str, held, seconds: int) -> None:
    with Lake(place).writing():
        held.set()
        time.sleep(seconds)


@pytest.mark.parametrize("name", ["plain", "it's *one*?", "day=1", "a b,c"])
def test_a_connection_sees_the_rows_of_all_files_and_no_column_of_the_folders(name: str, tmp_path: Path) -> None:
    _sees_all_rows(Lake(tmp_path / name))


def test_a_connection_sees_the_rows_of_an_object_store(bucket: str) -> None:
    _sees_all_rows(Lake(f"{bucket}/day=1"))


def _sees_all_rows(lake: Lake) -> None:
    for number in range(3):
        lake.append_batches("table", _rows(f"b{number}"))
    columns = _rows("a").schema
    with lake.connect({"table": columns}) as connection:
        seen = connection.sql("SELECT * FROM 'table' ORDER BY ALL").to_arrow_table()
        assert seen.column_names == columns.names
        assert seen["batch_id"].to_pylist() == [f"b{number}" for number in range(3) for _ in range(3)]
    with lake.connect({"table": columns}, versions={"table": 2}) as connection:
        assert connection.sql("SELECT DISTINCT batch_id FROM 'table' ORDER BY ALL").fetchall() == [("b0",), ("b1",)]


def test_a_table_that_was_made_and_not_written_to_is_empty(lake: Lake) -> None:
    lake.append_batches("table", _rows("a"))
    with lake.connect({"table": _rows("a").schema}, versions={"table": 0}) as connection:
        assert connection.sql("SELECT * FROM 'table'").fetchall() == []


def test_a_table_is_opened_by_reading_few_commits_however_many_there_are(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number in range(25):
        lake.append_batches("table", _rows(f"b{number}", 1))
    log = tmp_path / "table" / "_delta_log"
    newest = max(int(file.name.split(".")[0]) for file in log.glob("*.checkpoint.parquet"))
    assert lake.version("table") - newest <= 10
    assert len(list(log.glob("*.json"))) == 26


def test_loads_that_are_going_on_are_marked_and_tables_are_listed(lake: Lake) -> None:
    assert (lake.loading(), lake.tables()) == (None, [])
    lake.mark_loading("a")
    assert lake.loading() == "a"
    lake.append_batches("table", _rows("a"))
    lake.append_batches("another", _rows("a"))
    lake.mark_loaded("a")
    lake.mark_loaded("a")
    assert (lake.loading(), lake.tables()) == (None, ["another", "table"])
    assert lake.root.has("table/_delta_log/00000000000000000000.json")
    assert not lake.root.has("table/_delta_log/00000000000000000009.json")


def test_loads_of_machines_that_overlap_each_keep_their_mark(bucket: str) -> None:
    one, other = Lake(f"{bucket}/overlap"), Lake(f"{bucket}/overlap")
    one.mark_loading("a")
    other.mark_loading("b")
    one.mark_loaded("a")
    assert one.loading() == "b"
    other.mark_loaded("b")
    assert one.loading() is None


def test_threads_that_share_a_file_of_an_object_store_each_read_their_own_range(bucket: str) -> None:
    """Row groups of one file are read by several threads at once, and again and again."""
    lake = Lake(f"{bucket}/ranges")
    rows = 1_000_000
    lake.append_batches(
        "table", pa.table({"batch_id": ["a"] * rows, "value": range(rows), "other": [i * 7 for i in range(rows)]})
    )
    for _ in range(5):
        with lake.connect({"table": pa.schema([])}) as connection:
            connection.execute("SET threads = 8")
            (answer,) = connection.sql("SELECT sum(value)::BIGINT, sum(other)::BIGINT FROM 'table'").fetchall()
        assert answer == (rows * (rows - 1) // 2, 7 * rows * (rows - 1) // 2)


@pytest.mark.parametrize("commits", [1, 12])
def test_a_column_that_was_added_later_is_null_in_the_rows_of_before(lake: Lake, commits: int) -> None:
    """Also where checkpoints hold the older commits, at the versions before, and of a type that has no statistics."""
    wide = pa.schema([*_rows("a").schema, pa.field("explored", pa.bool_()), pa.field("reasons", pa.list_(pa.string()))])
    for number in range(commits):
        lake.append_batches("table", _rows(f"old {number}", 1))
    before = lake.version("table")
    for _ in range(2):  # read before and after the first commit with the new columns
        with lake.connect({"table": wide}, versions={"table": before}) as connection:
            assert connection.sql("SELECT DISTINCT explored, reasons FROM 'table'").fetchall() == [(None, None)]
            assert connection.sql("SELECT * FROM 'table'").columns == wide.names
        new = {"batch_id": ["new"], "value": [7], "explored": [True], "reasons": [["late"]]}
        lake.append_batches("table", pa.table(new, wide))
    with lake.connect({"table": wide}) as connection:
        seen = connection.sql("SELECT * FROM 'table' WHERE explored OR batch_id = 'old 0' ORDER BY batch_id").fetchall()
    assert seen == [("new", 7, True, ["late"]), ("old 0", 0, None, None)]
    with lake.connect({"table": _rows("a").schema}) as connection:
        assert connection.sql("SELECT count(*), count(value) FROM 'table'").fetchall() == [(commits + 1, commits + 1)]
