"""ROC AUC, average precision and card precision@100 by the protocols of the Fraud Detection Handbook.

Protocol A: train on 25–31 July 2018, wait 7 days, test on 8–14 August. Protocol B: four such weeks, starting on 25 July, 1, 8
and 15 August, mean over them. Cards that are known to be compromised leave the test rows: those with a fraud in the training
days, and on test day d those with a fraud up to the last training day + d.

Everything goes the project's own way: files land and are checked, windows are published at the live cadence, Feast joins
them as of each payment, CatBoost is fitted with the settings of config/handbook.yaml as they stand.

Source: Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection, chapter 5.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml import steps
from ml.config import Config, load
from ml.evaluation.metrics import average_precision, card_precision, roc_auc
from ml.lake import schema
from ml.lake.tables import Lake, instant
from ml.simulate.feed import write_until
from ml.store.feast import retrieve
from ml.training.fit import grow
from ml.training.model import learn_inputs

DAY = dt.timedelta(days=1)
WEEK = 7 * DAY
STARTS = {
    "a": [dt.datetime(2018, 7, 25, tzinfo=dt.UTC)],
    "b": [dt.datetime(2018, 7, 25, tzinfo=dt.UTC) + i * WEEK for i in range(4)],
}


@dataclass(frozen=True)
class Figures:
    """What one fold came to."""

    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    roc_auc: float
    average_precision: float
    card_precision_100: float


def ingest(home: Path, data: Path, until: dt.datetime) -> Config:
    """The handbook's deployment with all days before `until` ingested and published."""
    config = load("config/handbook.yaml").model_copy(update={"home": home, "archive_until": until})
    write_until(config, (until - DAY).date(), data)
    told = steps.run("validate_batch", config, until)
    print(told["note"])
    if told["files"]:
        steps.run("load_batch", config, until, {"staged": told["staged"]})
    steps.run("publish_features", config, until)
    return config


def rows_between(config: Config, first: dt.datetime, end: dt.datetime) -> pd.DataFrame:
    """Payments of [first, end) with their labels and features, in the order of time."""
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables) as connection:
        events = connection.execute(
            f"SELECT events.* EXCLUDE (known_at, batch_id), label FROM events JOIN labels USING (event_id) "
            f"WHERE event_time >= {instant(first)} AND event_time < {instant(end)} ORDER BY event_time, event_id"
        ).df()
    return pd.concat([events, retrieve(config, events)], axis=1).assign(day=events["event_time"].dt.floor("D"))


def test_rows(rows: pd.DataFrame, start: dt.datetime) -> pd.DataFrame:
    """The protocol's test rows of the fold whose training week begins at `start`."""
    frauds = rows[rows["label"] == 1]
    days = []
    for number in range(7):
        known = frauds[(frauds["day"] >= start) & (frauds["day"] < start + WEEK + number * DAY)]["customer_id"]
        day = rows[rows["day"] == start + 2 * WEEK + number * DAY]
        days.append(day[~day["customer_id"].isin(known)])
    return pd.concat(days)


def fold(config: Config, rows: pd.DataFrame, start: dt.datetime) -> Figures:
    """Fit on the week that begins at `start` and test a week after its end."""
    train = rows[(rows["day"] >= start) & (rows["day"] < start + WEEK)]
    test = test_rows(rows, start)
    inputs = learn_inputs(config, train)
    scores = grow(config, inputs, train).predict_proba(inputs.matrix(test))[:, 1]
    labels, cards = test["label"].to_numpy(), test["customer_id"].to_numpy()
    return Figures(
        len(train),
        int(train["label"].sum()),
        len(test),
        int(labels.sum()),
        float(roc_auc(labels, scores)),
        float(average_precision(labels, scores)),
        float(card_precision(test["day"].dt.tz_localize(None).to_numpy(), cards, labels, scores, k=100)),
    )


def main() -> None:
    """Run a protocol; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.handbook", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", choices=sorted(STARTS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="the handbook's transactions, a Parquet or CSV file")
    parser.add_argument("--home", type=Path, help="keep the ingested data here and use it again (default: a temporary folder)")
    asked = parser.parse_args()
    begun = time.perf_counter()
    starts = STARTS[asked.protocol]
    with tempfile.TemporaryDirectory() as temporary:
        config = ingest(asked.home or Path(temporary), asked.data, starts[-1] + 3 * WEEK + dt.timedelta(hours=2))
        rows = rows_between(config, starts[0], starts[-1] + 3 * WEEK)
        folds = [fold(config, rows, start) for start in starts]
    for start, told in zip(starts, folds, strict=True):
        print(f"{start:%Y-%m-%d}: {told}")
    mean = {name: round(float(np.mean([getattr(f, name) for f in folds])), 4) for name in Figures.__dataclass_fields__}
    print(json.dumps({"protocol": asked.protocol, **mean, "seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main()
