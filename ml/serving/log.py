"""The prediction log: a record is on disk before its request is answered.

One thread writes what waits and makes the disk keep it, once for all of it (group commit). Whoever appends goes on meanwhile,
so that the next events are scored while the disk works, and a disk that hangs holds nobody else. Records are lines of a
segment; a segment that is large or old enough is sealed and becomes an artifact, which `load_predictions` takes into the
lake. Nothing grows without bound: a record is refused when the disk is full, when too many
wait for the disk, or when too much has not reached the lake yet.

Source: group commit, DeWitt and others, Implementation Techniques for Main Memory Database Systems, 1984.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ml import artifacts
from ml.artifacts.store import Missing, Store
from ml.config import Config
from ml.errors import Refused
from ml.lake import segments
from ml.lake.segments import PREDICTIONS, Record

OPEN, SEALED = ".open", ".jsonl"
SEAL_BYTES, SEAL_SECONDS, PUBLISH_SECONDS = 8 << 20, 30.0, 5.0
WAITING = 20_000
"""Requests that may wait for the disk."""

log = logging.getLogger(__name__)


class LogUnavailable(Refused, RuntimeError):
    """A record could not be written."""


@dataclass
class State:
    """What the log has come to, for metrics."""

    written: int = 0
    refused: int = 0
    commits: int = 0
    bytes_kept: int = 0
    oldest: float | None = None


@dataclass(frozen=True, eq=False)
class _Entry:
    lines: bytes
    records: int
    done: Future[None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.done.set_running_or_notify_cancel()  # whoever gives up waiting must not cancel what the writer will settle


class PredictionLog:
    """The log of one process.

    Args:
        limit: bytes that are not in the lake yet, at most.
        kind: of the artifacts that sealed segments become.
    """

    def __init__(
        self,
        config: Config,
        limit: int,
        kind: str = PREDICTIONS,
        seal_bytes: int = SEAL_BYTES,
        seal_seconds: float = SEAL_SECONDS,
    ) -> None:
        self.state = State()
        self._config, self._limit, self._kind = config, limit, kind
        self._seal_bytes, self._seal_seconds = seal_bytes, seal_seconds
        self._folder = artifacts.local(config).scratch("serving", kind)
        self._waiting: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._segment: _Segment | None = None
        self._writer = threading.Thread(target=self._write_waiting, name="log", daemon=True)
        self._publisher = threading.Thread(target=self._publish_all, name="sealed segments", daemon=True)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Publish what killed processes left, and begin to write."""
        for path in sorted(self._folder.glob(f"*{OPEN}")):
            _recover(path)
        self._measure()
        self._writer.start()
        self._publisher.start()

    def append(self, records: Sequence[Record]) -> Future[None]:
        """Have records written; the future is done when the disk keeps them, and has `LogUnavailable` if it does not."""
        entry = _Entry(b"".join(segments.line(record) for record in records), len(records))
        if self.state.bytes_kept + len(entry.lines) > self._limit:
            return self._refuse(entry, f"{self.state.bytes_kept} bytes of predictions have not reached the lake yet")
        if self._waiting.qsize() >= WAITING:
            return self._refuse(entry, f"{WAITING} requests wait for the disk")
        self._waiting.put(entry)
        return entry.done

    def stop(self) -> None:
        """Write what waits, and publish all of it."""
        self._waiting.put(None)
        self._writer.join()
        self._stopped.set()
        self._publisher.join()
        self._publish()

    def _refuse(self, entry: _Entry, why: str) -> Future[None]:
        self.state.refused += entry.records
        entry.done.set_exception(LogUnavailable(f"the prediction cannot be logged: {why}"))
        return entry.done

    def _write_waiting(self) -> None:
        """Write until the log is stopped; the only thread that touches the open segment."""
        is_last = False
        while not is_last:
            entries, is_last = self._next()
            if entries:
                self._commit(entries)
            with suppress(OSError):  # a full disk may not even take a new name; the next turn tries again
                self._seal_if_due(is_last)

    def _next(self) -> tuple[list[_Entry], bool]:
        """What waits, and whether it is the last; nothing if nothing came for as long as a segment may stay open."""
        entries = list[_Entry]()
        try:
            first = self._waiting.get(timeout=min(PUBLISH_SECONDS, self._seal_seconds))
        except queue.Empty:
            return entries, False
        while first is not None:
            entries.append(first)
            if self._waiting.empty():
                return entries, False
            first = self._waiting.get()
        return entries, True

    def _seal_if_due(self, is_last: bool) -> None:
        """Seal the segment if it is large or old, or the last one; one that cannot be sealed is written on."""
        if self._segment is not None and (is_last or self._segment.is_due(self._seal_bytes, self._seal_seconds)):
            self._segment.seal()
            self._segment = None

    def _commit(self, entries: list[_Entry]) -> None:
        lines = b"".join(entry.lines for entry in entries)
        try:
            if self._segment is None:
                self._segment = _Segment.begin(self._folder)
            self._segment.write(lines)
        except Exception as error:  # noqa: BLE001  the thread goes on, and whoever asked gets the error
            for entry in entries:
                self._refuse(entry, str(error) or type(error).__name__)
            return
        self.state.written += sum(entry.records for entry in entries)
        self.state.commits += 1
        self.state.bytes_kept += len(lines)
        for entry in entries:
            entry.done.set_result(None)

    def _publish_all(self) -> None:
        while not self._stopped.wait(min(PUBLISH_SECONDS, self._seal_seconds)):
            try:
                self._publish()
                self._measure()
            except Exception:  # a store that is away comes back
                log.exception("sealed predictions could not be published; they stay on disk and are tried again")

    def _publish(self) -> None:
        store = artifacts.of(self._config)
        for path in sorted(self._folder.glob(f"*{SEALED}")):
            if path.stat().st_size:
                store.put(self._kind, path.name, partial(os.link, path))
            path.unlink()

    def _measure(self) -> None:
        """Count what has not reached the lake yet, and drop the copies of what another machine has taken in."""
        kept = [path.stat() for path in self._folder.iterdir() if path.suffix in (OPEN, SEALED)]
        local, waiting = artifacts.local(self._config), set(artifacts.of(self._config).list(self._kind))
        for key in local.list(self._kind):
            if key in waiting:
                kept.append(local.get(self._kind, key).stat())
            else:
                local.delete(self._kind, key)
        self.state.bytes_kept = sum(each.st_size for each in kept)
        self.state.oldest = min((each.st_mtime for each in kept if each.st_size), default=None)


