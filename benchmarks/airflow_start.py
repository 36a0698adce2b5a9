"""What a process of Airflow takes to start with the project's plugins, over what it takes without them.

Measured are the processor seconds of `airflow plugins`, which loads the plugins, as every process of Airflow does, and lists
them. Both ways take turns, so that whatever else the machine does disturbs both; a figure is the median of the repeats.

The last line is a JSON object: both ways, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ml.config import PROJECT

WAYS = ("without", "with")
AIRFLOW = [sys.executable, "-m", "airflow"]


def environment(folder: Path, way: str) -> dict[str, str]:
    """The variables of an Airflow in a folder, with the project's plugins or with none."""
    (folder / "none").mkdir(exist_ok=True)
    return os.environ | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "none"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins" if way == "with" else folder / "none"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "PERENNIAL_CONFIG": str(PROJECT / "config" / "demo.yaml"),
        "PYTHONPATH": str(PROJECT),
    }


def plugins(environ: dict[str, str]) -> float:
    """Processor seconds of `airflow plugins`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*AIRFLOW, "plugins"], env=environ, cwd=PROJECT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path, repeats: int) -> dict[str, float]:
    """The median of both ways, and their ratio; each way's first start, which fills the caches, is left out."""
    environs = {way: environment(folder, way) for way in WAYS}
    subprocess.run([*AIRFLOW, "db", "migrate"], env=environs["without"], cwd=PROJECT, check=True, capture_output=True)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for repeat in range(repeats + 1):
        for way in WAYS:
            seconds = plugins(environs[way])
            if repeat:
                taken[way].append(seconds)
    medians = {way: statistics.median(taken[way]) for way in WAYS}
    return {way: round(seconds, 2) for way, seconds in medians.items()} | {
        "ratio": round(medians["with"] / medians["without"], 3)
    }


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.airflow_start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="starts of each way that count (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(Path(temporary), asked.repeats)
    print(f"{found['without']:.2f} s without, {found['with']:.2f} s with, {found['ratio']:.3f} ×")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
