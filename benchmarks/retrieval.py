"""Point-in-time retrieval of three views with fifteen features: ours, Feast's own duckdb store, and the bare ASOF join.

Each way runs in a process of its own, so that its peak memory is its own; all read the same Parquet files and answer the same
questions, `filter_by_created_timestamp` on. Keys of the last line: `equal_cells` (share of cells in which ours equals
Feast's), `vs_feast_duckdb` (Feast's time over ours), `vs_raw_asof` (ours over the bare join's), `peak_gb` (ours).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

VIEWS, FEATURES = 3, 5
START = pd.Timestamp("2025-01-01", tz="UTC")
DAYS = 60
STORES = {"ours": "ml.store.asof.AsofOfflineStore", "feast_duckdb": "duckdb"}


def make(folder: Path, rows: int) -> None:
    """Daily snapshots of each entity, published within the hour, and questions at random instants."""
    rng = np.random.default_rng(0)
    entities = max(rows // 60, 10)
    for view in range(VIEWS):
        entity = np.tile(np.arange(entities), DAYS)
        event = START + pd.to_timedelta(np.repeat(np.arange(DAYS), entities), unit="D")
        table = {
            "entity": pa.array(entity.astype(str)),
            "event_timestamp": pa.array(event, pa.timestamp("us", "UTC")),
            "created_timestamp": pa.array(event + pd.to_timedelta(rng.integers(0, 3600, len(entity)), unit="s")).cast(
                pa.timestamp("us", "UTC")
            ),
        }
        table |= {f"v{view}_f{i}": pa.array(rng.normal(size=len(entity))) for i in range(FEATURES)}
        pq.write_table(pa.table(table), folder / f"v{view}.parquet")
    asked = START + pd.to_timedelta(rng.integers(0, DAYS * 86_400, rows), unit="s")
    questions = pa.table(
        {
            "entity": pa.array(rng.integers(0, int(entities * 1.02), rows).astype(str)),
            "event_timestamp": pa.array(asked, pa.timestamp("us", "UTC")),
            "number": pa.array(np.arange(rows)),
        }
    )
    pq.write_table(questions, folder / "questions.parquet")


def through_feast(folder: Path, store_type: str) -> tuple[float, pd.DataFrame]:
    """Seconds and answers of one of Feast's offline stores."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64

    with tempfile.TemporaryDirectory() as registry:
        store = FeatureStore(
            config=RepoConfig(
                project="retrieval",
                provider="local",
                registry=f"{registry}/registry.db",
                offline_store={"type": store_type},
                online_store=None,
                entity_key_serialization_version=3,
            )
        )
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.STRING)
        views = [
            FeatureView(
                name=f"v{view}",
                entities=[entity],
                ttl=dt.timedelta(0),
                schema=[Field(name=f"v{view}_f{i}", dtype=Float64) for i in range(FEATURES)],
                source=FileSource(
                    name=f"v{view}",
                    path=str(folder / f"v{view}.parquet"),
                    file_format=ParquetFormat(),
                    timestamp_field="event_timestamp",
                    created_timestamp_column="created_timestamp",
                ),
            )
            for view in range(VIEWS)
        ]
        store.apply([entity, *views])
        questions = pq.read_table(folder / "questions.parquet").to_pandas()
        names = [f"v{view}:v{view}_f{i}" for view in range(VIEWS) for i in range(FEATURES)]
        begun = time.perf_counter()
        job = store.get_historical_features(entity_df=questions, features=names, filter_by_created_timestamp=True)
        told = job.to_df()
        return time.perf_counter() - begun, told


def bare_join(folder: Path) -> tuple[float, pd.DataFrame]:
    """Seconds and answers of DuckDB's ASOF joins on max(event, created), which is right on data without late corrections."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    questions = pq.read_table(folder / "questions.parquet").to_pandas()
    begun = time.perf_counter()
    connection.register("questions", questions)
    joins = "".join(
        f" ASOF LEFT JOIN (SELECT *, greatest(event_timestamp, created_timestamp) AS available "
        f"FROM read_parquet('{folder}/v{view}.parquet')) v{view} "
        f"ON q.entity = v{view}.entity AND q.event_timestamp >= v{view}.available"
        for view in range(VIEWS)
    )
    features = ", ".join(f"v{view}_f{i}" for view in range(VIEWS) for i in range(FEATURES))
    told = connection.execute(f"SELECT q.*, {features} FROM questions q{joins}").df()
    return time.perf_counter() - begun, told


def worker(folder: Path, way: str) -> None:
    """Run one way and leave its answers beside the data."""
    warnings.simplefilter("ignore")
    seconds, told = bare_join(folder) if way == "raw_asof" else through_feast(folder, STORES[way])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    told.sort_values("number", ignore_index=True).to_parquet(folder / f"{way}.answers")
    print(json.dumps({"seconds": seconds, "peak_gb": peak}))


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="events to retrieve features for (default: %(default)s)")
    parser.add_argument("--without-feast", action="store_true", help="leave out Feast's own store, which is slow on many rows")
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "WAY"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(Path(asked.worker[0]), asked.worker[1])
        return
    told = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, asked.rows)
        for way in ["raw_asof", "ours"] + ([] if asked.without_feast else ["feast_duckdb"]):
            command = [sys.executable, "-m", "benchmarks.retrieval", "--worker", str(folder), way]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            told[way] = json.loads(run.stdout.splitlines()[-1])
            print(f"{way:14} {told[way]['seconds']:8.2f} s {told[way]['peak_gb']:6.2f} GB")
        peer = "raw_asof" if asked.without_feast else "feast_duckdb"
        ours, theirs = (pd.read_parquet(folder / f"{way}.answers") for way in ("ours", peer))
    cells = [f"v{view}_f{i}" for view in range(VIEWS) for i in range(FEATURES)]
    equal = float(((ours[cells] == theirs[cells]) | (ours[cells].isna() & theirs[cells].isna())).to_numpy().mean())
    seconds = {way: run["seconds"] for way, run in told.items()}
    print(
        json.dumps(
            {
                "rows": asked.rows,
                "equal_cells": equal,
                "vs_feast_duckdb": None if asked.without_feast else round(seconds["feast_duckdb"] / seconds["ours"], 2),
                "vs_raw_asof": round(seconds["ours"] / seconds["raw_asof"], 2),
                "peak_gb": round(told["ours"]["peak_gb"], 2),
                "seconds": round(seconds["ours"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
