"""What the log acknowledged is there, whatever happens to its process; what it cannot keep it refuses."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml import artifacts
from ml.config import PROJECT, Config, load
from ml.lake import segments
from ml.lake.segments import PREDICTIONS
from ml.serving import log as serving_log
from ml.serving.log import SEALED, LogUnavailable, PredictionLog
from tests.deployments import small, small_file

WRITER = """
import sys
from pathlib import Path
from ml.config import load
from ml.serving.log import PredictionLog

log = PredictionLog(load(Path(sys.argv[1])), limit=10**9, seal_seconds=0.5)
log.start()
number = 0
while True:
    for waiting in [log.append([{"id": f"{sys.argv[2]}-{number + i}"}]) for i in range(20)]:
        waiting.result()
        print(f"{sys.argv[2]}-{number}", flush=True)
        number += 1
"""
FULL = """
import resource, sys
from pathlib import Path
from ml.config import load
from ml.serving.log import LogUnavailable, PredictionLog

log = PredictionLog(load(Path(sys.argv[1])), limit=10**9)
log.start()
log.append([{"id": "before"}]).result()
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
for number in range(100):
    try:
        log.append([{"id": "x" * 500}]).result()
    except LogUnavailable as error:
        print(error)
print(*[path.suffix for path in log._folder.iterdir()])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append([{"id": "after"}]).result()
log.stop()
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small(tmp_path)


def _kept(config: Config) -> list[str]:
    """Ids of all records, after a log has published what others left."""
    log = PredictionLog(config, limit=10**9)
    log.start()
    log.stop()
    store = artifacts.of(config)
    return [r["id"] for key in store.list(PREDICTIONS) for r in segments.read(store.get(PREDICTIONS, key).read_bytes())[0]]


def _hanging(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """A disk that hangs from now on: whether it was asked, and what lets it go on."""
    is_asked, goes_on, real = threading.Event(), threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (is_asked.set(), goes_on.wait(), real(descriptor)))
    return is_asked, goes_on


def test_records_that_come_while_the_disk_works_are_kept_by_one_commit(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(config, limit=10**9)
    log.start()
    is_asked, goes_on = _hanging(monkeypatch)
    waiting = [log.append([{"id": "0"}])]
    assert is_asked.wait(10)
    waiting += [log.append([{"id": str(number)}]) for number in range(1, 501)]
    goes_on.set()
    for each in waiting:
        each.result(timeout=10)
    assert (log.state.written, log.state.refused, log.state.commits) == (501, 0, 2)
    log.stop()
    assert _kept(config) == [str(number) for number in range(501)]


def test_threads_that_append_at_once_lose_nothing_and_wait_for_nobody_that_is_gone(config: Config) -> None:
    log = PredictionLog(config, limit=10**9, seal_bytes=2_000)
    log.start()
    with ThreadPoolExecutor(16) as threads:
        waiting = list(threads.map(lambda number: log.append([{"id": str(number)}]), range(2_000)))
    for each in waiting:
        each.result(timeout=10)
    log.stop()
    assert sorted(map(int, _kept(config))) == list(range(2_000))


def test_a_disk_that_hangs_holds_nobody_who_appends(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_log, "WAITING", 10)
    is_asked, goes_on = _hanging(monkeypatch)
    log = PredictionLog(config, limit=10**9)
    log.start()
    first = log.append([{"id": "first"}])
    assert is_asked.wait(10)
    others = [log.append([{"id": str(number)}]) for number in range(10)]
    assert not any(each.done() for each in [first, *others])
    with pytest.raises(LogUnavailable, match="10 requests wait for the disk"):
        log.append([{"id": "too many"}]).result(timeout=10)
    goes_on.set()
    for each in [first, *others]:
        each.result(timeout=10)
    log.stop()
    assert _kept(config) == ["first", *map(str, range(10))]


def test_whoever_gives_up_waiting_stops_no_writer(config: Config) -> None:
    log = PredictionLog(config, limit=10**9)
    assert not log.append([{"id": "a"}]).cancel()
    log.start()
    log.append([{"id": "b"}]).result(timeout=10)
    log.stop()
    assert log.state.written == 2


def test_what_the_writer_did_not_expect_refuses_and_stops_no_writer(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(config, limit=10**9)
    log.start()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda *args: 1 / 0)
        with pytest.raises(LogUnavailable, match="division by zero"):
            log.append([{"id": "a"}]).result(timeout=10)
    log.append([{"id": "b"}]).result(timeout=10)
    log.stop()
    assert _kept(config) == ["b"]


def test_a_segment_that_nobody_writes_to_is_sealed_too(config: Config) -> None:
    log = PredictionLog(config, limit=10**9, seal_seconds=0.1)
    log.start()
    log.append([{"id": "a"}]).result(timeout=10)
    end = time.monotonic() + 10
    while not (keys := list(artifacts.of(config).list(PREDICTIONS))) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(keys) == 1
    log.stop()


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    acknowledged: list[str] = []
    for kill in range(8):
        command = [sys.executable, "-c", WRITER, str(path), str(kill)]
        writer = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(0.15 * kill)
        writer.kill()
        acknowledged += [
            line.strip() for line in [first, *writer.stdout.read().splitlines(keepends=True)] if line.endswith("\n")
        ]
    kept = _kept(load(path))
    assert len(acknowledged) > 100
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))


def test_a_line_that_was_cut_short_is_left_out(config: Config) -> None:
    folder = artifacts.local(config).scratch("serving", PREDICTIONS)
    whole = segments.line({"id": "a"}) + segments.line({"id": "b"})
    for number, cut in enumerate((1, 10, len(segments.line({"id": "b"})) - 1)):
        (folder / f"{number}.open").write_bytes(whole[:-cut])
    (folder / "9.open").write_bytes(whole.replace(b'"b"', b'"c"'))
    assert _kept(config) == ["a"] * 4


def test_a_disk_that_is_full_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=60
    )
    *refused, files = ran.stdout.splitlines()
    assert [refusal.startswith("the prediction cannot be logged: ") for refusal in refused] == [True] * 100
    assert files == ".open", "a prediction that is refused leaves no file behind"
    assert _kept(load(path)) == ["before", "after"]


def test_a_disk_that_takes_no_new_name_takes_predictions(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    log, rename = PredictionLog(config, limit=10**9, seal_bytes=1), Path.rename
    log.start()

    def refuses(path: Path, target: Path) -> Path:
        if target.suffix == SEALED:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuses)
    for number in range(3):
        log.append([{"id": str(number)}]).result(timeout=10)
    monkeypatch.undo()
    log.append([{"id": "3"}]).result(timeout=10)
    log.stop()
    assert _kept(config) == ["0", "1", "2", "3"]


def test_more_than_the_limit_is_refused_until_the_lake_has_it(config: Config) -> None:
    log = PredictionLog(config, limit=100)
    log.start()
    log.append([{"id": "a" * 50}]).result()
    with pytest.raises(LogUnavailable, match="have not reached the lake yet"):
        log.append([{"id": "b" * 50}]).result()
    assert log.state.refused == 1
    log.stop()
    for key in artifacts.of(config).list(PREDICTIONS):
        artifacts.of(config).delete(PREDICTIONS, key)
    again = PredictionLog(config, limit=100)
    again.start()
    again.append([{"id": "b" * 50}]).result()
    again.stop()
