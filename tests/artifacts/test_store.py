"""A store keeps artifacts whole, in a folder and in an object store alike."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from ml.artifacts import Folder, Missing, Store
from ml.artifacts.folder import PRIVATE
from ml.artifacts.objects import MANIFEST, DamagedArtifact, Objects
from ml.errors import BadInput

PARTS = 12
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.artifacts.test_store", "obstore.store"])


@dataclass(frozen=True)
class Opened:
    """Opens one store from several machines, each of which has a folder for its copies; the URI of a folder is empty.

    A process of another one's making needs to be told the environment of today.
    """

    uri: str
    environ: tuple[tuple[str, str], ...]

    def __call__(self, machine: Path) -> Store:
        os.environ.update(self.environ)
        return Objects(self.uri, Folder(machine)) if self.uri else Folder(machine.parent / "shared")


@pytest.fixture(params=["folder", "object store"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """A store of both kinds."""
    uri = "" if request.param == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return Opened(uri, tuple((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


def _parts(text: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / "inner").mkdir(parents=True)
        for number in range(PARTS):
            (folder / "inner" / f"{number}.txt").write_text(text)
        (folder / "sum.json").write_text(json.dumps([text] * PARTS))

    return fill


def _texts(path: Path) -> set[str]:
    texts = [(path / "inner" / f"{number}.txt").read_text() for number in range(PARTS)]
    return {*texts, *json.loads((path / "sum.json").read_text())}


def test_what_one_machine_puts_another_one_gets(opened: Opened, tmp_path: Path) -> None:
    here, there = opened(tmp_path / "here"), opened(tmp_path / "there")
    assert _texts(here.put("models", "a1", _parts("one"))) == {"one"}
    here.put_text("tuning", "a1/plan.json", "{}")
    assert _texts(there.get("models", "a1")) == {"one"}
    assert there.get("tuning", "a1/plan.json").read_text() == "{}"
    assert (there.list("models"), there.list("nothing")) == (["a1"], [])
    assert (there.has("models", "a1"), there.has("models", "a2")) == (True, False)


def test_copies_that_another_machine_has_taken_in_are_not_kept(opened: Opened, tmp_path: Path) -> None:
    here, there = opened(tmp_path / "here"), opened(tmp_path / "there")
    here.put_text("prediction_log", "a.jsonl", "one")
    there.get("prediction_log", "a.jsonl")
    there.delete("prediction_log", "a.jsonl")
    assert (here.list("prediction_log"), here.has("prediction_log", "a.jsonl")) == ([], False)


def test_the_first_writer_of_a_key_wins_and_only_a_replacement_follows(opened: Opened, tmp_path: Path) -> None:
    here, there = opened(tmp_path / "here"), opened(tmp_path / "there")
    assert here.put_text("cards", "1.html", "first").read_text() == "first"
    assert there.put_text("cards", "1.html", "second").read_text() == "first"
    assert there.put_text("cards", "1.html", "third", replace=True).read_text() == "third"
    assert opened(tmp_path / "elsewhere").get("cards", "1.html").read_text() == "third"


def test_a_name_follows_from_the_content(opened: Opened, tmp_path: Path) -> None:
    store = opened(tmp_path / "here")
    names = [store.put_by_content("sets", lambda sha: f"{sha}.txt", lambda path, t=text: path.write_text(t)) for text in "aba"]
    assert names[0] == names[2] != names[1]
    assert store.list("sets") == sorted({path.name for _, path in names})


def test_what_is_deleted_is_gone_everywhere(opened: Opened, tmp_path: Path) -> None:
    here, there = opened(tmp_path / "here"), opened(tmp_path / "there")
    here.put("staging", "a1", _parts("one"))
    here.delete("staging", "a1")
    here.delete("staging", "a1")
    assert (there.has("staging", "a1"), there.list("staging")) == (False, [])
    with pytest.raises(Missing, match="a1"):
        there.get("staging", "a1")


def test_what_fails_while_it_is_made_leaves_nothing(opened: Opened, tmp_path: Path) -> None:
    store = opened(tmp_path / "here")

    def fill(folder: Path) -> None:
        _parts("one")(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("models", "a1", fill)
    assert (store.has("models", "a1"), store.list("models")) == (False, [])
    assert not list(tmp_path.rglob(f"{PRIVATE}*"))


@pytest.mark.parametrize("name", ["..", "../a", "/etc/passwd", "a//b", ".hidden", "a/../b", "", "a\n", "a b", "ä"])
def test_a_name_cannot_lead_out_of_the_store(opened: Opened, tmp_path: Path, name: str) -> None:
    store = opened(tmp_path / "here")
    for kind, key in ((name, "a"), ("models", name)):
        with pytest.raises(BadInput, match="of an artifact is"):
            store.put_text(kind, key, "text")


def _race(opened: Opened, machine: Path, start: Barrier, text: str) -> None:
    start.wait()
    opened(machine).put("models", "one", _parts(text))


def test_eight_processes_that_put_one_key_at_once_leave_one_whole_artifact(opened: Opened, tmp_path: Path) -> None:
    for attempt in range(3):
        race = tmp_path / str(attempt)
        race.mkdir()
        start = processes.Barrier(8)
        racers = [processes.Process(target=_race, args=(opened, race / f"{n}", start, f"text {attempt} {n}")) for n in range(8)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert [racer.exitcode for racer in racers] == [0] * 8
        seen = {frozenset(_texts(opened(race / f"{n}").get("models", "one"))) for n in range(8)}
        assert len(seen) == 1
        assert len(next(iter(seen))) == 1
        opened(race / "0").delete("models", "one")


@pytest.mark.parametrize("inside", [True, False], ids=["while_it_is_made", "at_any_time"])
def test_a_writer_that_is_killed_anywhere_leaves_the_artifact_whole_or_not_at_all(
    opened: Opened, tmp_path: Path, inside: bool
) -> None:
    store, whole = opened(tmp_path / "reader"), 0
    for attempt in range(13):
        key = f"key-{attempt}"
        start = processes.Barrier(2)
        writer = processes.Process(target=_write, args=(opened, tmp_path / "writer", key, start, inside))
        writer.start()
        start.wait()
        time.sleep(0.004 * attempt)
        writer.kill()
        writer.join()
        if store.has("models", key):
            whole += 1
            assert _texts(store.get("models", key)) == {"killed"}
        assert (key in store.list("models")) == store.has("models", key)
        assert _texts(opened(tmp_path / "again").put("models", key, _parts("killed"))) == {"killed"}
    assert whole == 0 or not inside


def _write(opened: Opened, machine: Path, key: str, start: Barrier, inside: bool) -> None:
    def fill(folder: Path) -> None:
        _parts("killed")(folder)
        start.wait()
        time.sleep(60)

    store = opened(machine)
    if not inside:
        start.wait()
    store.put("models", key, fill if inside else _parts("killed"))


def test_what_killed_writers_leave_is_swept_after_a_day(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    old, new = (tmp_path / "models" / f"{PRIVATE}{name}" for name in ("old", "new"))
    for folder in (old, new):
        _parts("half")(folder)
    os.utime(old, (0, 0))
    assert store.sweep("models") == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_a_file_that_was_changed_in_the_object_store_is_refused(bucket: str, tmp_path: Path) -> None:
    import obstore

    uri = f"{bucket}/{tmp_path.name}"
    store = Objects(uri, Folder(tmp_path / "here"))
    store.put("models", "a1", _parts("one"))
    (changed,) = [
        each["path"]
        for batch in obstore.list(store._store, "models/")
        for each in batch
        if each["path"].endswith("inner/7.txt") and MANIFEST not in each["path"]
    ]
    obstore.put(store._store, changed, b"other")
    with pytest.raises(DamagedArtifact, match=r"inner/7\.txt has SHA-256"):
        Objects(uri, Folder(tmp_path / "there")).get("models", "a1")
    assert not list((tmp_path / "there" / "models").glob("a1"))
