"""One peer's comparison of live.parquet with reference.parquet, timed; run by `benchmarks.drift` with the peers' interpreter.

    python drift.py evidently|nannyml|scipy FOLDER

Prints {"seconds": ..., "prepared_seconds": ..., "peak_memory_mb": ...} as its last line. `seconds` is the comparison alone, the
shortest of its runs; reading the files and importing the library are not in it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

Comparison = Callable[[], object]


def evidently(reference: pd.DataFrame, live: pd.DataFrame) -> Comparison:
    """The default drift report."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    return lambda: Report([DataDriftPreset()]).run(live, reference).dict()


def nannyml(reference: pd.DataFrame, live: pd.DataFrame) -> Comparison:
    """Univariate Jensen-Shannon distances of the live rows as one chunk; fitted beforehand."""
    from nannyml import UnivariateDriftCalculator

    calculator = UnivariateDriftCalculator(
        column_names=list(reference), continuous_methods=["jensen_shannon"], chunk_size=len(live)
    ).fit(reference)
    return lambda: calculator.calculate(live)


def scipy(reference: pd.DataFrame, live: pd.DataFrame) -> Comparison:
    """Kolmogorov-Smirnov and stability index of every column, chi-squared for those with few values."""
    from scipy.stats import chi2_contingency, ks_2samp

    def compare() -> list[object]:
        told: list[object] = []
        for name in reference:
            past, now = reference[name].to_numpy(), live[name].to_numpy()
            told.append(ks_2samp(past, now, method="asymp"))
            edges = np.unique(np.quantile(past, np.arange(1, 10) / 10))
            p, q = (np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) / len(x) for x in (now, past))
            told.append(np.sum((p - q) * np.log((p + 1e-9) / (q + 1e-9))))
            if name.startswith("count"):
                counts = pd.DataFrame({"past": reference[name].value_counts(), "now": live[name].value_counts()})
                told.append(chi2_contingency(counts.fillna(0)))
        return told

    return compare


PEERS = {"evidently": evidently, "nannyml": nannyml, "scipy": scipy}
RUNS = {"evidently": 1, "nannyml": 4, "scipy": 1}


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Run one peer."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    reference, live = (pd.read_parquet(folder / f"{which}.parquet") for which in ("reference", "live"))
    begun = time.perf_counter()
    compare = PEERS[name](reference, live)
    prepared = time.perf_counter() - begun
    seconds = []
    for _ in range(RUNS[name]):
        begun = time.perf_counter()
        compare()
        seconds.append(time.perf_counter() - begun)
    print(json.dumps({"seconds": min(seconds), "prepared_seconds": prepared, "peak_memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main()
