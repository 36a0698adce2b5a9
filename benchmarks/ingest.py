"""Payments a second from landed files into the lake, every check on, beside pandas copying the same files without a look.

Ours is `validate_batch` and `load_batch`: the expectation suites, repeats, labels, quarantine, and the commits of a versioned
table. The peer reads each file with pandas and writes it back as Parquet. Each way runs in a process of its own, whose imports
are told apart from its work; the ways take turns and the fastest run of each counts. Keys of the last line: `rows_per_second`
(ours), `vs_pandas_plain` (our time over the peer's; at most 4 is the target), `seconds`, `import_seconds`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST_DAY = dt.date(2025, 1, 1)
DAYS = 10
ROWS_PER_CUSTOMER_AND_DAY = 1.96


def make(landing: Path, rows: int, labels: bool) -> int:
    """Ten days of simulated payments, about as many as asked for, and their fraud reports; returns the rows written."""
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    from ml.clock import REPORTS
    from ml.simulate.landing import write_days
    from ml.simulate.stream import PaymentStream

    customers = max(10, round(rows / DAYS / ROWS_PER_CUSTOMER_AND_DAY))
    stream = PaymentStream(customers=customers, terminals=max(10, customers // 3), seed=1, first_day=FIRST_DAY)
    written = write_days(stream, landing, FIRST_DAY, FIRST_DAY + dt.timedelta(days=DAYS - 1))
    made = 0
    for path in written:
        if path.name.startswith(REPORTS) and not labels:
            path.unlink()
        else:
            made += pq.read_metadata(path).num_rows if path.suffix == ".parquet" else pc.read_csv(path).num_rows
    return made


def ours(home: Path) -> dict[str, float]:
    """Seconds to import and to ingest what has landed."""
    begun = time.perf_counter()
    import pyarrow as pa

    from ml.config import load
    from ml.config.suites import events_suite
    from ml.quality import suites
    from ml.quality.load import load_batch
    from ml.quality.validate import validate_batch

    config = load("config/demo.yaml").model_copy(update={"home": home})
    suites.evaluate_rows(events_suite(config).rows[:1], pa.table({"event_id": ["one"]}), {})
    imported = time.perf_counter()
    as_of = dt.datetime.combine(FIRST_DAY + dt.timedelta(days=DAYS), dt.time(2), dt.UTC)
    told = validate_batch(config, as_of)
    loaded = load_batch(config, as_of, told.staged)
    assert told.rows == told.accepted == loaded.events + loaded.labels, told.note
    return {"import_seconds": imported - begun, "seconds": time.perf_counter() - imported}


def pandas_plain(home: Path) -> dict[str, float]:
    """Seconds to import pandas and to copy what has landed."""
    begun = time.perf_counter()
    import pandas as pd

    pd.DataFrame({"x": [1]}).to_parquet(home / "warm.parquet")
    imported = time.perf_counter()
    for path in sorted((home / "landing").iterdir()):
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        frame.to_parquet(home / f"{path.stem}.parquet")
    return {"import_seconds": imported - begun, "seconds": time.perf_counter() - imported}


WAYS = {"ours": ours, "pandas_plain": pandas_plain}


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="payments to ingest, about (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way (default: %(default)s)")
    parser.add_argument("--without-labels", action="store_true", help="land payments alone")
    parser.add_argument("--worker", nargs=2, metavar=("HOME", "WAY"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        print(json.dumps(WAYS[asked.worker[1]](Path(asked.worker[0]))))
        return
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        landed = Path(temporary) / "landing"
        rows = make(landed, asked.rows, not asked.without_labels)
        for _ in range(asked.runs):
            for way in WAYS:
                with tempfile.TemporaryDirectory(dir=temporary) as home:
                    shutil.copytree(landed, Path(home) / "landing")
                    command = [sys.executable, "-m", "benchmarks.ingest", "--worker", home, way]
                    run = subprocess.run(command, capture_output=True, text=True, check=True)
                told = json.loads(run.stdout.splitlines()[-1])
                print(f"{way:14} {told['seconds']:8.2f} s, imports {told['import_seconds']:.2f} s")
                best[way] = min(best.get(way, told), told, key=lambda run: run["seconds"])
    print(
        json.dumps(
            {
                "rows": rows,
                "rows_per_second": round(rows / best["ours"]["seconds"]),
                "vs_pandas_plain": round(best["ours"]["seconds"] / best["pandas_plain"]["seconds"], 2),
                "seconds": round(best["ours"]["seconds"], 2),
                "import_seconds": round(best["ours"]["import_seconds"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
