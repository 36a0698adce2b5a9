"""How long it takes to tell whether a day has drifted: 30 features, a million live rows against a million reference rows.

Ours counts the live rows by bin and takes every statistic of the day, for a detector that is ready: `reference_seconds`, apart,
is what cutting the bins, counting the reference rows by day, fitting and simulating the thresholds take, once per champion.
Evidently makes its default drift report; NannyML calculates Jensen-Shannon distances, fitted beforehand; scipy tests by
Kolmogorov-Smirnov, stability index and chi-squared. A third of the columns each is normal, log-normal (amounts) and a count.

Each runs in a process of its own, ours before and after each peer. A peer's shortest time is set against the longer of ours
around it, each the shortest of five days. The peers are installed into an environment of their own, var/peers/drift, on the
first run.

Keys of the last line: `seconds`, `reference_seconds`, `vs_evidently`, `vs_nannyml`, `vs_scipy` (a peer's seconds over ours),
`first_seconds` (the first day in a fresh process), and by name `peer_seconds` and `peak_memory_mb` with the rows in memory.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.peers.drift import PEERS, peak_memory_mb
from benchmarks.peers.environment import interpreter
from ml.config import PROJECT
from ml.monitoring.detector import Detector
from ml.monitoring.observed import DailyProfiles
from ml.monitoring.profile import Binning, Profile, cut

ROWS, COLUMNS = 1_000_000, 10
REFERENCE_DAYS, RUNS = 77, 5
FIRST = dt.date(2025, 1, 6)


def rows(seed: int) -> pd.DataFrame:
    """A million rows of 30 float64 features."""
    rng = np.random.default_rng([20250701, seed])
    made = {f"normal_{index}": rng.standard_normal(ROWS) for index in range(COLUMNS)}
    made |= {f"amount_{index}": rng.lognormal(3.0, 1.0, ROWS) for index in range(COLUMNS)}
    return pd.DataFrame(made | {f"count_{index}": rng.poisson(index + 1, ROWS).astype(np.float64) for index in range(COLUMNS)})


def prepare(folder: Path) -> dict[str, float]:
    """Make the detector ready from the reference rows, and leave it in the folder."""
    reference = pd.read_parquet(folder / "reference.parquet")
    begun = time.perf_counter()
    binning = cut(reference, list(reference))
    pieces = np.array_split(np.arange(ROWS), REFERENCE_DAYS)
    days = {
        FIRST + dt.timedelta(number): binning.count(reference.iloc[piece[0] : piece[-1] + 1])
        for number, piece in enumerate(pieces)
    }
    detector = Detector.fit(DailyProfiles(days), dict.fromkeys(reference, 1.0))
    seconds = time.perf_counter() - begun
    week = {day.isoformat(): days[day].to_dict() for day in list(days)[-6:]}
    ready = {"binning": binning.to_dict(), "detector": detector.to_dict(), "week": week}
    (folder / "ready.json").write_text(json.dumps(ready))
    return {"seconds": seconds}


def judge(folder: Path) -> dict[str, float]:
    """Count the live rows and judge their day."""
    live, ready = pd.read_parquet(folder / "live.parquet"), json.loads((folder / "ready.json").read_text())
    binning, detector = Binning.from_dict(ready["binning"]), Detector.from_dict(ready["detector"])
    week = {dt.date.fromisoformat(day): Profile.from_dict(profile) for day, profile in ready["week"].items()}
    today = FIRST + dt.timedelta(REFERENCE_DAYS)
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        detector.assess(today, DailyProfiles({**week, today: binning.count(live)}))
        seconds.append(time.perf_counter() - begun)
    return {"seconds": min(seconds), "first_seconds": seconds[0], "peak_memory_mb": peak_memory_mb()}


OURS = {"prepare": prepare, "judge": judge}


def measured(command: list[str]) -> dict[str, float]:
    """What a process measured, its last line."""
    quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=quiet, cwd=PROJECT)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="Evidently takes minutes")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"), help="one step of ours alone: prepare or judge")
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(OURS[asked.step[0]](Path(asked.step[1]))))
        return
    peers = {}
    with tempfile.TemporaryDirectory(prefix="drift-") as folder:
        for seed, which in enumerate(("reference", "live")):
            rows(seed).to_parquet(Path(folder) / f"{which}.parquet")
        mine = [sys.executable, "-m", "benchmarks.drift", "--step"]
        prepared = measured([*mine, "prepare", folder])
        told = [measured([*mine, "judge", folder])]
        for name in asked.peers:
            peers[name] = measured([str(interpreter("drift")), "benchmarks/peers/drift.py", name, folder])
            print(f"{name:10} {peers[name]}", flush=True)
            told.append(measured([*mine, "judge", folder]))
    best = {key: min(run[key] for run in told) for key in told[0]}
    best["peak_memory_mb"] = max(run["peak_memory_mb"] for run in told)
    print(f"ours       {best}")
    print(
        json.dumps(
            {
                "seconds": round(best["seconds"], 3),
                "first_seconds": round(best["first_seconds"], 3),
                "reference_seconds": round(prepared["seconds"], 2),
                **{
                    f"vs_{name}": round(peer["seconds"] / max(before["seconds"], after["seconds"]), 1)
                    for (name, peer), before, after in zip(peers.items(), told[:-1], told[1:], strict=True)
                },
                "peer_seconds": {name: round(peer["seconds"], 2) for name, peer in peers.items()},
                "peak_memory_mb": {name: round(run["peak_memory_mb"]) for name, run in {"ours": best, **peers}.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
