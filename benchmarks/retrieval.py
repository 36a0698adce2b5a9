"""Point-in-time retrieval of three views with fifteen features: ours, Feast's own duckdb store, and the bare ASOF join.

All read the same Parquet files and answer the same questions as a pandas frame, `filter_by_created_timestamp` on. Ours and
Feast's store run in processes of their own, which answer a few questions before their clock starts, so that no import is timed.
Ours and the bare join then take turns in one process, five times: what else the machine does slows both alike, and the median
counts. Feast's store, which takes minutes, runs once.

Keys of the last line: `equal_cells` (share of cells in which ours equals Feast's, or the bare join's with `--without-feast`),
`equal_cells_hard` (ours against pandas reading every row, on a small history with late corrections, ties and duplicates),
`vs_feast_duckdb` (Feast's time over ours), `vs_raw_asof` (ours over the bare join's), `peak_gb` (ours), `seconds` (ours).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import statistics
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
TURNS = 5
START = pd.Timestamp("2025-01-01", tz="UTC")
DAYS = 60
INSTANT = pa.timestamp("us", "UTC")
STORES = {"ours": "ml.store.asof.AsofOfflineStore", "feast_duckdb": "duckdb"}
CELLS = [[f"v{view}_f{i}" for i in range(FEATURES)] for view in range(VIEWS)]
ALL_CELLS = [name for names in CELLS for name in names]


def make(folder: Path, rows: int) -> None:
    """Daily snapshots of each entity, published within the hour, and `rows` questions at random instants."""
    rng = np.random.default_rng(0)
    entities = max(rows // DAYS, 10)
    for view in range(VIEWS):
        event = START + pd.to_timedelta(np.repeat(np.arange(DAYS), entities), unit="D")
        created = event + pd.to_timedelta(rng.integers(0, 3600, len(event)), unit="s")
        _write_view(
            folder, view, pd.DataFrame({"entity": np.tile(np.arange(entities), DAYS), "event": event, "created": created})
        )
    _write_questions(folder, rng.integers(0, int(entities * 1.02), rows))


def make_hard(folder: Path, rows: int = 3000) -> None:
    """Events on the hour of which a third is corrected, some days late, with ties in event time and repeated rows."""
    rng = np.random.default_rng(1)
    entities = rows // 60
    for view in range(VIEWS):
        event = START + pd.to_timedelta(rng.integers(0, DAYS * 24, rows), unit="h")
        first = pd.DataFrame({"entity": rng.integers(0, entities, rows), "event": event})
        first["created"] = first["event"] + pd.to_timedelta(rng.exponential(6, rows).round(), unit="h")
        corrected = first.sample(frac=0.3, random_state=view)
        late = corrected.assign(created=corrected["created"] + pd.to_timedelta(rng.integers(0, 240, len(corrected)), unit="h"))
        _write_view(folder, view, pd.concat([first, late]).drop_duplicates(), repeated=0.1)
    _write_questions(folder, rng.integers(0, entities + 2, rows))


def _write_view(folder: Path, view: int, times: pd.DataFrame, repeated: float = 0.0) -> None:
    """Rows with random features, of which a share is written twice."""
    rng = np.random.default_rng(view)
    table = pa.table(
        {
            "entity": pa.array(times["entity"].astype(str)),
            "event_timestamp": pa.array(times["event"]).cast(INSTANT),
            "created_timestamp": pa.array(times["created"]).cast(INSTANT),
        }
        | {name: pa.array(rng.normal(size=len(times))) for name in CELLS[view]}
    )
    again = table.take(rng.integers(0, len(table), int(len(table) * repeated)))
    pq.write_table(pa.concat_tables([table, again]), folder / f"v{view}.parquet")


def _write_questions(folder: Path, entity: np.ndarray) -> None:
    """One question for each entity in `entity`, at an instant of its own."""
    asked = START + pd.to_timedelta(np.random.default_rng(2).integers(0, DAYS * 86_400, len(entity)), unit="s")
    questions = {
        "entity": pa.array(entity.astype(str)),
        "event_timestamp": pa.array(asked).cast(INSTANT),
        "number": pa.array(np.arange(len(entity))),
    }
    pq.write_table(pa.table(questions), folder / "questions.parquet")


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
                schema=[Field(name=name, dtype=Float64) for name in CELLS[view]],
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
        names = [f"v{view}:{name}" for view in range(VIEWS) for name in CELLS[view]]
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
    told = connection.sql(f"SELECT q.*, {', '.join(ALL_CELLS)} FROM questions q{joins}").to_arrow_table().to_pandas()
    return time.perf_counter() - begun, told


def every_row(folder: Path) -> pd.DataFrame:
    """Answers by reading every row of an entity that was known: the latest event, and of that the latest created."""
    questions = pq.read_table(folder / "questions.parquet").to_pandas()
    for view in range(VIEWS):
        rows = pq.read_table(folder / f"v{view}.parquet").to_pandas().rename(columns={"event_timestamp": "event"})
        pairs = questions[["number", "entity", "event_timestamp"]].merge(rows, on="entity")
        known = pairs[(pairs["event"] <= pairs["event_timestamp"]) & (pairs["created_timestamp"] <= pairs["event_timestamp"])]
        newest = known.sort_values(["event", "created_timestamp"]).drop_duplicates("number", keep="last")
        questions = questions.merge(newest[["number", *CELLS[view]]], on="number", how="left")
    return questions


def equal_share(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Share of the feature cells that are equal, or missing in both; the questions in order of their number."""
    ours, theirs = (frame.sort_values("number", ignore_index=True)[ALL_CELLS] for frame in (ours, theirs))
    return float(((ours == theirs) | (ours.isna() & theirs.isna())).to_numpy().mean())


