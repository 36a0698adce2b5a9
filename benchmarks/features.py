"""Trailing windows over all payments of the Fraud Detection Handbook: ours, and the usual pandas code, side by side.

Both compute the number of payments and their mean amount by customer and by terminal, and the share of frauds by terminal
that were known a week later, over 1, 7 and 30 days. Ours publishes a snapshot a midnight from a lake that holds an archive
and, after it, a batch a day; the peer is the handbook's own code (chapter 3, baseline feature transformation): a groupby, and
in each group `rolling` over the time of its payments. At a payment the two differ by the day that is not over; at midnight
they are the same, so the peer is asked again for some entities with the midnights among their payments, and all cells of
these are compared.

Keys of the last line: `seconds` (ours, the whole history), `pandas_seconds`, `vs_pandas` (their ratio),
`incremental_day_seconds` (ours, one more day, median of some), `vs_increment` (whole over one day), `checked_cells` and
`equal_cells` (share of them).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.config import Config, Window, load
from ml.features.history import folder
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake

DAY = dt.timedelta(days=1)
INCREMENTS = 5
CHECKED = 100
# The handbook's own, which its code computes; those of config/handbook.yaml are chosen for the model.
WINDOWS = [
    Window(entity="customer", column="amount", aggregates=["count", "mean"], days=[1, 7, 30]),
    Window(entity="terminal", column="amount", aggregates=["count", "mean"], days=[1, 7, 30]),
    Window(entity="terminal", column="label", aggregates=["count", "mean"], days=[1, 7, 30], delay=7),
]


def read(config: Config, data: Path) -> pd.DataFrame:
    """The payments by our column names, with `label`, in the order of their time."""
    rows = pd.read_parquet(data).rename(columns={theirs: ours for ours, theirs in config.events.columns.items()})
    rows = rows.rename(columns={config.labels.column: "label"}).sort_values("event_time", ignore_index=True)
    rows["event_time"] = rows["event_time"].dt.tz_localize("UTC").astype("datetime64[us, UTC]")
    names = ["event_id", *config.entities.values()]
    return rows.astype(dict.fromkeys(names, str))


def fill(config: Config, rows: pd.DataFrame) -> None:
    """Write the lake's tables as the archive and, after it, daily batches would have."""
    midnight = rows["event_time"].dt.floor("D") + DAY
    arrival = midnight + config.events.lag.span
    matured = rows["event_time"] + config.label_delay
    archived = midnight < config.archive_until
    rows = rows.assign(known_at=arrival, batch_id=midnight.dt.strftime("%Y-%m-%d").mask(archived, "archive"))
    answers = rows.assign(source=None, reported_at=matured, known_at=np.maximum(matured, arrival))
    lake = Lake(config.lake)
    for table, whole in ((schema.EVENTS, rows), (schema.LABELS, answers)):
        columns = schema.of(table, config)
        for _, batch in whole.groupby("batch_id", sort=False):
            lake.append_batches(table, pa.Table.from_pandas(batch[columns.names], columns, preserve_index=False))


def spending(group: pd.DataFrame, days: list[int], closed: str = "right") -> pd.DataFrame:
    """The handbook's windows of amounts of one entity."""
    group = group.sort_values("event_time")
    group.index = group["event_time"]
    for d in days:
        total = group["amount"].rolling(f"{d}d", closed=closed).sum()
        count = group["amount"].rolling(f"{d}d", closed=closed).count()
        group[f"count_{d}d"] = list(count)
        group[f"mean_{d}d"] = list(total / count)
    group.index = group["event_id"]
    return group


def risk(group: pd.DataFrame, days: list[int], delay: int, closed: str = "right") -> pd.DataFrame:
    """The handbook's windows of frauds of one entity, which end `delay` days before."""
    group = group.sort_values("event_time")
    group.index = group["event_time"]
    late_frauds = group["label"].rolling(f"{delay}d", closed=closed).sum().fillna(0)
    late = group["label"].rolling(f"{delay}d", closed=closed).count().fillna(0)
    for d in days:
        frauds = group["label"].rolling(f"{delay + d}d", closed=closed).sum() - late_frauds
        count = group["label"].rolling(f"{delay + d}d", closed=closed).count() - late
        group[f"count_{d}d"] = list(count)
        group[f"mean_{d}d"] = list(frauds / count)
    group.index = group["event_id"]
    return group


