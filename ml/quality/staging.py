"""Rows on their way into the lake: staged whole, committed table by table, finished by whoever comes next after a crash.

A folder under `home/staging` holds the rows of one load, a Parquet file a table, under an address that hashes everything
that they depend on. Before the first table is committed the lake is told what is being loaded, and after the last one that
nothing is; a load that was cut off in between is rolled forward from the very rows that it had begun with, because judging
them again beside a half-loaded lake could come to other answers.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import suites
from ml.quality.arrival import published

# `readmissions` and `batches` come last: a load that one of them names is in whole.
ORDER = (schema.EVENTS, schema.LABELS, schema.QUARANTINE, schema.READMISSIONS, schema.BATCHES)
RECORD = "record.json"
ADDRESS = re.compile("[0-9a-f]{64}")

Tables = dict[str, list[pa.Table]]


class StagedRowsLost(RuntimeError):
    """A load was cut off between two tables, and the rows that would finish it are gone."""


@dataclass(frozen=True)
class State:
    """What the answers about new rows depend on besides the rows: loads so far, and the newest publication of features."""

    batches: int
    readmissions: int
    published: str | None


@dataclass(frozen=True)
class Record:
    """What is staged at an address: the state that the rows were judged by, the batches to load, and the reports on files."""

    state: State
    batches: tuple[str, ...]
    reports: tuple[dict[str, Any], ...]


def state(config: Config, lake: Lake) -> State:
    """The state of the lake now; equal states give equal answers."""
    last = published(config)
    return State(lake.version(schema.BATCHES), lake.version(schema.READMISSIONS), None if last is None else last.isoformat())


def address(config: Config, lake: Lake, told: list[Any]) -> str:
    """Address of what is staged: a hash of `told` and of the deployment, its suites and its lake."""
    judged_by = [suites.digest(suite) for suite in (config.events.suite, config.labels.suite) if suite]
    everything = [config.fingerprint, str(lake.root), judged_by, *told]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()


def root(config: Config) -> Path:
    """Folder of all that is staged."""
    return config.home / "staging"


def is_staged(config: Config, staged: str) -> bool:
    """Whether rows are staged at an address."""
    return ADDRESS.fullmatch(staged) is not None and (root(config) / staged).is_dir()


def read(config: Config, staged: str) -> Record:
    """The record of an address, before or after its rows were loaded.

    Raises:
        FileNotFoundError: nothing was ever staged there.
    """
    inside, after = root(config) / staged / RECORD, root(config) / f"{staged}.json"
    for file in (inside, after):
        if ADDRESS.fullmatch(staged) and file.is_file():
            told = json.loads(file.read_text())
            return Record(State(**told["state"]), tuple(told["batches"]), tuple(told["reports"]))
    raise FileNotFoundError(f"nothing is staged at {root(config) / staged}; run validate_batch again")


@contextmanager
def staging(config: Config) -> Iterator[None]:
    """Held while rows are staged, so that `sweep` knows the folders of the living from those of the dead."""
    root(config).mkdir(parents=True, exist_ok=True)
    with (root(config) / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def write(config: Config, staged: str, tables: Tables, record: Record) -> None:
    """Stage rows under an address; it appears whole, and the first of several writers of one address wins."""
    partial = Path(tempfile.mkdtemp(prefix=".", dir=root(config)))
    for name, parts in tables.items():
        if parts:
            rows = pa.concat_tables(parts)
            if name == schema.EVENTS:
                rows = rows.sort_by("event_time")
            pq.write_table(rows, partial / f"{name}.parquet", compression="lz4")
    (partial / RECORD).write_text(json.dumps(asdict(record)))
    try:
        partial.rename(root(config) / staged)
    except OSError:
        shutil.rmtree(partial)
        # The other writer's rows may be loaded already: then the record alone is left of them.
        if not is_staged(config, staged) and not (root(config) / f"{staged}.json").is_file():
            raise


def commit(config: Config, lake: Lake, staged: str) -> dict[str, int]:
    """Load what is staged and return the rows added by table. Call it inside `lake.writing()`."""
    mark = _mark(lake)
    partial = mark.with_name(f"{mark.name}.partial")
    partial.write_text(staged)
    partial.replace(mark)
    folder = root(config) / staged
    added = {}
    for table in ORDER:
        file = folder / f"{table}.parquet"
        added[table] = lake.append_batches(table, pq.read_table(file)) if file.exists() else 0
    mark.unlink()
    retire(config, staged)
    return added


def finish_interrupted(config: Config, lake: Lake) -> None:
    """Roll a load forward that was cut off. Call it inside `lake.writing()`.

    Raises:
        StagedRowsLost: the staged rows of that load are gone.
    """
    mark = _mark(lake)
    if not mark.exists():
        return
    staged = mark.read_text()
    if not is_staged(config, staged):
        raise StagedRowsLost(
            f"a load was cut off and its staged rows are gone: put {root(config) / staged} back, or remove {mark} and run "
            "validate_batch again; rows that are in already will then be counted as rejected repeats"
        )
    commit(config, lake, staged)


def is_interrupted(lake: Lake) -> bool:
    """Whether a load is going on or was cut off."""
    return _mark(lake).exists()


def retire(config: Config, staged: str) -> None:
    """Delete staged rows that are in; their record stays, so that loading them again is known to be done."""
    folder = root(config) / staged
    if folder.is_dir():
        kept = root(config) / f"{staged}.json"
        partial, gone = root(config) / f".{staged}.json", root(config) / f".{staged}"
        shutil.copyfile(folder / RECORD, partial)
        partial.replace(kept)
        folder.rename(gone)
        shutil.rmtree(gone)


def sweep(config: Config, lake: Lake) -> int:
    """Delete what killed processes left behind and staged rows that are all in; returns the number of folders deleted.

    Call it inside `lake.writing()`. Nothing is deleted while somebody stages rows.
    """
    if not root(config).is_dir():
        return 0
    swept = 0
    with (root(config) / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        for folder in sorted(path for path in root(config).iterdir() if path.is_dir() and not path.is_symlink()):
            if is_staged(config, folder.name):
                batches = read(config, folder.name).batches
                if len(in_lake(lake, batches)) < len(batches):
                    continue
                retire(config, folder.name)
            else:
                shutil.rmtree(folder)
            swept += 1
    return swept


def in_lake(lake: Lake, batches: tuple[str, ...]) -> set[str]:
    """Those of the batches, landed files or readmissions, that are in whole."""
    return lake.committed(schema.BATCHES, batches) | lake.committed(schema.READMISSIONS, batches)


def _mark(lake: Lake) -> Path:
    return lake.root / ".loading"
