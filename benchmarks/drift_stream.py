"""False alarms on the stock stream of the Fraud Detection Handbook, and days until planted drift is confirmed.

A champion is trained once, by config/handbook.yaml as of 1 August 2018, and stays champion. Every day from the end of its
reference to the end of September is monitored as it would be nightly: on the stream as it is, and on streams in which something
changes on 1 September that the detector is not told of:

- `amounts`: all amounts are 1.3 times what they were; which payments are fraud does not change.
- `new_scenario`: every day 6 of 5,000 cards are hit by four to eight payments of 1 to 20 at any terminals, all of them fraud.

Files land and are checked, windows are published at the live cadence and the step `monitor` runs; the gate is not asked.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.handbook import ingest
from ml import steps
from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.training import export, fit

TRAINED = dt.datetime(2018, 8, 1, 2, tzinfo=dt.UTC)
END = dt.datetime(2018, 10, 1, 2, tzinfo=dt.UTC)
PLANTED = dt.date(2018, 9, 1)
FACTOR = 1.3
HIT = 0.0012
SEED = 20180901


def amounts(payments: pd.DataFrame) -> pd.DataFrame:
    """All amounts from the planted day on, times the factor."""
    later = payments["TX_DATETIME"] >= pd.Timestamp(PLANTED)
    return payments.assign(TX_AMOUNT=payments["TX_AMOUNT"].where(~later, (payments["TX_AMOUNT"] * FACTOR).round(2)))


def new_scenario(payments: pd.DataFrame) -> pd.DataFrame:
    """The payments, and from the planted day on bursts of small frauds."""
    rng = np.random.default_rng(SEED)
    customers, terminals = payments["CUSTOMER_ID"].unique(), payments["TERMINAL_ID"].unique()
    days = pd.date_range(PLANTED, payments["TX_DATETIME"].max().normalize())
    hit = np.concatenate([rng.choice(customers, round(HIT * len(customers)), replace=False) for _ in days])
    size = rng.integers(4, 9, len(hit))
    day = np.repeat(np.repeat(days.to_numpy(), len(hit) // len(days)), size)
    start = np.repeat(rng.integers(0, 82_800, len(hit)), size)
    seconds = pd.to_timedelta(start + rng.integers(0, 3600, len(day)), unit="s")
    bursts = pd.DataFrame(
        {
            "TRANSACTION_ID": payments["TRANSACTION_ID"].max() + 1 + np.arange(len(day)),
            "TX_DATETIME": (pd.DatetimeIndex(day) + seconds).astype(payments["TX_DATETIME"].dtype),
            "CUSTOMER_ID": np.repeat(hit, size),
            "TERMINAL_ID": rng.choice(terminals, len(day)),
            "TX_AMOUNT": rng.uniform(1, 20, len(day)).round(2),
            "TX_FRAUD": 1,
        }
    )
    together = pd.concat([payments, bursts[[c for c in bursts if c in payments]]], ignore_index=True)
    return together.sort_values("TX_DATETIME", ignore_index=True)


PLANTS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {"amounts": amounts, "new_scenario": new_scenario}


def crown(config: Config) -> None:
    """Train a champion and write it into the ledger, whatever the gate would say."""
    training_set = steps.run("build_training_set", config, TRAINED)["training_set"]
    fitted = steps.run("fit", config, TRAINED, {"training_set": training_set})
    print(f"champion: {fitted['candidate']}, average precision {fitted['validation_average_precision']:.3f} on its validation")
    steps.run("export_graph", config, TRAINED, {"model": fitted["model"]})
    registry = fit.registry(config)
    folder = export.folder_of(config, fitted["model"])
    version = registry.register(folder, run_id=fitted["mlflow_run"], tags={}, description="champion of a benchmark")
    _promote(config, version)


def _promote(config: Config, version: str) -> None:
    Ledger(config.ledger).moves.make(
        Move(
            model=config.name,
            action="promote",
            expected_from=None,
            to_version=version,
            as_of=TRAINED,
            actor="benchmark",
            reason="a champion to watch",
            verdict={},
            run_id="benchmark",
            hashes=fit.registry(config).digests(version),
        )
    )


def planted(stock: Config, home: Path, data: Path, plant: Callable[[pd.DataFrame], pd.DataFrame]) -> Config:
    """The deployment on a stream with drift, with the same champion."""
    home.mkdir(parents=True, exist_ok=True)
    changed = home / data.name
    plant(pd.read_parquet(data)).to_parquet(changed, index=False)
    config = ingest(home, changed, END).model_copy(update={"mlflow_uri": stock.tracking})
    (home / "training_sets").symlink_to(stock.home / "training_sets")
    _promote(config, "1")
    return config


def alarms(config: Config) -> tuple[list[tuple[dt.date, str]], int]:
    """Monitor all days: day and trigger of each alarm, and the number of days."""
    begun = time.perf_counter()
    told = steps.run("monitor", config, END)
    print(told["note"])
    days = len(told["days"])
    print(f"{days} days in {time.perf_counter() - begun:.1f} s", flush=True)
    found = Ledger(config.ledger).signals.confirmations(config.name)
    for alarm in found:
        print(f"  {alarm.day} {alarm.trigger}: {alarm.reason}", flush=True)
    return [(alarm.day, alarm.trigger) for alarm in found], days


def main() -> None:
    """Monitor the stock stream and the planted ones; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift_stream", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the handbook's transactions, a Parquet file")
    asked = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        stock = ingest(Path(folder) / "stock", asked.data, END)
        crown(stock)
        on_stock, days = alarms(stock)
        delays: dict[str, dict[str, int]] = {}
        for name, plant in PLANTS.items():
            print(name)
            found, _ = alarms(planted(stock, Path(folder) / name, asked.data, plant))
            delays[name] = {trigger: (day - PLANTED).days for day, trigger in reversed(found) if day >= PLANTED}
    told = {"stock_alarms": len(on_stock), "stock_days": days, "planted_delay_days": delays}
    print(json.dumps(told | {"seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main()