def in_pandas(config: Config, window: Window, rows: pd.DataFrame, closed: str = "right") -> pd.DataFrame:
    """A view's windows at each row, by the handbook's code."""
    groups = rows.groupby(config.entities[window.entity])[["event_id", "event_time", "amount", "label"]]
    if window.column == "label":
        return groups.apply(risk, window.days, window.delay, closed=closed)
    return groups.apply(spending, window.days, closed=closed)


def equal_cells(config: Config, window: Window, rows: pd.DataFrame) -> np.ndarray:
    """Compare the published snapshots of some entities with pandas' windows at the same midnights; one bool a cell."""
    key = config.entities[window.entity]
    some = np.random.default_rng(0).choice(rows[key].unique(), CHECKED, replace=False)
    published = pq.read_table(sorted(folder(config, window).glob("*.parquet")), filters=[(key, "in", list(some))]).to_pandas()
    midnights = (
        published[[key, "event_timestamp"]].rename(columns={"event_timestamp": "event_time"}).assign(event_id="midnight")
    )
    theirs = in_pandas(config, window, pd.concat([rows[rows[key].isin(some)], midnights]), closed="left")
    theirs = theirs[theirs["event_id"] == "midnight"].set_index("event_time", append=True).droplevel(1)
    ours = published.set_index([key, "event_timestamp"])
    told = []
    for days in window.days:
        count = theirs[f"count_{days}d"].reindex(ours.index).to_numpy()
        mean = theirs[f"mean_{days}d"].reindex(ours.index).where(count > 0).to_numpy()
        told.append(ours[window.feature("count", days)].to_numpy() == np.nan_to_num(count))
        told.append(np.isclose(ours[window.feature("mean", days)].to_numpy(), mean, rtol=1e-6, atol=1e-9, equal_nan=True))
    return np.concatenate(told)


def publish(config: Config, as_of: dt.datetime) -> float:
    """Seconds that the step takes."""
    begun = time.perf_counter()
    publish_features(config, as_of)
    return time.perf_counter() - begun


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.features", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the handbook's transactions, a Parquet file")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        config = load("config/handbook.yaml").model_copy(update={"home": Path(temporary) / "whole", "windows": WINDOWS})
        rows = read(config, asked.data)
        fill(config, rows)
        end = rows["event_time"].max().floor("D").to_pydatetime() + DAY + dt.timedelta(hours=2)
        daily = config.model_copy(update={"home": Path(temporary) / "daily", "lake_folder": config.lake})
        publish(daily, end - INCREMENTS * DAY)
        increments = [publish(daily, end - i * DAY) for i in reversed(range(INCREMENTS))]
        print(f"ours, one more day  {', '.join(f'{s:.3f}' for s in increments)} s")
        seconds = publish(config, end)
        print(f"ours, whole history {seconds:8.2f} s")
        peer = 0.0
        for window in config.snapshot_windows:
            begun = time.perf_counter()
            in_pandas(config, window, rows)
            peer += time.perf_counter() - begun
            print(f"pandas, {window.view:15} {time.perf_counter() - begun:8.2f} s", flush=True)
        equal = np.concatenate([equal_cells(config, window, rows) for window in config.snapshot_windows])
    day = float(np.median(increments))
    print(
        json.dumps(
            {
                "rows": len(rows),
                "seconds": round(seconds, 2),
                "pandas_seconds": round(peer, 1),
                "vs_pandas": round(peer / seconds, 1),
                "incremental_day_seconds": round(day, 3),
                "vs_increment": round(seconds / day, 1),
                "checked_cells": len(equal),
                "equal_cells": float(equal.mean()),
            }
        )
    )


if __name__ == "__main__":
    main()
