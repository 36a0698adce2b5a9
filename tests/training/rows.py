"""Frozen training sets that are made up: a label that two of the features tell, in rows that fit in a second."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config, load
from ml.store.feast import feature_names
from ml.training import dataset
from ml.training.split import Split, split
from tests import deployments

AS_OF = deployments.FIRST_AS_OF
DAY = dt.timedelta(days=1)


def deployment(folder: Path, **tuning: Any) -> Config:
    """A deployment that searches depth and learning rate on two folds; its own settings are poor, so that others win.

    Args:
        folder: where its file and its home lie.
        tuning: what the section `training.tuning` says otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = deployments.small_told()
    told["training"]["caps"] = {}
    told["training"]["model"] |= {"iterations": 12, "depth": 1, "learning_rate": 0.01}
    told["training"]["tuning"] = deployments.raw()["training"]["tuning"] | {
        "budget": {"value": 60, "unit": "minutes", "reason": "a busy machine must not end a search before its trials do"},
        "space": {"learning_rate": {"low": 0.01, "high": 0.5, "log": True}, "depth": {"low": 1, "high": 4}},
        **tuning,
    }
    cut = told["training"]["tuning"]
    cut["folds"]["value"], cut["evaluation"]["value"] = 2, 4
    cut["trials"]["value"] = tuning.get("trials", {"value": 6})["value"]
    return load(deployments.write(folder, told))


def trials(most: int) -> dict[str, Any]:
    """A cap on the trials of a study."""
    return {"value": most, "unit": "trials", "reason": "a test has seconds"}


def made(config: Config, whole: Split, a_day: int = 60, seed: int = 0) -> pd.DataFrame:
    """Rows of the training and validation windows, a tenth of them positive, reported up to the label's delay later."""
    dice = np.random.default_rng(seed)
    days = int((whole.fitted_until - whole.train_start) / DAY)
    seconds = np.sort(dice.uniform(0, days * 86_400, days * a_day))
    time = pd.Series(pd.Timestamp(whole.train_start) + pd.to_timedelta(seconds.round(), unit="s"))
    features = {name: dice.normal(size=len(time)) for name in [*config.measures, *feature_names(config)]}
    told, weak = list(features)[:2]
    risk = features[told] * features[weak] + 0.5 * features[told]
    label = (risk + dice.normal(scale=0.7, size=len(time)) > 1.4).astype("int8")
    late = pd.to_timedelta(dice.uniform(0, config.labels.delay.value, len(time)), unit="D")
    return pd.DataFrame(
        {
            "event_id": [f"E{number}" for number in range(len(time))],
            "event_time": time,
            **{key: dice.integers(0, 50, len(time)).astype(str) for key in config.entities.values()},
            **{name: dice.choice(["a", "b", "c"], len(time)) for name in config.categories},
            **features,
            dataset.SPLIT: np.where(time < whole.validation_start, dataset.TRAIN, dataset.VALIDATION),
            "label": label,
            dataset.LABEL_KNOWN_AT: (time + late).where(label == 1),
        }
    )


def frozen(config: Config, as_of: dt.datetime = AS_OF) -> str:
    """Freeze made-up rows as the training set of an instant; its address."""
    whole = split(config, as_of)
    rows = made(config, whole)
    after = rows.tail(200).assign(
        **{dataset.SPLIT: dataset.HOLDOUT},
        event_time=lambda r: r["event_time"] + (whole.holdout_start - whole.fitted_until) + 2 * DAY,
    )
    record = dataset._freeze(config, as_of, pd.concat([rows, after], ignore_index=True), whole, {}, {})
    return record.training_set
