"""What windows that end at each event are worth: average precision of the same trees with them and without them.

The simulated bank has a further fraud: every day some cards are used for four to seven payments within ten minutes, of amounts
that other cards pay on that day, at any terminal. A snapshot of last midnight cannot know of the payments before. Four weeks
are learned from, a week stops the trees, and after a gap of a week for the labels a week is tested on; true labels, which are
known after a week. With `--data` the same is done by protocol b of `benchmarks.handbook`, whose frauds know no bursts.

Keys of the last line: `without` and `with` (average precision without and with the windows), `bursts_without` and
`bursts_with` (recall of the bursts' payments among as many alerts as there are frauds), `test_rows`, `test_frauds`; with
`--data` `without` and `with` only.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import expit

from benchmarks import handbook
from benchmarks.handbook import DAY, STARTS, WEEK
from ml.config import Config, EventWindow, load
from ml.evaluation.metrics import average_precision
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake
from ml.simulate.stream import PaymentStream
from ml.store.feast import retrieve
from ml.training import dataset
from ml.training.candidates import fit_own_trees

START, DAYS = dt.datetime(2025, 1, 1, tzinfo=dt.UTC), 9 * 7
CARDS_A_DAY = 4
BURST = 5
"""The scenario of the further fraud."""
AT_EVENTS = [
    EventWindow(entity="customer", column="amount", aggregates=["count", "sum"], minutes=[10, 60, 1440], publish="event"),
    EventWindow(entity="terminal", column="amount", aggregates=["count"], minutes=[60], publish="event"),
]


def payments(customers: int, seed: int) -> pd.DataFrame:
    """The bank's payments and the bursts, by the lake's names of columns with `label` and `scenario`, in the order of time."""
    bank, rng = PaymentStream(customers, 2 * customers, seed, START.date()), np.random.default_rng(seed)
    rows = bank.payments(START.date(), (START + (DAYS - 1) * DAY).date())
    days, parts = rows["paid_at"].dt.floor("D"), [rows]
    for day, of_day in rows.groupby(days):
        cards = rng.choice(of_day["customer_id"].unique(), CARDS_A_DAY, replace=False)
        sizes = rng.integers(4, 8, CARDS_A_DAY)
        begun, within = rng.integers(8 * 3600, 22 * 3600, CARDS_A_DAY), rng.integers(0, 600, sizes.sum())
        burst = of_day.sample(sizes.sum(), random_state=int(rng.integers(2**31))).assign(
            customer_id=np.repeat(cards, sizes),
            paid_at=day + pd.to_timedelta(np.repeat(begun, sizes) + within, unit="s"),
            is_fraud=True,
            scenario=BURST,
        )
        parts.append(burst.assign(payment_id="B" + burst["payment_id"]))
    found = pd.concat(parts).rename(columns={"is_fraud": "label"}).sort_values(["paid_at", "payment_id"], ignore_index=True)
    return found.assign(label=found["label"].astype(np.int8), paid_at=found["paid_at"].dt.tz_localize("UTC"))


def fill(config: Config, rows: pd.DataFrame) -> None:
    """Put all payments and their labels into the lake as an archive."""
    arrived = rows["event_time"].dt.floor("D") + DAY + config.events.lag.span
    answered = np.maximum(arrived, rows["event_time"] + config.label_delay)
    rows = rows.assign(known_at=arrived, batch_id="archive", source="chargeback", reported_at=answered)
    for table, whole in ((schema.EVENTS, rows), (schema.LABELS, rows.assign(known_at=answered))):
        columns = schema.of(table, config)
        Lake(config.lake).append_batches(table, pa.Table.from_pandas(whole[columns.names], columns, preserve_index=False))


def simulated(home: Path, customers: int) -> dict[str, Any]:
    """Both models on the simulated bank."""
    config = load("config/demo.yaml")
    end = START + DAYS * DAY
    training = config.training.model_copy(update={"tuning": None, "caps": {}})
    config = config.model_copy(update={"home": home, "archive_until": end + 8 * DAY, "training": training})
    names = {theirs: ours for ours, theirs in config.events.columns.items()}
    rows = payments(customers, seed=11).rename(columns=names)
    rows["event_time"] = rows["event_time"].astype("datetime64[us, UTC]")
    fill(config, rows)
    publish_features(config, end + 8 * DAY)
    both = config.model_copy(update={"windows": [*config.windows, *AT_EVENTS]})
    rows = pd.concat([rows, retrieve(both, rows)], axis=1)
    week = ((rows["event_time"] - START) // WEEK).to_numpy()
    fitted = rows[(week >= 2) & (week < 7)]
    part = np.where(week[fitted.index] < 6, dataset.TRAIN, dataset.VALIDATION)
    test = rows[week == 8]
    labels, is_burst = test["label"].to_numpy(), (test["scenario"] == BURST).to_numpy()
    found: dict[str, Any] = {}
    for name, deployment in (("without", config), ("with", both)):
        trees, inputs = fit_own_trees(deployment, fitted.assign(**{dataset.SPLIT: part}))
        scores = expit(trees.margins(inputs.matrix(test)))
        alerted = scores >= np.sort(scores)[-int(labels.sum())]
        found |= {name: round(float(average_precision(labels, scores)), 4)}
        found |= {f"bursts_{name}": round(float(alerted[is_burst].mean()), 4)}
    return found | {"test_rows": len(test), "test_frauds": int(labels.sum())}


def of_the_handbook(home: Path, data: Path) -> dict[str, Any]:
    """Both models by protocol b, the mean over its four weeks."""
    starts = STARTS["b"]
    config = handbook.ingest(home, data, starts[-1] + 3 * WEEK + dt.timedelta(hours=2))
    both = config.model_copy(update={"windows": [*config.windows, *AT_EVENTS]})
    rows = handbook.rows_between(both, starts[0] - config.training.train.value * DAY, starts[-1] + 3 * WEEK)
    found = {}
    for name, deployment in (("without", config), ("with", both)):
        folds = [handbook.fold(deployment, rows, start, one_week=False) for start in starts]
        found[name] = handbook.mean_of(folds)["average_precision"]
        print(f"{name}: {[round(fold.average_precision, 4) for fold in folds]}", flush=True)
    return found


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.velocity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the handbook's transactions (default: the simulated bank)")
    parser.add_argument("--customers", type=int, default=400, help="of the simulated bank (default: 400)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="velocity-") as home:
        found = of_the_handbook(Path(home), asked.data) if asked.data else simulated(Path(home), asked.customers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
