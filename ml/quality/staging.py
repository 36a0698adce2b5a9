"""Staged loads: all rows of a load are staged, then committed table by table; after a crash the next process finishes it.

A folder under `home/staging` holds the rows of one load, one Parquet file per table, under an address that hashes
everything that they depend on. A marker file in the lake names the load from before the first commit until after the last one.
A load that was cut off in between is rolled forward from its staged rows: checking the rows again beside a half-loaded lake
could give other results.
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
from ml.errors import Refused
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import suites
from ml.quality.arrival import published

# `readmissions` and `batches` come last: a load that one of them names is complete.
ORDER = (schema.EVENTS, schema.LABELS, schema.QUARANTINE, schema.READMISSIONS, schema.BATCHES)
RECORD = "record.json"
ADDRESS = re.compile("[0-9a-f]{64}")

Tables = dict[str, list[pa.Table]]


class StagedRowsMissing(Refused, RuntimeError):
    """A load was cut off between two tables, and its staged rows are missing."""


@dataclass(frozen=True)
class LakeState:
    """What the checks of new rows depend on besides the rows: the loads so far, and the newest publication of features."""

    batches: int
    readmissions: int
    published: str | None


@dataclass(frozen=True)
class Record:
    """A staged load: the state of the lake when its rows were checked, the batches to load, and the reports on files."""

    state: LakeState
    batches: tuple[str, ...]
    reports: tuple[dict[str, Any], ...]


def lake_state(config: Config, lake: Lake) -> LakeState:
    """The current state of the lake; equal states give equal results of checks."""
    last = published(config)
    return LakeState(
        lake.version(schema.BATCHES), lake.version(schema.READMISSIONS), None if last is None else last.isoformat()
    )


def address(config: Config, lake: Lake, inputs: list[Any]) -> str:
    """Address of what is staged: a hash of `inputs` and of the deployment, its suites and its lake."""
    judged_by = [suites.digest(suite) for suite in (config.events.suite, config.labels.suite) if suite]
    hashed = [config.fingerprint, str(lake.root), judged_by, *inputs]
    return hashlib.sha256(json.dumps(hashed).encode()).hexdigest()


def root(config: Config) -> Path:
    """Folder of all that is staged."""
    return config.home / "staging"


def is_staged(config: Config, staged: str) -> bool:
    """Whether rows are staged at an address."""
    return ADDRESS.fullmatch(staged) is not None and (root(config) / staged).is_dir()


def read(config: Config, staged: str) -> Record:
    """The record at an address, whether its rows are loaded or not.

    Raises:
        FileNotFoundError: nothing was ever staged there.
    """
    inside, after = root(config) / staged / RECORD, root(config) / f"{staged}.json"
    for file in (inside, after):
        if ADDRESS.fullmatch(staged) and file.is_file():
            record = json.loads(file.read_text())
            return Record(LakeState(**record["state"]), tuple(record["batches"]), tuple(record["reports"]))
    raise FileNotFoundError(f"nothing is staged at {root(config) / staged}; run validate_batch again")


@contextmanager
def lock(config: Config) -> Iterator[None]:
    """A shared lock, held while rows are staged: `sweep` deletes nothing while any process holds it."""
    root(config).mkdir(parents=True, exist_ok=True)
    with (root(config) / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def write(config: Config, staged: str, tables: Tables, record: Record) -> None:
    """Stage rows under an address, atomically; the first of several writers of one address wins."""
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
        # The other writer's rows may be loaded already: then only their record is left.
        if not is_staged(config, staged) and not (root(config) / f"{staged}.json").is_file():
            raise


def commit(config: Config, lake: Lake, staged: str) -> dict[str, int]:
    """Commit staged rows and return the number of rows added by table. Call it inside `lake.writing()`."""
    mark = _marker(lake)
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
        StagedRowsMissing: the staged rows of that load are missing.
    """
    mark = _marker(lake)
    if not mark.exists():
        return
    staged = mark.read_text()
    if not is_staged(config, staged):
        raise StagedRowsMissing(
            f"a load was cut off and its staged rows are gone: put {root(config) / staged} back, or remove {mark} and run "
            "validate_batch again; rows that are in already will then be counted as rejected repeats"
        )
    commit(config, lake, staged)


def is_interrupted(lake: Lake) -> bool:
    """Whether a load is going on or was cut off."""
    return _marker(lake).exists()


def retire(config: Config, staged: str) -> None:
    """Delete staged rows that are loaded; their record stays, so that loading them again does nothing."""
    folder = root(config) / staged
    if folder.is_dir():
        record = root(config) / f"{staged}.json"
        partial, deleted = root(config) / f".{staged}.json", root(config) / f".{staged}"
        shutil.copyfile(folder / RECORD, partial)
        partial.replace(record)
        folder.rename(deleted)
        shutil.rmtree(deleted)


def sweep(config: Config, lake: Lake) -> int:
    """Delete leftovers of killed processes and staged rows that are loaded; returns the number of folders deleted.

    Call it inside `lake.writing()`. Nothing is deleted while another process stages rows.
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
    """Those of the batches (landed files or readmissions) that are completely loaded."""
    return lake.committed(schema.BATCHES, batches) | lake.committed(schema.READMISSIONS, batches)


def _marker(lake: Lake) -> Path:
    return lake.root / ".loading"
