"""The same stream as CSV and as Parquet: an equal lake, the same training set and the same model, by their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq

from ml.config import Config
from ml.config.data import SimulationFeed
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake
from ml.model.graph import to_onnx
from ml.training import dataset
from ml.training.candidates import fit_own_trees
from tests import villages

FIRST_DAY = villages.FIRST_DAY + 8 * villages.DAY


def _lake(config: Config) -> list[tuple[object, ...]]:
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        return connection.execute("SELECT * EXCLUDE (batch_id) FROM events ORDER BY ALL").fetchall()


def _made(config: Config) -> tuple[str, str]:
    """SHA-256 of the training set and of the model's graph."""
    villages.ingest(config, villages.ARCHIVE_UNTIL)
    publish_features(config, villages.ARCHIVE_UNTIL)
    made = dataset.build_training_set(config, villages.ARCHIVE_UNTIL).training_set
    trees, inputs = fit_own_trees(config, dataset.read(config, made))
    return made, hashlib.sha256(to_onnx(trees, inputs).SerializeToString()).hexdigest()


def _town(folder: Path) -> Config:
    """A village with frauds enough for a model."""
    folder.mkdir()
    config = villages.village(folder)
    assert isinstance(config.feed, SimulationFeed)
    more = {"feed": config.feed.model_copy(update={"customers": 200, "terminals": 100, "first_day": FIRST_DAY})}
    return config.model_copy(update=more | {"training": config.training.model_copy(update={"caps": {}})})


def test_the_same_stream_as_csv_and_as_parquet_gives_the_same_model(tmp_path: Path) -> None:
    typed, text = (_town(tmp_path / name) for name in ("typed", "text"))
    villages.write_until(typed, villages.ARCHIVE_UNTIL.date() - villages.DAY)
    text.landing.mkdir(parents=True)
    for file in typed.landing.iterdir():
        if file.suffix == ".csv":
            (text.landing / file.name).write_bytes(file.read_bytes())
        else:
            pyarrow.csv.write_csv(pq.read_table(file), text.landing / f"{file.stem}.csv")
    made = _made(typed)
    assert _made(text) == made
    assert _lake(text) == _lake(typed)
