"""A bound of what retraining can reach: a model that knows all labels at once, of a simulated stream alone.

The oracle is the deployment's own trees, fitted every seventh night on the true labels of all events up to then, the newest
and the never reported ones among them, over as many days as a training's windows of fitting hold.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from ml.artifacts import Folder
from ml.config import Config, SimulationFeed
from ml.config.training import OWN
from ml.model.model import Model, save
from ml.monitoring.traffic import DAY, midnight
from ml.replay.history import History
from ml.replay.scores import Figures, daily, rows_of
from ml.simulate.drift import drift_from_config
from ml.simulate.stream import PaymentStream
from ml.training.candidates import fit_again
from ml.training.code import code_version

EVERY = 7
KIND = "oracles"


def drifts(config: Config) -> list[dt.date]:
    """Days on which the simulated world changes, oldest first; none of another feed."""
    if not isinstance(config.feed, SimulationFeed):
        return []
    return sorted(drift.day for drift in drift_from_config(config.feed.drift))


def oracle(history: History, first: dt.date) -> Figures:
    """Average precision of the oracle on each matured day from a day on; empty where the true labels are not known."""
    feed = history.config.feed
    if not isinstance(feed, SimulationFeed):
        return {}
    stream = PaymentStream(feed.customers, feed.terminals, feed.seed, feed.first_day, drift_from_config(feed.drift))
    starts = [night.date() for night in history.nights[::EVERY]]
    models: dict[dt.date, Model] = {}

    def score(rows: pd.DataFrame) -> np.ndarray:
        days, scores = rows["event_time"].dt.date.to_numpy(), np.empty(len(rows))
        newest = np.array(starts)[np.searchsorted(np.array(starts), days, side="right") - 1]
        for start in np.unique(newest):
            if start not in models:
                models[start] = _fitted(history, stream, start)
            scores[newest == start] = models[start].score(rows[newest == start])
        return scores

    return daily(history, max(first, starts[0]), score)


def _fitted(history: History, stream: PaymentStream, day: dt.date) -> Model:
    """The oracle of a day, fitted on what happened before it; kept in the folder of the replay."""
    config = history.config
    window = config.training.train.value + config.training.validation.value
    begin = max(stream.first_day, day - window * DAY)
    settings = config.model_dump(mode="json", include={"feed", "windows", "request", "training"})
    key = hashlib.sha256(json.dumps([str(day), settings, code_version()["sources"]], sort_keys=True).encode()).hexdigest()

    def fill(folder: Path) -> None:
        rows = pd.concat(rows_of(history, begin, day - DAY))
        rows = rows[rows["event_time"] < midnight(day)]
        truth = stream.payments(begin, day - DAY).set_index("payment_id")["is_fraud"]
        rows = rows.assign(label=truth.reindex(rows["event_id"]).to_numpy(np.int8))
        save(folder, *fit_again(config, OWN, config.training.model.iterations, rows))

    return Model(Folder(history.folder / "shared").put(KIND, key, fill))
