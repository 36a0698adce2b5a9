"""A small model with everything that is read from a model's folder, on rows with gaps and a hostile category."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pandas as pd

from ml.config import Config
from ml.model.graph import to_onnx
from ml.model.inputs import MISSING, Inputs
from ml.model.levels import Levels
from ml.model.model import Model, save
from ml.model.trees import Trees
from ml.training import dataset, fit
from ml.training.dataset import TrainingSet

HOSTILE = "<script>alert('x')</script> & \"q\" | [a](http://b.example) *b* \u202e\n# title $a$"


def levels(*names: str) -> Levels:
    """Levels whose numbers are their places, and others for a missing one and for one that was never seen."""
    return Levels({name: float(place) for place, name in enumerate(names)}, missing=-2.0, unseen=-1.0)


INPUTS = Inputs({"amount": MISSING, "customer_amount_mean_7d": MISSING}, {"channel": levels("chip", HOSTILE, "online")})

NO_SET = TrainingSet(
    training_set="0" * 64,
    as_of="2025-03-12T02:00:00+00:00",
    rows=0,
    train_rows=0,
    validation_rows=0,
    holdout_rows=0,
    positives={},
    windows={},
    labels_known_until="2025-02-20T00:00:00+00:00",
    lake={},
    features={},
    config="",
)


def payments(size: int = 4000) -> pd.DataFrame:
    """Labelled payments by the demo's names: an amount, an average with gaps, and a channel; all three tell the label."""
    rng = np.random.default_rng(5)
    seconds = pd.to_timedelta(np.sort(rng.integers(0, 20 * 86_400, size)), "s")
    frame = pd.DataFrame(
        {
            "event_id": [f"E{i:05d}" for i in range(size)],
            "event_time": pd.Timestamp("2025-02-01", tz="UTC") + seconds,
            "amount": rng.lognormal(3, 1, size),
            "customer_amount_mean_7d": np.where(rng.random(size) < 0.2, np.nan, rng.normal(20, 5, size)),
            "channel": rng.choice(["chip", "online", HOSTILE], size),
        }
    )
    signal = np.log(frame["amount"]) + frame["customer_amount_mean_7d"].fillna(15) / 5 + 2 * (frame["channel"] == "online")
    return frame.assign(label=(signal + rng.normal(size=size) > 10).astype(np.int8), **{dataset.SPLIT: dataset.TRAIN})


def fitted(folder: Path, config: Config, rows: pd.DataFrame, inputs: Inputs, seed: int = 1) -> Model:
    """A fitted model in a folder, with its graph and the deployment that it was made for."""
    from catboost import CatBoostClassifier

    folder.mkdir(parents=True, exist_ok=True)
    trees = CatBoostClassifier(iterations=30, depth=4, thread_count=2, random_seed=seed, verbose=0, allow_writing_files=False)
    trees.fit(inputs.matrix(rows), rows["label"])
    save(folder, Trees(trees), inputs)
    onnx.save(to_onnx(Trees(trees), inputs), folder / "model.onnx")
    (folder / fit.DEPLOYMENT).write_text(config.portable_json)
    (folder / fit.TRAINING_SET).write_text(json.dumps(asdict(NO_SET)))
    return Model(folder)
