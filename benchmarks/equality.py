"""What the scoring service served beside what point-in-time retrieval gives for the same instants, event by event.

A simulated bank is trained on ten weeks. Then its next payments are replayed in the order of their time: each is scored by the
service, and at the cadence of the snapshots what has come since is loaded into the lake, published and materialized, as the
nightly runs do. At the end every logged feature is compared, bit for bit, with the one that `ml.store.feast.retrieve` gives a
training row, and every logged score with that of the same graph over the retrieved features. An event is equal if all of it is.

The same events are replayed with a snapshot a day and with one every four hours, both with windows that end at each event. In
the middle of a replay the service is stopped, and another one starts.

Keys of the last line: `equal_share` (of all events of all replays), `events`, and by cadence `cadences`: `events`,
`equal_share`, `equal_at_events` (share of the events whose windows up to the event itself are equal), `unequal` (events by
feature that differs, and by `score`) and `from_estimator` (largest difference of a score from CatBoost's own, which computes
in double precision).
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from ml.__main__ import main as command
from ml.config import PROJECT, Config, SimulationFeed, load
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model.version import Version
from ml.quality.predictions import load_predictions
from ml.serving.scorer import FEW
from ml.serving.service import Service
from ml.simulate.feed import write_until
from ml.simulate.stream import PaymentStream
from ml.store.feast import feature_names, materialize, retrieve

DAY = dt.timedelta(days=1)
EVENTS, WEEKS = 10_000, 10
CADENCES = {"daily": 24, "4 hours": 4}
AT_EVENTS: list[dict[str, Any]] = [
    {"entity": "customer", "column": "amount", "aggregates": ["count", "sum", "mean"], "minutes": [10, 60, 1440]},
    {"entity": "terminal", "column": "amount", "aggregates": ["count", "mean"], "minutes": [60, 2880]},
]
WAVE = 12
"""Requests on their way at once."""


@dataclass(frozen=True)
class Compared:
    """Events that were replayed, those of them that are equal in all, in the windows at events, and what differs how often."""

    events: int
    equal: int
    equal_at_events: int
    unequal: dict[str, int]
    from_estimator: float


def deployment(folder: Path, hours: int) -> Path:
    """The demo's deployment with a smaller bank, shorter windows and a snapshot every so many hours; its file."""
    told = yaml.safe_load((PROJECT / "config/demo.yaml").read_text())
    first = dt.date.fromisoformat(str(told["feed"]["first_day"]))
    start = dt.datetime.combine(first + WEEKS * 7 * DAY, dt.time(2), dt.UTC).isoformat()
    told |= {"home": str(folder / "home"), "archive_until": start}
    told["feed"] |= {"customers": 1500, "terminals": 3000, "drift": [], "first_as_of": start}
    for window in told["windows"]:
        window["days"] = [1, 7]
        window["publish"] = {"value": hours, "unit": "hours", "reason": "the cadence that is compared"}
    told["windows"] += [window | {"publish": "event"} for window in AT_EVENTS]
    told["request"]["ratios"] = [
        "customer_amount_mean_60min",
        "customer_amount_mean_1d",
        "customer_amount_mean_7d",
        "terminal_amount_mean_7d",
    ]
    told["training"] |= {"tuning": None, "candidates": ["boosted trees"], "train": told["training"]["train"] | {"value": 28}}
    told["training"]["model"]["iterations"] = 150
    told["gate"] |= {"golden": None, "ancestor": None}
    path = folder / "deployment.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(told))
    return path


def train(path: Path) -> None:
    """Ingest the archive of a deployment and promote its first version."""
    config = load(path)
    start = _start(config)
    write_until(config, (start - DAY).date())
    for word in ("ingest", "train"):
        if command([word, "--config", str(path), "--as-of", start.isoformat()]):
            raise SystemExit(f"{word} failed; see above")


