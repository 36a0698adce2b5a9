"""What a row costs as the stream grows: ingest, features, retrieval, monitoring and batch scoring, in time and in memory.

A synthetic stream of that many payments over 36 days (`benchmarks.scale_stream`) goes through the project's own steps, by the
demo's declarations: day by day `validate_batch`, `load_batch` and `publish_features`, then `build_training_set` of 20 days with
their point-in-time join, the `monitor` of the newest day with the matured day that it is measured on, and `score` of every
payment, with its join. Monitoring and scoring use one champion, which is trained on the stream of a million, so that its trees
are the same at every size.

A size above a million is preceded by a million in the same run. Each stage runs in a process of its own that imports what it
needs before the clock starts. A row of a stage is a payment that it goes through: all of the stream, the newest day's for
features and monitoring, the training set's for retrieval.

Keys of the last line: `cost_ratio` (of the stage in which it is largest: seconds a row over those at a million), `peak_gb` (the
most that a stage held in memory), `seconds_per_million` and `stage_peak_gb` by stage, `cost_ratios` by stage, `cpu_ratios` (the
same by processor seconds, which a busy machine changes less), `first` (seconds a million at the first size), `rows`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.scale_stream import DAY, Stream, date
from ml import pipeline
from ml.config import PROJECT, Config, load
from ml.features.publish import publish_features
from ml.lake import schema
from ml.ledger.ledger import Ledger
from ml.monitoring.monitor import monitor
from ml.monitoring.reference import profile_champion
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.serving.batch import score
from ml.training.dataset import build_training_set

FIRST = 1_000_000
DAYS = 36
WINDOWS = {"train": 14, "validation": 3, "holdout": 3}
STAGES = ("ingest", "features", "retrieval", "monitoring", "scoring")
# The lake and what is made of its rows, by size; the rest of a home is the champion's and is the same at every size.
OF_A_SIZE = ("lake", "features", "staging")
processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Cost:
    """What a stage took.

    Attributes:
        rows: payments that it went through.
        seconds, cpu_seconds: of all its calls, by the clock and by the processors.
        peak_gb: the most that its process held in memory.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    peak_gb: float

    @property
    def per_million(self) -> float:
        """Seconds for a million rows."""
        return self.seconds / self.rows * 1e6


def deployment(home: Path) -> Path:
    """The demo's deployment with shorter windows, a feed from outside and one candidate; its file."""
    told = yaml.safe_load((PROJECT / "config/demo.yaml").read_text())
    told |= {"home": str(home), "feed": None, "archive_until": night(0).isoformat()}
    told["training"] |= {"tuning": None, "candidates": ["boosted trees"]}
    for name, days in WINDOWS.items():
        told["training"][name] |= {"value": days}
    told["gate"] |= {"golden": None, "ancestor": None}
    # The champion has seen the first size, and a day of a larger one is not to be taken for a fault.
    usual = {"value": 0.0001, "unit": "ratio", "reason": "the same champion watches streams of every size"}
    told["monitoring"] = {"faults": {"volume": usual}}
    path = home / "deployment.yaml"
    home.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(told))
    return path


def night(day: int) -> dt.datetime:
    """The run after a day's file has come."""
    return dt.datetime.combine(date(day) + DAY, dt.time(2), dt.UTC)


LAST, TRAINED = DAYS - 1, DAYS - 2


def ingest(config: Config, day: int) -> int:
    """The files of a day, through all checks into the lake."""
    told = validate_batch(config, night(day))
    loaded = load_batch(config, night(day), told.staged)
    assert told.rows == told.accepted == loaded.events + loaded.labels, told.note
    return loaded.events


def features(config: Config, day: int) -> int:
    """The snapshot of every view after a day."""
    assert publish_features(config, night(day)).rows
    return 0


def retrieval(config: Config) -> int:
    """The rows of a training set, with their features as of each."""
    return build_training_set(config, night(TRAINED)).rows


def monitoring(config: Config) -> int:
    """The newest day; the days before it are recorded."""
    assert monitor(config, night(LAST)).days == (str(date(LAST)),)
    return 0


def scoring(config: Config) -> int:
    """Every payment of the stream."""
    return score(config, night(LAST), table=schema.EVENTS).added


def champion(config: Config) -> int:
    """Train, promote and profile a champion, and record the days up to its training."""
    pipeline.run(pipeline.training(config), config, night(TRAINED), explain=False)
    version = Ledger(config.ledger).moves.champion(config.name)
    assert version, "the first model of a deployment was not promoted"
    profile_champion(config, night(TRAINED), version)
    return len(monitor(config, night(TRAINED)).days)


