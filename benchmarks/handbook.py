"""ROC AUC, average precision and card precision@100 by the protocols of the Fraud Detection Handbook.

Protocol a: train on 25–31 July 2018, wait 7 days, test on 8–14 August; all trees are kept. Protocol b: four such weeks, from 25
July, 1, 8 and 15 August, mean over them. Its test rows are the handbook's; the rows to learn from reach back as far as a
deployment's would: the protocol's week is the validation window, which stops the trees and calibrates them, and before it lies
the training window of config/handbook.yaml. All their labels are known by the first test day. Cards that are known to be
compromised leave the test rows: those with a fraud in the protocol's week, and on test day d those with a fraud up to the
last day of that week + d.

Protocol `earlier` is b on the six test weeks from 20 June to 31 July, before any that a or b test. FitWindows and settings of
config/handbook.yaml were chosen there, and `--tune` searches settings there and nowhere else.

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
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from ml import steps
from ml.config import Config, ModelSettings, load
from ml.evaluation.metrics import average_precision, calibration_error, card_precision, roc_auc
from ml.lake import schema
from ml.lake.tables import Lake, instant
from ml.model.estimator import Estimator
from ml.simulate.feed import write_until
from ml.store.feast import retrieve
from ml.training import dataset
from ml.training.candidates import fit_own_trees
from ml.training.inputs import learn_inputs
from ml.training.trees import fit_trees

DAY = dt.timedelta(days=1)
WEEK = 7 * DAY
FIRST = dt.datetime(2018, 7, 25, tzinfo=dt.UTC)
STARTS = {
    "a": [FIRST],
    "b": [FIRST + i * WEEK for i in range(4)],
    "earlier": [FIRST - 2 * WEEK - i * WEEK for i in reversed(range(6))],
}
SEARCHED: dict[str, tuple[float, float, bool]] = {
    "learning_rate": (0.02, 0.15, True),
    "l2_leaf_reg": (1, 100, True),
    "subsample": (0.4, 1, False),
    "rsm": (0.3, 1, False),
    "random_strength": (0.1, 10, True),
}


@dataclass(frozen=True)
class Figures:
    """What one fold came to; the calibration error is a share of the test frauds."""

    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    roc_auc: float
    average_precision: float
    card_precision_100: float
    calibration_error: float


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


def fold(config: Config, rows: pd.DataFrame, start: dt.datetime, one_week: bool) -> Figures:
    """Learn by the protocol from what is known a week after the week that begins at `start`, and test on the week then."""
    validation = (rows["day"] >= start) & (rows["day"] < start + WEEK)
    if one_week:
        train = rows[validation]
        inputs, matrix = learn_inputs(config, train)
        found: Estimator = fit_trees(config, inputs, matrix, train)
    else:
        past = (rows["day"] >= start - config.training.train.value * DAY) & (rows["day"] < start)
        train = rows[past | validation]
        part = np.where(train["day"] < start, dataset.TRAIN, dataset.VALIDATION)
        found, inputs = fit_own_trees(config, train.assign(**{dataset.SPLIT: part}))
    test = test_rows(rows, start)
    scores = expit(found.margins(inputs.matrix(test)))
    labels, cards = test["label"].to_numpy(), test["customer_id"].to_numpy()
    return Figures(
        len(train),
        int(train["label"].sum()),
        len(test),
        int(labels.sum()),
        float(roc_auc(labels, scores)),
        float(average_precision(labels, scores)),
        float(card_precision(test["day"].dt.tz_localize(None).to_numpy(), cards, labels, scores, k=100)),
        float(calibration_error(labels, scores)),
    )


def tune(config: Config, rows: pd.DataFrame, trials: int) -> None:
    """Search settings of the model by the mean average precision of the earlier folds, beginning with the file's own."""
    import optuna

    own = config.training.model

    def with_settings(settings: dict[str, Any]) -> Config:
        model = ModelSettings.model_validate(own.model_dump() | settings)
        return config.model_copy(update={"training": config.training.model_copy(update={"model": model})})

    def objective(trial: optuna.Trial) -> float:
        settings: dict[str, Any] = {
            name: trial.suggest_float(name, low, high, log=log) for name, (low, high, log) in SEARCHED.items()
        }
        settings["depth"] = trial.suggest_int("depth", 4, 8)
        folds = [fold(with_settings(settings), rows, start, one_week=False) for start in STARTS["earlier"]]
        print(trial.number, settings, mean_of(folds), flush=True)
        return float(np.mean([told.average_precision for told in folds]))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=own.random_seed))
    study.enqueue_trial({name: getattr(own, name) for name in [*SEARCHED, "depth"]})
    study.optimize(objective, n_trials=trials)
    print(json.dumps({"best": study.best_params, "average_precision": study.best_value, "of_trials": trials}))


def mean_of(folds: list[Figures]) -> dict[str, float]:
    """Mean of each figure over the folds."""
    return {name: round(float(np.mean([getattr(f, name) for f in folds])), 4) for name in Figures.__dataclass_fields__}


def main() -> None:
    """Run a protocol; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.handbook", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--protocol", choices=sorted(STARTS), required=True)
    parser.add_argument("--data", type=Path, required=True, help="the handbook's transactions, a Parquet or CSV file")
    parser.add_argument("--home", type=Path, help="keep the ingested data here and use it again (default: a temporary folder)")
    parser.add_argument(
        "--tune", type=int, metavar="TRIALS", help="search settings of the model (with --protocol earlier only)"
    )
    asked = parser.parse_args()
    if asked.tune and asked.protocol != "earlier":
        parser.error("--tune chooses, and what chooses must not see the test weeks: use it with --protocol earlier")
    begun = time.perf_counter()
    starts, one_week = STARTS[asked.protocol], asked.protocol == "a"
    with tempfile.TemporaryDirectory() as temporary:
        config = ingest(asked.home or Path(temporary), asked.data, starts[-1] + 3 * WEEK + dt.timedelta(hours=2))
        first = starts[0] if one_week else starts[0] - config.training.train.value * DAY
        rows = rows_between(config, first, starts[-1] + 3 * WEEK)
        if asked.tune:
            tune(config, rows, asked.tune)
            return
        folds = []
        for start in starts:
            folds.append(fold(config, rows, start, one_week))
            print(f"{start:%Y-%m-%d}: {folds[-1]}", flush=True)
    seconds = round(time.perf_counter() - begun, 1)
    print(json.dumps({"protocol": asked.protocol, **mean_of(folds), "seconds": seconds}))


if __name__ == "__main__":
    main()
