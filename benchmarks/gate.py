"""1,000 paired replicates of average precision and ROC AUC: the gate's bootstrap, and a loop over scikit-learn's metrics.

Rows are simulated: 200,000 payments of 20,000 customers in 14 days, frauds that come several to a customer, errors that a
customer's rows share. Both ways draw one Poisson(1) weight per customer and replicate and score both models with the same
weights; the loop gives each row its customer's weight and calls `average_precision_score` and `roc_auc_score`. The closed
form, from influence functions, is the third way to the same standard error. Ours and the closed form also hold what days seem
to add, which is chance here; the loop does not.

Keys of the last line: `seconds` (ours, best of some), `sklearn_seconds` (the loop, scaled to all replicates), `vs_sklearn`
(their ratio), `sklearn_replicates` (how many were run), `closed_form_seconds`, and the standard errors of the gain in average
precision: `standard_error` (ours), `standard_error_influence`, `standard_error_sklearn`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.evaluation.bootstrap import closed_form, compare_rankings
from ml.evaluation.clusters import Clusters
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking

ROWS = 200_000
CUSTOMERS = 20_000
DAYS = 14
FRAUD_RATE = 0.008
REPLICATES = 1000
RUNS = 3

Answer = TypeVar("Answer")


class Scored(NamedTuple):
    """Rows with the scores of both models; arrays of shape (n_rows,)."""

    labels: NDArray[np.int64]
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    customers: NDArray[np.int64]
    days: NDArray[np.int64]


def simulate(seed: int) -> Scored:
    """Rows of which a few customers hold all the frauds."""
    rng = np.random.default_rng(seed)
    customers = rng.integers(0, CUSTOMERS, ROWS)
    stolen = rng.random(CUSTOMERS) < 2 * FRAUD_RATE
    labels = (stolen[customers] & (rng.random(ROWS) < 0.5)).astype(np.int64)

    def errors() -> NDArray[np.float64]:
        return 0.7 * rng.normal(size=CUSTOMERS)[customers] + 0.7 * rng.normal(size=ROWS)

    common = 2.2 * labels + 0.9 * errors()
    return Scored(labels, common + 0.4 * errors(), common + 0.4 * errors(), customers, rng.integers(0, DAYS, ROWS))


def loop(rows: Scored, replicates: int, seed: int) -> NDArray[np.float64]:
    """Gains of average precision and ROC AUC by replicate, shape (n_replicates, 2), by scikit-learn."""
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(replicates):
        weights = rng.poisson(1.0, CUSTOMERS)[rows.customers]
        old, new = (
            [metric(rows.labels, scores, sample_weight=weights) for metric in (average_precision_score, roc_auc_score)]
            for scores in (rows.champion, rows.challenger)
        )
        gains.append(np.subtract(new, old))
    return np.array(gains)


def timed(ask: Callable[[], Answer]) -> tuple[float, Answer]:
    """Seconds that something takes, and its answer."""
    begun = time.perf_counter()
    answer = ask()
    return time.perf_counter() - begun, answer


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sklearn-replicates", type=int, default=60, help="the whole loop, 1000, takes about three minutes")
    asked = parser.parse_args()
    if asked.sklearn_replicates < 2:
        parser.error("--sklearn-replicates: a standard error needs at least 2")
    rows = simulate(seed=1)
    told = [timed(lambda: compare_rankings(*rows, replicates=REPLICATES, seed=2)) for _ in range(RUNS)]
    seconds, ours = min(taken for taken, _ in told), told[0][1][AVERAGE_PRECISION.name]
    print(f"ours, {REPLICATES} replicates  {', '.join(f'{taken:.2f}' for taken, _ in told)} s")

    def by_influence() -> float:
        clusters = Clusters.of(rows.customers, rows.days, rows.labels)
        first, second = (Ranking(rows.labels, scores, clusters) for scores in (rows.champion, rows.challenger))
        return closed_form(first, second, clusters, alpha=0.05)[AVERAGE_PRECISION.name].standard_error

    closed, influence = min(timed(by_influence) for _ in range(RUNS))
    print(f"closed form           {closed:.3f} s")
    taken, gains = timed(lambda: loop(rows, asked.sklearn_replicates, seed=3))
    peer = taken / asked.sklearn_replicates * REPLICATES
    print(f"scikit-learn          {peer:.1f} s, {asked.sklearn_replicates} of {REPLICATES} replicates took {taken:.1f} s")
    print(
        json.dumps(
            {
                "rows": ROWS,
                "positives": int(rows.labels.sum()),
                "seconds": round(seconds, 3),
                "sklearn_seconds": round(peer, 1),
                "vs_sklearn": round(peer / seconds, 1),
                "sklearn_replicates": asked.sklearn_replicates,
                "closed_form_seconds": round(closed, 4),
                "standard_error": round(ours.standard_error, 6),
                "standard_error_influence": round(influence, 6),
                "standard_error_sklearn": round(float(gains[:, 0].std(ddof=1)), 6),
            }
        )
    )


if __name__ == "__main__":
    main()