def timed(work: Callable[..., int], path: Path, *given: Any) -> Cost:
    """What some work took in this process so far, and since this call."""
    import catboost  # noqa: F401
    import feast  # noqa: F401
    import great_expectations  # noqa: F401
    import ibis.backends.duckdb  # noqa: F401

    config = load(path)
    begun, busy = time.perf_counter(), time.process_time()
    rows = work(config, *given)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    return Cost(rows, seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)


def alone(work: Callable[..., int], path: Path) -> Cost:
    """Some work in a process of its own."""
    with processes.Pool(1) as pool:
        return pool.apply(timed, (work, path))


def daily(path: Path, landed: Path) -> tuple[Cost, Cost]:
    """Ingest and publish day by day, each in one process; the costs of all ingests and of the last publication."""
    landing = load(path).landing
    landing.mkdir(parents=True, exist_ok=True)
    ingests: list[Cost] = []
    with processes.Pool(1) as loader, processes.Pool(1) as publisher:
        for day in range(DAYS):
            for file in landed.glob(f"*_{date(day)}.*"):
                file.rename(landing / file.name)
            ingests.append(loader.apply(timed, (ingest, path, day)))
            published = publisher.apply(timed, (features, path, day))
            shutil.rmtree(landing)
            landing.mkdir()
    of_day = Cost(ingests[-1].rows, published.seconds, published.cpu_seconds, published.peak_gb)
    return _sum(ingests), of_day


def _sum(costs: list[Cost]) -> Cost:
    return Cost(
        sum(cost.rows for cost in costs),
        sum(cost.seconds for cost in costs),
        sum(cost.cpu_seconds for cost in costs),
        max(cost.peak_gb for cost in costs),
    )


def measure(rows: int, path: Path, folder: Path) -> dict[str, Cost]:
    """The stages at a size, by name; without a champion one is trained first, and its home is kept in `folder`."""
    home, kept = load(path).home, folder / "kept"
    landed = folder / "landed"
    stream = Stream(rows, DAYS)
    with processes.Pool(1) as pool:
        pool.apply(stream.write, (landed,))
    costs: dict[str, Cost] = {}
    costs["ingest"], costs["features"] = daily(path, landed)
    costs["retrieval"] = alone(retrieval, path)
    if not kept.exists():
        print(f"champion trained in {alone(champion, path).seconds:.0f} s", flush=True)
        shutil.copytree(home, kept, ignore=lambda place, names: OF_A_SIZE if Path(place) == home else ())
    for stage in (monitoring, scoring):
        found = alone(stage, path)
        costs[stage.__name__] = found if found.rows else Cost(stream.rows_a_day, *list(vars(found).values())[1:])
    shutil.rmtree(home)
    shutil.copytree(kept, home)
    for stage_name, cost in costs.items():
        print(
            f"{rows:>11,} {stage_name:10} {cost.rows:>11,} rows {cost.seconds:8.2f} s {cost.cpu_seconds:8.2f} s of processors "
            f"{cost.per_million:7.2f} s a million {cost.peak_gb:6.2f} GB",
            flush=True,
        )
    return costs


def summary(first: dict[str, Cost], last: dict[str, Cost]) -> dict[str, Any]:
    """The last line's figures by key, of the first size and of the size that was asked for."""
    ratios = {stage: last[stage].per_million / first[stage].per_million for stage in STAGES}
    busy = {stage: last[stage].cpu_seconds / last[stage].rows for stage in STAGES}
    busy_first = {stage: first[stage].cpu_seconds / first[stage].rows for stage in STAGES}
    return {
        "cost_ratio": round(max(ratios.values()), 2),
        "peak_gb": round(max(cost.peak_gb for cost in last.values()), 2),
        "cost_ratios": {stage: round(ratio, 2) for stage, ratio in ratios.items()},
        "cpu_ratios": {stage: round(busy[stage] / busy_first[stage], 2) for stage in STAGES},
        "seconds_per_million": {stage: round(last[stage].per_million, 2) for stage in STAGES},
        "stage_peak_gb": {stage: round(last[stage].peak_gb, 2) for stage in STAGES},
        "first": {stage: round(first[stage].per_million, 2) for stage in STAGES},
    }


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=FIRST, help="payments of the stream (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where files go, about 150 bytes a row (default: a temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-", dir=asked.folder) as temporary:
        folder = Path(temporary)
        path = deployment(folder / "home")
        first = measure(min(FIRST, asked.rows), path, folder)
        last = measure(asked.rows, path, folder) if asked.rows > FIRST else first
    print(json.dumps(summary(first, last) | {"rows": asked.rows}))


if __name__ == "__main__":
    main()
