"""A year of flights through the real steps, night after night, against a plain model that is retrained weekly or never.

From 1 February to 31 December 2013: at 9:00 UTC of each night the newest files land and are ingested, the day before is
monitored, and a training starts if the arbiter admits it; at 18:00 UTC the files of the morning are ingested too, and on
Sundays the lake's small files are merged; see `config/flights.yaml`. What is measured is the stream of scores: each flight is
scored at its scheduled departure by the champion in place, with the features that the online store would have answered.

Both plain models are CatBoost on hour, weekday, carrier, origin, distance and weather, with the deployment's settings and the
two categories one-hot, fitted on all flights answered by then and asked about the same flights: `never` once, on the night of
the first champion, `weekly` anew every seventh night from then on.

The last line is a JSON object:

- `first_champion_day`, `trainings`, `promotions`;
- `refused_nights`: nights on which a training was admitted and then refused, by a suite or by the gate;
- `false_incidents`: faults of the feed that were reported and that the data package does not have;
- `true_incidents`: those that it has: the weather of 31 December is missing, which is one report a column;
- `champion_ap`, `never_ap`, `weekly_ap`: average precision over all flights from the first champion on;
- `megabytes`: memory that this one process holds (resident) after so many nights.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

from benchmarks import flights_data
from ml import pipeline, steps
from ml.config import Config, load
from ml.evaluation.metrics import average_precision
from ml.ledger.ledger import Ledger
from ml.pipeline import Record
from ml.replay.nights import Nights
from ml.replay.scores import joined
from ml.replay.scores import scored as scores_in_office

DAY = dt.timedelta(days=1)
NIGHT = dt.datetime(2013, 2, 1, 9, tzinfo=dt.UTC)
"""The first one: four in the morning in New York."""
NOON = dt.timedelta(hours=9)
"""From the files of the night to those of the morning: one in the afternoon in New York, two in summer."""
LAST = dt.date(2013, 12, 31)
WEEK, SUNDAY = 7, 6
MARKS = (10, 50, 100, 200, 300)
TEXTS = ["carrier", "origin"]
PLAIN = ["hour", "weekday", "distance", *flights_data.WEATHER, *TEXTS]


@dataclass
class Year(Nights):
    """What came of the nights, and the memory of the process after some of them, by their number."""

    megabytes: dict[int, int] = field(default_factory=dict)


def play(config: Config, until: dt.date) -> Year:
    """Let the nights pass, the last of them that after `until`."""
    for day in pd.date_range("2013-01-01", NIGHT.date() - 2 * DAY):
        flights_data.write_day(config.landing, day.date())
    flights_data.write_files(config.landing, NIGHT.date() - DAY, flights_data.NOON)
    year = Year.read(config.home)
    while (night := NIGHT + year.nights * DAY).date() <= until + DAY:
        begun = time.perf_counter()
        flights_data.write_files(config.landing, night.date(), flights_data.NIGHT)
        told = _night(config, night, year)
        champion = Ledger(config.ledger).moves.champion(config.name)
        if champion:
            year.champions[night] = champion
        flights_data.write_files(config.landing, night.date(), flights_data.NOON)
        told = "; ".join([*_ingest(config, night + NOON)["stopped"], told])
        if night.weekday() == SUNDAY:
            pipeline.run(pipeline.MAINTAIN, config, night + NOON)
        year.nights += 1
        if year.nights in MARKS:
            year.megabytes[year.nights] = round(psutil.Process().memory_info().rss / 1e6)
        year.write(config.home)
        print(f"{night:%Y-%m-%d} {time.perf_counter() - begun:5.1f} s  champion {champion or '-'}  {told}", flush=True)
    return year


def _ingest(config: Config, as_of: dt.datetime) -> Record:
    """Take in what has landed and publish its features; the report on the files."""
    records = pipeline.run(pipeline.INGEST, config, as_of, {"run_id": f"files of {as_of:%Y-%m-%d %H}"})
    return records["validate_batch"]


def _night(config: Config, night: dt.datetime, year: Year) -> str:
    """One night as the DAGs would have it; what came of it in words."""
    run_id = f"night {night:%Y-%m-%d}"
    checked = _ingest(config, night)
    monitored = steps.run("monitor", config, night, {"run_id": run_id})
    told = year.train(config, night, {"run_id": run_id, "trigger": "schedule"})
    return "; ".join([*checked["stopped"], *monitored["incidents"], *monitored["confirmed"], told])


def scored(config: Config, year: Year) -> pd.DataFrame:
    """Every flight from the first champion on with its score, `champion`, by the champion of its time."""
    rows = joined(config, min(year.champions))
    return rows[["event_id", "event_time"]].assign(champion=scores_in_office(config, year.champions, rows))


def plain(config: Config, first: dt.datetime, last: pd.Timestamp, every: int | None) -> pd.Series:
    """Scores of the flights between two instants by a plain model, by flight; refitted every so many days, or never."""
    from catboost import CatBoostClassifier

    told = flights_data.flights().set_index("flight_id")
    leaves = told["scheduled"].dt.tz_localize(flights_data.ZONE)
    inputs = told.assign(
        hour=told["scheduled"].dt.hour + told["scheduled"].dt.minute / 60, weekday=told["scheduled"].dt.weekday
    )
    settings = config.training.model.model_dump(include={"iterations", "learning_rate", "depth", "l2_leaf_reg", "thread_count"})
    night, scores = first, []
    while night <= last:
        end = last + DAY if every is None else night + every * DAY
        past, asked = told["known"] <= night, (leaves >= night) & (leaves < end)
        trees = CatBoostClassifier(
            **settings, cat_features=TEXTS, one_hot_max_size=16, random_seed=7, allow_writing_files=False, verbose=False
        )
        trees.fit(inputs.loc[past, PLAIN], told.loc[past, "late"])
        scores.append(pd.Series(trees.predict_proba(inputs.loc[asked, PLAIN])[:, 1], told.index[asked]))
        night = end
    return pd.concat(scores)


def compared(config: Config, year: Year) -> dict[str, float | None]:
    """Average precision of the champions and of both plain models on the same flights."""
    if not year.champions:
        return {"champion_ap": None, "never_ap": None, "weekly_ap": None}
    rows, first = scored(config, year), min(year.champions)
    last = rows["event_time"].max()
    late = flights_data.flights().set_index("flight_id")["late"].loc[rows["event_id"]].to_numpy()
    told = {"champion_ap": rows["champion"].to_numpy()}
    told |= {
        name: plain(config, first, last, every).loc[rows["event_id"]].to_numpy()
        for name, every in (("never_ap", None), ("weekly_ap", WEEK))
    }
    return {name: round(float(average_precision(late, scores)), 4) for name, scores in told.items()}


def main() -> None:
    """Play the year; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--until", type=dt.date.fromisoformat, default=dt.date(2013, 12, 31), help="last day (default: %(default)s)"
    )
    parser.add_argument(
        "--home",
        type=Path,
        help="folder of the deployment's data, to look at later; a stopped year goes on there (default: a temporary one)",
    )
    asked = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        config = load("config/flights.yaml").model_copy(update={"home": asked.home or Path(temporary)})
        year = play(config, asked.until)
        promoted = [move for move in Ledger(config.ledger).moves.history(config.name) if move.action == "promote"]
        figures = {
            "first_champion_day": str(min(year.champions).date()) if year.champions else None,
            "trainings": year.trainings,
            "promotions": len(promoted),
            "refused_nights": len(year.refused),
            **_incidents(config),
            **compared(config, year),
            "megabytes": year.megabytes,
        }
        print(json.dumps(figures | {"seconds": round(time.perf_counter() - begun, 1)}))


def _incidents(config: Config) -> dict[str, int]:
    """Faults of the feed that people were told of, each from its first day on, by whether the data package has them."""
    found = Ledger(config.ledger).signals.incidents(config.name)
    days = {(incident.fault, incident.subject, incident.day) for incident in found}
    first = {(fault, subject, day) for fault, subject, day in days if (fault, subject, day - DAY) not in days}
    flights = flights_data.flights()
    on = flights["scheduled"].dt.date

    def is_missing(fault: str, subject: str, day: dt.date) -> bool:
        return fault == "missing values" and subject in flights and bool(flights.loc[on == day, subject].isna().all())

    true = sum(is_missing(*each) for each in first)
    return {"false_incidents": len(first) - true, "true_incidents": true}


if __name__ == "__main__":
    main()
