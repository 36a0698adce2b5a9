"""Staged loads: all rows of a load are staged, then committed table by table; after a crash the next process finishes it.

An artifact of the kind `staging` holds the rows of one load, one Parquet file per table, under an address that hashes
everything that they depend on. A marker in the lake names the load from before the first commit until after the last one.
A load that was cut off in between is rolled forward from its staged rows: checking the rows again beside a half-loaded lake
could give other results.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml import artifacts
from ml.config import Config
from ml.errors import Refused
from ml.lake import schema
from ml.lake.root import LOADING
from ml.lake.tables import Lake
from ml.quality import suites
from ml.quality.arrival import published

# `readmissions` and `batches` come last: a load that one of them names is complete.
ORDER = (schema.EVENTS, schema.LABELS, schema.QUARANTINE, schema.READMISSIONS, schema.BATCHES)
KIND, RECORD = "staging", "record.json"
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
    hashed = [config.fingerprint, lake.root.address, judged_by, *inputs]
    return hashlib.sha256(json.dumps(hashed).encode()).hexdigest()


def is_staged(config: Config, staged: str) -> bool:
    """Whether rows are staged at an address."""
    return ADDRESS.fullmatch(staged) is not None and artifacts.of(config).has(KIND, staged)


def read(config: Config, staged: str) -> Record:
    """The record at an address, whether its rows are loaded or not.

    Raises:
        FileNotFoundError: nothing was ever staged there.
    """
    if not ADDRESS.fullmatch(staged):
        raise FileNotFoundError(f"{staged!r} is no address of staged rows; run validate_batch again")
    folder, after = artifacts.find(config, KIND, staged), artifacts.find(config, KIND, _record_key(staged))
    file = folder / RECORD if folder else after
    if file is None:
        raise FileNotFoundError(f"nothing is staged at {staged}; run validate_batch again")
    record = json.loads(file.read_text())
    return Record(LakeState(**record["state"]), tuple(record["batches"]), tuple(record["reports"]))


def write(config: Config, staged: str, tables: Tables, record: Record) -> None:
    """Stage rows under an address; the first of several writers of one address wins."""

    def fill(folder: Path) -> None:
        folder.mkdir()
        for name, parts in tables.items():
            if parts:
                rows = pa.concat_tables(parts)
                if name == schema.EVENTS:
                    rows = rows.sort_by("event_time")
                pq.write_table(rows, folder / f"{name}.parquet", compression="lz4")
        (folder / RECORD).write_text(json.dumps(asdict(record)))

    artifacts.of(config).put(KIND, staged, fill)


def commit(config: Config, lake: Lake, staged: str) -> dict[str, int]:
    """Commit staged rows and return the number of rows added by table. Call it inside `lake.writing()`."""
    folder = artifacts.of(config).get(KIND, staged)
    lake.mark_loading(staged)
    added = {}
    for table in ORDER:
        file = folder / f"{table}.parquet"
        added[table] = lake.append_batches(table, pq.read_table(file)) if file.exists() else 0
    lake.mark_loaded(staged)
    retire(config, staged)
    return added


def finish_interrupted(config: Config, lake: Lake) -> None:
    """Roll a load forward that was cut off. Call it inside `lake.writing()`.

    Raises:
        StagedRowsMissing: the staged rows of that load are missing.
    """
    while (staged := lake.loading()) is not None:
        if is_staged(config, staged):
            commit(config, lake, staged)
        elif lake.loading() == staged:  # another machine may have completed it meanwhile
            raise StagedRowsMissing(
                f"a load was cut off and its staged rows are gone: put the artifact {KIND}/{staged} back, or remove "
                f"{lake.uri(LOADING)} and run validate_batch again; rows that are in already will then be counted as rejected "
                "repeats"
            )


def is_interrupted(lake: Lake) -> bool:
    """Whether a load is going on or was cut off."""
    return lake.loading() is not None


def retire(config: Config, staged: str) -> None:
    """Delete staged rows that are loaded; their record stays, so that loading them again does nothing."""
    store = artifacts.of(config)
    if store.has(KIND, staged):
        store.put_text(KIND, _record_key(staged), (store.get(KIND, staged) / RECORD).read_text())
        store.delete(KIND, staged)


def sweep(config: Config, lake: Lake) -> int:
    """Delete staged rows that are loaded, and what killed processes left behind; returns the number of folders deleted.

    Call it inside `lake.writing()`.
    """
    swept = artifacts.local(config).sweep(KIND)
    for staged in filter(ADDRESS.fullmatch, artifacts.of(config).list(KIND)):
        batches = read(config, staged).batches
        if len(in_lake(lake, batches)) == len(batches):
            retire(config, staged)
            swept += 1
    return swept


def in_lake(lake: Lake, batches: tuple[str, ...]) -> set[str]:
    """Those of the batches (landed files or readmissions) that are completely loaded."""
    return lake.committed(schema.BATCHES, batches) | lake.committed(schema.READMISSIONS, batches)


def _record_key(staged: str) -> str:
    """Key of the record that is left of loaded rows."""
    return f"{staged}.json"