def worker(folder: Path, way: str) -> None:
    """Run one of Feast's stores on the hard history and then on the large one, and leave its answers beside each."""
    warnings.simplefilter("ignore")
    kind = STORES[way]
    through_feast(folder / "hard", kind)[1].to_parquet(folder / "hard" / f"{way}.answers")
    seconds, told = through_feast(folder, kind)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    told.to_parquet(folder / f"{way}.answers")
    measured = {"seconds": seconds, "peak_gb": peak}
    if way == "ours":
        bare_join(folder)[1].to_parquet(folder / "raw_asof.answers")
        turns = [(through_feast(folder, kind)[0], bare_join(folder)[0]) for _ in range(TURNS)]
        measured["seconds"] = statistics.median(ours for ours, _ in turns)
        measured["vs_raw_asof"] = statistics.median(ours / bare for ours, bare in turns)
    print(json.dumps(measured))


def measure(folder: Path, way: str) -> dict[str, float]:
    """What a process of its own measures of one way."""
    command = [sys.executable, "-m", "benchmarks.retrieval", "--worker", str(folder), way]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{way} failed:\n{run.stderr}")
    told: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    print(f"{way:14} {told['seconds']:8.2f} s {told['peak_gb']:6.2f} GB", flush=True)
    return told


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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "hard").mkdir()
        make(folder, asked.rows)
        make_hard(folder / "hard")
        ours = measure(folder, "ours")
        theirs = None if asked.without_feast else measure(folder, "feast_duckdb")
        peer = "raw_asof" if theirs is None else "feast_duckdb"
        equal = equal_share(*(pd.read_parquet(folder / f"{way}.answers") for way in ("ours", peer)))
        hard = equal_share(pd.read_parquet(folder / "hard" / "ours.answers"), every_row(folder / "hard"))
    print(
        json.dumps(
            {
                "rows": asked.rows,
                "equal_cells": equal,
                "equal_cells_hard": hard,
                "vs_feast_duckdb": None if theirs is None else round(theirs["seconds"] / ours["seconds"], 2),
                "vs_raw_asof": round(ours["vs_raw_asof"], 2),
                "peak_gb": round(ours["peak_gb"], 2),
                "seconds": round(ours["seconds"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
