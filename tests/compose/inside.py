"""What the servers hold, as JSON. It is piped into a container of the image `airflow`, which carries no tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.registry.versions import Registry


def held(config: Config) -> dict[str, Any]:
    """Counts of what must be there once, and the words of the ledger."""
    ledger, registry = Ledger(config.ledger), Registry(config.tracking, config.name)
    tables = {
        schema.EVENTS: schema.events(config),
        schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA,
        schema.SCORES: schema.SCORES_SCHEMA,
        schema.QUARANTINE: schema.QUARANTINE_SCHEMA,
    }
    with Lake(config.lake).connect(tables) as lake:
        events = lake.execute("SELECT count(*), count(DISTINCT event_id) FROM events").fetchone()
        scores = lake.execute("SELECT count(*), count(DISTINCT (event_id, version)) FROM scores").fetchone()
        set_aside = lake.execute("SELECT count(*) FROM quarantine").fetchone()
        predictions = lake.execute("SELECT prediction_id FROM predictions").fetchall()
    return {
        "landed": sum(pq.read_metadata(path).num_rows for path in Path(config.landing).glob("payments_*.parquet")),
        "set_aside": set_aside[0],
        "events": events,
        "scores": scores,
        "predictions": sorted(row[0] for row in predictions),
        "admitted": [training.run_id for training in ledger.trainings.all(config.name) if training.admitted],
        "decided": [(each.run_id, each.outcome, each.challenger_version) for each in ledger.decisions.all(config.name)],
        "moves": [(each.action, each.to_version) for each in ledger.moves.history(config.name)],
        "releases": [[move.word for move in course.moves] for course in ledger.releases.all(config.name)],
        "versions": sorted(registry.all_tags(), key=int),
        "aliases": registry.aliases(),
    }


if __name__ == "__main__":
    print(json.dumps(held(load(os.environ["PERENNIAL_CONFIG"]))))
