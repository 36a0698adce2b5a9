"""The golden set: reserved events with features and labels, frozen in versions; the gate evaluates every challenger on it.

A holdout moves with time, so it cannot detect slow poisoning of the data; the golden set is fixed. A person freezes a new
version, with a reason; older versions stay.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from dataclasses import asdict, dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput, Refused
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.sql import columns
from ml.lake.tables import Lake, instant
from ml.store.feast import retrieve
from ml.training.reserve import is_reserved
from ml.training.split import split

KIND = "golden"
RECORD = re.compile(r"[0-9]+\.json")


class GoldenSetBroken(Refused, RuntimeError):
    """A frozen file is missing or was changed."""


@dataclass(frozen=True)
class GoldenSet:
    """A version of the golden set: its number and content hash, when and by whom it was frozen, and why."""

    version: int
    sha256: str
    as_of: str
    actor: str
    reason: str
    rows: int
    positives: int


def newest(config: Config) -> GoldenSet | None:
    """The newest version, which the gate uses; None if none was frozen yet."""
    store = artifacts.of(config)
    records = [key for key in store.list(KIND) if RECORD.fullmatch(key)]
    return GoldenSet(**json.loads(store.get(KIND, records[-1]).read_text())) if records else None


def read(config: Config, golden: GoldenSet) -> pd.DataFrame:
    """Rows of a version: events with their features, `label`, and the keys of their entities.

    Raises:
        GoldenSetBroken: the file is missing or its content was changed.
    """
    key = _key(golden.version, golden.sha256)
    path = artifacts.find(config, KIND, key)
    actual = "nothing" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    if path is None or actual != golden.sha256:
        raise GoldenSetBroken(
            f"{path or f'{KIND}/{key}'}: content has SHA-256 {actual}, version {golden.version} was frozen with "
            f"{golden.sha256}; restore the file, or freeze a new version: `python -m ml golden freeze`"
        )
    rows: pd.DataFrame = pq.read_table(path).to_pandas()
    return rows


def freeze(config: Config, as_of: dt.datetime, actor: str, reason: str) -> GoldenSet:
    """Freeze all reserved events that have matured, back to the start of the training window, as the next version.

    If the rows equal those of the newest version, it is returned.

    Raises:
        ValueError: the deployment reserves no events, or none of them has matured.
    """
    if config.gate.golden is None:
        raise BadInput(f"{config.name} reserves no events: give gate.golden a share and a drop, then train")
    windows = split(config, as_of)
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories]
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, as_of) as connection:
        join = "" if config.labels.complete else "LEFT"
        events = connection.execute(
            f"""
            WITH chosen AS (
                SELECT {columns(names)} FROM events WHERE {is_reserved(config)}
                AND event_time >= {instant(windows.train_start)} AND event_time < {instant(windows.holdout_end)}
            ),
            answer AS (
                SELECT event_id, first(labels.label ORDER BY {label_order(config)}) AS label
                FROM chosen JOIN labels USING (event_id) GROUP BY event_id
            )
            SELECT chosen.*, coalesce(answer.label, 0)::TINYINT AS label
            FROM chosen {join} JOIN answer USING (event_id) ORDER BY chosen.event_time, event_id
            """
        ).df()
    if events.empty:
        raise BadInput(f"no reserved event of {config.name} has matured as of {as_of.isoformat()}; wait, or raise the share")
    events["event_time"] = events["event_time"].astype("datetime64[us, UTC]")
    return _write(config, as_of, pd.concat([events, retrieve(config, events)], axis=1), actor, reason)


def _write(config: Config, as_of: dt.datetime, rows: pd.DataFrame, actor: str, reason: str) -> GoldenSet:
    store, previous = artifacts.of(config), newest(config)
    version = previous.version + 1 if previous else 1
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)

    def key_of(sha256: str) -> str:
        same = previous is not None and previous.sha256 == sha256
        return _key(previous.version if previous is not None and same else version, sha256)

    sha256, _ = store.put_by_content(KIND, key_of, lambda path: pq.write_table(table, path, compression="zstd"))
    if previous is not None and previous.sha256 == sha256:
        return previous
    golden = GoldenSet(version, sha256, as_of.isoformat(), actor, reason, len(rows), int(rows["label"].sum()))
    record = json.dumps(asdict(golden), indent=1)
    if store.put_text(KIND, f"{version:04d}.json", record).read_text() != record:
        raise BadInput(f"somebody else froze version {version} at the same time; look at it, then freeze again")
    return golden


def _key(version: int, sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise GoldenSetBroken(f"the record of version {version} names no SHA-256 but {sha256!r}")
    return f"{version:04d}-{sha256[:16]}.parquet"