class _Segment:
    """A file that is being written; its process holds a lock on it, so that another one knows that it is not left behind."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._size, self._begun = 0, time.monotonic()

    @classmethod
    def begin(cls, folder: Path) -> _Segment:
        path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}{OPEN}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _keep(folder)
        return cls(path, descriptor)

    def is_due(self, size: int, seconds: float) -> bool:
        return self._size >= size or time.monotonic() - self._begun >= seconds

    def write(self, lines: bytes) -> None:
        """Write and make the disk keep it; what a failed write leaves behind is cut off, or else written over."""
        try:
            written = 0
            while written < len(lines):
                written += os.pwrite(self._descriptor, lines[written:], self._size + written)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(lines)

    def seal(self) -> None:
        self._path.rename(self._path.with_suffix(SEALED))
        os.close(self._descriptor)


def unloaded(config: Config, since: float = 0.0, kind: str = PREDICTIONS) -> Iterator[Record]:
    """Records that may not have reached the lake, those first that were sealed; also of processes that run or were killed.

    Args:
        since: seconds since 1970; segments that were last written before are left out.
    """
    # A segment moves from the folder to the store, so the folder is read first: none is missed on its way.
    folder, store = artifacts.local(config).scratch("serving", kind), artifacts.of(config)
    written = [path for path in sorted(folder.iterdir()) if path.suffix in (OPEN, SEALED)]
    here = {path.stem: content for path in written if (content := _content(path, since))}
    sealed = {key.removesuffix(SEALED): content for key in store.list(kind) if (content := _fetched(store, kind, key, since))}
    for _, content in sorted((here | sealed).items()):
        yield from segments.read(content)[0]


def _content(path: Path, since: float) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_mtime >= since else b""
    except FileNotFoundError:  # moved on meanwhile
        return _content(path.with_suffix(SEALED), since) if path.suffix == OPEN else b""


def _fetched(store: Store, kind: str, key: str, since: float) -> bytes:
    try:
        return _content(store.get(kind, key), since)
    except Missing:  # it has reached the lake meanwhile
        return b""


def _recover(path: Path) -> None:
    """Seal a segment whose process was killed, without a line that was cut short; that of a running process is left alone."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return
    _, size = segments.read(path.read_bytes())
    os.ftruncate(descriptor, size)
    os.fdatasync(descriptor)
    path.rename(path.with_suffix(SEALED))
    os.close(descriptor)


def _keep(folder: Path) -> None:
    """Make the disk keep a folder's new names."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
