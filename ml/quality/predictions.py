"""The step `load_predictions`: what the scoring service logged goes into the lake, and its answers into the landing folder."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml import artifacts
from ml.config import Config
from ml.lake import schema, segments
from ml.lake.segments import FEEDBACK, PREDICTIONS
from ml.lake.tables import Lake
from ml.quality.formats import format_of


@dataclass(frozen=True)
class LoadedPredictions:
    """The segments that were taken in, the predictions that were added to the lake, and the answers in new landing files."""

    segments: int
    predictions: int
    answers: int


def load_predictions(config: Config, as_of: dt.datetime) -> LoadedPredictions:
    """Take in all sealed segments, each once: one is a batch of the lake, or one landing file, and is deleted after it."""
    store, lake, counts = artifacts.of(config), Lake(config.lake), {PREDICTIONS: 0, FEEDBACK: 0}
    taken = [(kind, key) for kind in counts for key in store.list(kind)]
    for kind, key in taken:
        records, _ = segments.read(store.get(kind, key).read_bytes())
        if records and kind == PREDICTIONS:
            counts[kind] += lake.append_batches(schema.PREDICTIONS, _rows(records, key))
        elif records:
            artifacts.write_file(config.landing / _file_name(config, key), partial(_write, config, records))
            counts[kind] += len(records)
        store.delete(kind, key)
    return LoadedPredictions(len(taken), counts[PREDICTIONS], counts[FEEDBACK])


def _rows(records: list[dict[str, Any]], batch: str) -> pa.Table:
    def instants(name: str) -> pa.Array:
        return pa.array([dt.datetime.fromisoformat(record[name]).astimezone(dt.UTC) for record in records], schema.INSTANT)

    texts = ("event_id", "version", "role", "arm", "key", "decision", "features_from", "error")
    columns: dict[str, Any] = {name: pa.array([record.get(name) for record in records], pa.string()) for name in texts}
    columns |= {"prediction_id": pa.array([record["id"] for record in records], pa.string())}
    columns |= {"event_time": instants("event_time"), "known_at": instants("scored_at")}
    for name, kind in (
        ("score", pa.float64()),
        ("milliseconds", pa.float64()),
        ("share", pa.float64()),
        ("release", pa.int64()),
        ("competition", pa.int64()),
        ("explored", pa.bool_()),
    ):
        columns[name] = pa.array([record.get(name) for record in records], kind)
    columns |= {"inputs": pa.array([_json(record.get("inputs")) for record in records], pa.string())}
    columns |= {"batch_id": pa.array([batch] * len(records), pa.string())}
    return pa.table([columns[name] for name in schema.PREDICTIONS_SCHEMA.names], schema=schema.PREDICTIONS_SCHEMA)


def _json(inputs: dict[str, Any] | None) -> str | None:
    return None if inputs is None else json.dumps(inputs)


def _file_name(config: Config, key: str) -> str:
    """A name that the pattern of the label feed matches; of several feeds the first that names no source."""
    feed = next((feed for feed in config.labels.feeds if feed.source is None), config.labels.feeds[0])
    name = feed.files.replace("*", f"feedback_{Path(key).stem}", 1).replace("*", "")
    return name if format_of(name) else f"{name}.csv"


def _write(config: Config, records: list[dict[str, Any]], path: Path) -> None:
    text, columns = io.StringIO(), config.labels.columns
    writer = csv.DictWriter(text, fieldnames=list(columns.values()), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({feed_name: record.get(name, "") for name, feed_name in columns.items()})
    path.write_text(text.getvalue())
