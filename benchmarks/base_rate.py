"""Charts of performance in a world whose base rate moves from day to day, or with the season, and nothing else does.

A champion separates positives from negatives as well as on its reference days (two normal distributions, 1,600 rows a day, an
average precision of about .6 at the usual base rate); it is not told of the base rate, so that its scores do not follow it.

- `daily`: a day's base rate lies between 1 % and 50 %, half of its log-odds carried over from its eve.
- `season`: 34 % on the reference days, 3 % half a year later, and back.

All charts of the deployment run through years without a loss, and each alarm of any of them is a false one. Then the champion
loses what takes average precision from .6 to about .5, from the first day on. The last line is one JSON object: false alarms a
year, and the share of the losses that are found within ten days, by world.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
from functools import partial
from multiprocessing import Pool

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr

from benchmarks.days import Floats
from ml.config import PROJECT, Config, load
from ml.monitoring import performance
from ml.monitoring.cusum import ChartState
from ml.monitoring.performance import DayMetric
from ml.monitoring.reference import charted_means, charts_of
from ml.monitoring.traffic import SCORE

ROWS, REFERENCE_DAYS, YEAR, WITHIN = 1_600, 21, 365, 10
APART, LOST = 1.6, 1.3
"""Distance of the positives from the negatives in standard deviations, before and after the loss."""
WORLDS = ("daily", "season")
FIRST = dt.date(2025, 1, 1)


def rates(rng: np.random.Generator, days: int, world: str) -> Floats:
    """Base rate of each day."""
    if world == "season":
        return 0.34 * np.exp(-1.2 * (1 - np.cos(2 * np.pi * np.arange(days) / YEAR)))
    told = rng.standard_normal(days)
    for day in range(1, days):
        told[day] = 0.5 * told[day - 1] + math.sqrt(0.75) * told[day]
    low, high = logit(0.01), logit(0.5)
    return np.asarray(expit(low + (high - low) * ndtr(told)))


def rows_of(rng: np.random.Generator, rate: float, usual: float, apart: float) -> tuple[pd.DataFrame, performance.Labels]:
    """A day's rows with the scores of a champion that takes the usual base rate for granted, and their labels."""
    labels = (rng.random(ROWS) < rate).astype(np.int64)
    seen = rng.standard_normal(ROWS) + apart * labels
    scores = expit(APART * seen - APART**2 / 2 + logit(usual))
    return pd.DataFrame({"customer_id": np.arange(ROWS), "amount": 10.0, SCORE: scores}), labels


def year(number: int, config: Config, world: str, lost: bool, days: int = YEAR) -> tuple[int, float]:
    """Alarms of all charts in so many days, and the first day with one, infinite if there is none."""
    rng = np.random.default_rng([20250901, number])
    of_day = rates(rng, REFERENCE_DAYS + days, world)
    usual = float(of_day[:REFERENCE_DAYS].mean())
    before = [rows_of(rng, rate, usual, APART) for rate in of_day[:REFERENCE_DAYS]]
    against = performance.reference_rates([labels for _, labels in before])
    measured = {FIRST + dt.timedelta(day): performance.measured(config, 0.5, against, *told) for day, told in enumerate(before)}
    charts, means = charts_of(config, measured), charted_means(measured)
    standings: dict[str, ChartState] = {}
    alarms, first = 0, math.inf
    for late, rate in enumerate(of_day[REFERENCE_DAYS:]):
        told = performance.measured(config, 0.5, against, *rows_of(rng, rate, usual, LOST if lost else APART))
        charted = {name: _charted(told[name], means[name]) for name in charts.charts}
        standings = charts.advance(standings, FIRST + dt.timedelta(REFERENCE_DAYS + late), charted)
        raised = sum(standing.alarm for standing in standings.values())
        alarms += raised
        first = min(first, late) if raised else first
    return alarms, first


def _charted(metric: DayMetric | None, mean: float) -> float | None:
    return None if metric is None else metric.shrunk(mean).charted


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.base_rate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    config, told = load(PROJECT / "config" / "demo.yaml"), {}
    with Pool(asked.processes) as pool:
        for world in WORLDS:
            still = pool.map(partial(year, config=config, world=world, lost=False), range(asked.years))
            fallen = pool.map(partial(year, config=config, world=world, lost=True, days=WITHIN + 1), range(asked.years))
            told[world] = {
                "false_alarms_per_year": round(float(np.mean([alarms for alarms, _ in still])), 3),
                "found_10_days": round(float(np.mean([first <= WITHIN for _, first in fallen])), 3),
            }
    print(json.dumps({"years": asked.years, **told}))


if __name__ == "__main__":
    main()