def stream(config: Config, number: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The simulated events after the archive by our column names, so many, and the answers of the same days."""
    feed = config.feed
    assert isinstance(feed, SimulationFeed)
    bank = PaymentStream(feed.customers, feed.terminals, feed.seed, feed.first_day)
    begin, parts = _start(config), list[pd.DataFrame]()
    while sum(map(len, parts)) < number:
        day = (begin + len(parts) * DAY).date()
        rows = _ours(bank.payments(day, day), config.events.columns, "event_time")
        parts.append(rows[rows["event_time"] >= begin])
    answers = _ours(bank.reports(begin.date(), day), config.labels.columns, "reported_at")
    return pd.concat(parts, ignore_index=True).head(number), answers


def replay(config: Config, start: dt.datetime, events: pd.DataFrame, answers: pd.DataFrame) -> Compared:
    """Replay events from `start` on through the service, and compare what it logged with what training would get.

    Args:
        events: columns of the lake's events but for `known_at` and `batch_id`, in the order of their time.
        answers: event_id, label, source and reported_at of answers that come after `start`.
    """
    end = load_and_publish(config, start, events.head(0), answers.head(0))
    nights = list(_nights(config, start, events["event_time"].max()))
    service = Service(config)
    service.start()
    try:
        for night, (since, until) in enumerate(nights):
            if night == len(nights) // 2 > 0:
                service.stop()
                service = Service(config)
                service.start()
            of_now = events[(events["event_time"] >= since) & (events["event_time"] < until)]
            asyncio.run(_score(config, service, of_now))
            came = answers[(answers["reported_at"] >= since) & (answers["reported_at"] < until)]
            end = load_and_publish(config, until, of_now, came)
    finally:
        service.stop()
    load_predictions(config, end)
    return compare(config, events)


def compare(config: Config, events: pd.DataFrame) -> Compared:
    """Compare the logged inputs and scores of events, the first of each, with those over retrieved features."""
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        first = [f"arg_min({name}, known_at) AS {name}" for name in ("score", "inputs")]
        found = connection.execute(f"SELECT event_id, {', '.join(first)} FROM predictions GROUP BY ALL").df()
    logged = found.set_index("event_id").loc[events["event_id"]]
    move = Ledger(config.ledger).moves.history(config.name)[-1]
    version = Version.open(config, move.to_version, move.hashes)
    rows = pd.concat([events.reset_index(drop=True), retrieve(config, events.reset_index(drop=True))], axis=1)
    inputs = pd.DataFrame([json.loads(text) for text in logged["inputs"]])
    differs = {
        name: _bits(inputs[name].to_numpy(np.float64)) != _bits(rows[name].to_numpy(np.float64))
        for name in version.names
        if name in {*feature_names(config), *config.measures}
    }
    scores = logged["score"].to_numpy()
    differs["score"] = scores != _scores(version, config, rows)
    at_events = [wrong for name, wrong in differs.items() if any(name in window.features for window in config.event_windows)]
    unequal = {name: int(wrong.sum()) for name, wrong in differs.items() if wrong.any()}
    equal, equal_at_events = (int((~np.any(each, axis=0)).sum()) for each in (list(differs.values()), at_events))
    from_estimator = float(np.abs(scores - version.model.score(rows)).max())
    return Compared(len(events), equal, equal_at_events, unequal, from_estimator)


def _start(config: Config) -> dt.datetime:
    assert config.feed is not None
    return config.feed.first_as_of


def _nights(config: Config, start: dt.datetime, last: dt.datetime) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """The spans between two publications, until one lies after `last`."""
    interval = min(window.interval for window in config.snapshot_windows)
    since = start
    while since <= last:
        midnight = dt.datetime.combine(start.date(), dt.time(), dt.UTC) + config.events.lag.span
        until = midnight + ((since - midnight) // interval + 1) * interval
        yield since, until
        since = until


def load_and_publish(config: Config, as_of: dt.datetime, events: pd.DataFrame, answers: pd.DataFrame) -> dt.datetime:
    """What a nightly run does with rows that have passed the checks."""
    lake, known = Lake(config.lake), {"known_at": as_of, "batch_id": f"replayed {as_of.isoformat()}"}
    for table, rows in ((schema.EVENTS, events), (schema.LABELS, answers)):
        if len(rows):
            columns = schema.of(table, config)
            lake.append_batches(table, pa.Table.from_pandas(rows.assign(**known)[columns.names], columns, preserve_index=False))
    publish_features(config, as_of)
    materialize(config, as_of)
    return as_of


async def _score(config: Config, service: Service, events: pd.DataFrame) -> None:
    """Score events one a request, a few requests at once, in the order of their time."""
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories, *config.attributes]
    rows = events[names].astype(object)
    asked = [dict(zip(names, row, strict=True)) for row in rows.where(rows.notna(), None).to_numpy()]
    for first in range(0, len(asked), WAVE):
        answers = await asyncio.gather(*[service.score([event]) for event in asked[first : first + WAVE]])
        if any(answer["features_from"] == "defaults" for (answer,) in answers):
            raise SystemExit("the online store did not answer in time; the machine is too busy for this comparison")


def _scores(version: Version, config: Config, rows: pd.DataFrame) -> np.ndarray:
    """Scores of the version's graph, as many at once as the service scores."""
    texts = {name: rows[name].fillna("").to_numpy(object) for name in config.categories}
    columns = {name: texts[name] if name in texts else rows[name].to_numpy(np.float64) for name in version.names}
    parts = [{name: values[i : i + FEW] for name, values in columns.items()} for i in range(0, len(rows), FEW)]
    return np.concatenate([version.score_few(part) for part in parts]).astype(np.float64)


def _bits(values: np.ndarray) -> np.ndarray:
    """Doubles as integers, all that are missing as one."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def _ours(rows: pd.DataFrame, columns: dict[str, str], time: str) -> pd.DataFrame:
    """Rows of the simulator by our names of columns."""
    renamed = rows.rename(columns={theirs: ours for ours, theirs in columns.items()})
    return renamed.assign(**{time: renamed[time].dt.tz_localize("UTC").astype("datetime64[us, UTC]")})


def _record(found: Compared) -> dict[str, Any]:
    shares = {"equal_share": found.equal / found.events, "equal_at_events": found.equal_at_events / found.events}
    return {"events": found.events, **shares, "unequal": found.unequal, "from_estimator": found.from_estimator}


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.equality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=EVENTS, help=f"events of each replay (default: {EVENTS})")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="equality-") as temporary:
        trained = deployment(Path(temporary) / "trained", CADENCES["daily"])
        train(trained)
        cadences: dict[str, Compared] = {}
        for name, hours in CADENCES.items():
            folder = Path(temporary) / name
            shutil.copytree(trained.parent, folder)
            config = _patient(load(deployment(folder, hours)))
            cadences[name] = replay(config, _start(config), *stream(config, asked.events))
            print(f"{name:8} {cadences[name]}", flush=True)
    events, equal = (sum(getattr(found, name) for found in cadences.values()) for name in ("events", "equal"))
    shares = {name: _record(found) for name, found in cadences.items()}
    print(json.dumps({"equal_share": equal / events, "events": events, "cadences": shares}))


def _patient(config: Config) -> Config:
    """The deployment with time to answer on a busy machine; time is not what is compared."""
    serving = config.serving
    long = {name: getattr(serving, name).model_copy(update={"value": 30_000}) for name in ("deadline", "log_wait")}
    return config.model_copy(update={"serving": serving.model_copy(update=long)})


if __name__ == "__main__":
    main()
