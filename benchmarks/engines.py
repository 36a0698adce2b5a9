"""One more day's windows by DuckDB and by Spark, from the same lake: the publication of all views of `config/demo.yaml`.

The lake holds 36 days of `benchmarks.scale_stream`, written without the checks. DuckDB publishes the 35 snapshots before; then
each engine publishes the newest one in a process of its own: DuckDB from the state that it keeps, DuckDB without it, as after a
loss, and Spark on this machine (`local[*]`), which keeps none. Seconds are of the step without the import of libraries; with
Spark they have the start of a session for each view.

Spark is no dependency: `pip install --target FOLDER -r deploy/images/requirements-spark.txt`, PYTHONPATH=FOLDER, and Java 17 or
21 by JAVA_HOME.

Keys of the last line: `rows`, `duckdb_seconds`, `duckdb_without_state_seconds`, `spark_seconds`, `vs_spark` (Spark's time over
DuckDB's without state), `peak_gb` (DuckDB's; Spark's memory is Java's, by `--memory`), `equal` (whether all wrote the same
bytes).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import yaml

from benchmarks.scale import DAYS, LAST, Cost, alone, deployment, features, night, processes
from benchmarks.scale_stream import DAY, Stream, date
from ml.config import Config, load
from ml.features.history import history
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake
from ml.simulate.landing import PAYMENTS


def fill(path: Path, landed: Path) -> None:
    """Write the lake's tables as a batch a day would have, and publish all snapshots but the newest."""
    config = load(path)
    lake = Lake(config.lake)
    for day in range(DAYS):
        payments = pq.read_table(landed / f"{PAYMENTS}_{date(day)}.parquet")
        reports = csv.read_csv(landed / f"fraud_reports_{date(day)}.csv")
        for table, rows, columns in (
            (schema.EVENTS, payments, config.events.columns),
            (schema.LABELS, reports, config.labels.columns),
        ):
            known = pa.repeat(pa.scalar(arrival(day), schema.INSTANT), rows.num_rows)
            arrays = {ours: rows[theirs] for ours, theirs in columns.items()}
            arrays |= {"known_at": known, "batch_id": pa.repeat(f"day {day:02d}", rows.num_rows)}
            kinds = schema.of(table, config)
            typed = [_as(arrays[field.name], field.type) for field in kinds]
            lake.append_batches(table, pa.table(typed, schema=kinds))
    publish_features(config, night(LAST - 1))


def arrival(day: int) -> dt.datetime:
    """Half an hour after the end of a day, when its file has come."""
    return dt.datetime.combine(date(day) + DAY, dt.time(0, 30), dt.UTC)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column in the type of the lake; a time without a zone is in UTC."""
    if pa.types.is_timestamp(kind) and column.type.tz is None:
        return pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
    return column.cast(kind)


def newest(config: Config) -> list[str]:
    """Names of the newest publications, which have the hash of their content."""
    return [history(config, window)[-1].path.name for window in config.snapshot_windows]


def engine(path: Path, home: Path, spark: dict[str, str] | None, with_state: bool) -> tuple[Cost, list[str]]:
    """The newest publication by an engine, in a copy of a home."""
    told = yaml.safe_load(path.read_text()) | {"home": str(home), "lake_folder": str(load(path).lake)}
    if spark is not None:
        told["engine"] = {"kind": "spark", "settings": spark}
    shutil.copytree(load(path).features, home / "features")
    for state in () if with_state else (home / "features").rglob("*"):
        if state.is_file() and state.suffix != ".parquet":
            state.unlink()
    own = home / "deployment.yaml"
    own.write_text(yaml.safe_dump(told))
    return alone(publish_newest, own), newest(load(own))


def publish_newest(config: Config) -> int:
    """The step on the night after the last day."""
    return features(config, LAST)


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="payments of the stream (default: %(default)s)")
    parser.add_argument("--memory", default="6g", help="memory of Spark's Java (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where files go (default: a temporary folder)")
    asked = parser.parse_args()
    settings = {"spark.driver.memory": asked.memory, "spark.sql.shuffle.partitions": "8"}
    ways = {"duckdb": (None, True), "duckdb_without_state": (None, False), "spark": (settings, False)}
    with tempfile.TemporaryDirectory(prefix="engines-", dir=asked.folder) as temporary:
        path, landed = deployment(Path(temporary) / "home"), Path(temporary) / "landed"
        with processes.Pool(1) as pool:
            pool.apply(Stream(asked.rows, DAYS).write, (landed,))
            pool.apply(fill, (path, landed))
        costs, names = {}, []
        for way, (spark, with_state) in ways.items():
            home = Path(temporary) / way
            home.mkdir()
            costs[way], published = engine(path, home, spark, with_state)
            names.append(published)
            print(f"{asked.rows:>11,} {way:22} {costs[way].seconds:8.2f} s {costs[way].peak_gb:6.2f} GB", flush=True)
    told = {f"{way}_seconds": round(cost.seconds, 2) for way, cost in costs.items()}
    told |= {
        "vs_spark": round(costs["spark"].seconds / costs["duckdb_without_state"].seconds, 2),
        "peak_gb": round(max(costs[way].peak_gb for way in ("duckdb", "duckdb_without_state")), 2),
        "rows": asked.rows,
    }
    print(json.dumps(told | {"equal": all(published == names[0] for published in names)}))


if __name__ == "__main__":
    main()
