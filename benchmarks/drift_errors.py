"""How often the drift detector errs: false alarms in years without drift, and planted drifts that it misses or finds late.

1. Years without drift (see `benchmarks.days`): 30 features, two of them text, a score, alerts and the number of rows; 50,000
   rows a day; day effects of .02 to .04 standard deviations with an autocorrelation of .3, weekends a tenth higher. At that
   size a day's effect is several times its rows' sampling noise (.0045), as it is in practice. The detector is fitted on 77
   reference days (the score and the alerts on the last 21 of them) and lives through the next 365 with the states' rules;
   every confirmation of any signal is a false alarm.
2. Drifts planted in those very years, eight starts a year: three of the 30 features move by .15 or .4 standard deviations and
   stay there. Found is the first day on which one of the three is confirmed; the first day of the drift is day 0. A drift
   must be found by day 3 (.15) or by day 1 (.4); the delay is the mean over those found within a week.
3. The same days under rules that are in common use, a false alarm being a day on which any of the 28 numbers is over the rule:
   a Kolmogorov-Smirnov test of the day's rows against all reference rows with p < .05 (from the 256 bins, which makes it the
   gentler), a stability index of the day over ten bins above .2, the day's mean outside mean ± 3 SD of the reference days.
4. CUSUM charts of four measures (average precision, card precision, cost, calibration error), fitted on 21 days, through years
   without a change; and a fall of one of them from .50 to .40 with a standard deviation of .04 a day, that begins within the
   first ninety days and must be found by day 5, the first day of the fall being day 0. Once with independent days, and once
   with days of which each is correlated with its eve by .3.

Keys of the last line: `false_alarms_per_year`, `found_015`, `delay_015_days`, `found_04`, `delay_04_days`, the same under
`ks`, `psi` and `three_sd`; `cusum_false_alarms_per_year`, `cusum_found_5_days`, `cusum_delay_days`, the same under
`correlated`. A key with `_se` is the Monte Carlo standard error of another. `--sensitivity` runs the years in worlds with
wilder, more lasting or heavy-tailed day effects.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstwobign

from benchmarks.days import EDGES, MOVED, NUMBERS, REFERENCE_DAYS, SCORED_DAYS, Floats, Stream, World, effects, stream
from ml.config.monitoring import Monitoring
from ml.monitoring.cusum import ChartState, ControlCharts
from ml.monitoring.detector import Detector
from ml.monitoring.observed import DailyProfiles
from ml.monitoring.profile import Profile
from ml.monitoring.state import DriftState

YEAR = 365
PLANTED = {"015": (0.15, 3), "04": (0.4, 1)}
"""Shift in standard deviations, and the days within which it must be found, by the suffix of the keys."""
STARTS = range(20, YEAR - 10, 43)
HORIZON = 7
MEASURES = ("average precision", "card precision", "expected cost", "calibration error")
FALL = 0.1
CORRELATED = 0.3
WORLDS = [
    World(effect=0.06),
    World(effect=0.015, rows=5_000),
    World(autocorrelation=0.0),
    World(autocorrelation=0.6),
    World(freedom=4.0),
]
Booleans = NDArray[np.bool_]
Rule = Callable[[Profile], Booleans]


@dataclass(frozen=True)
class Year:
    """What happened to one way of watching: false alarms, and the delay of each planted drift, infinite if not found."""

    alarms: int
    delays: Mapping[str, list[float]]


def run(number: int, world: World) -> dict[str, Year]:
    """One year, by the way of watching; ours is ''."""
    rng = np.random.default_rng([20250801, number])
    days = stream(rng, REFERENCE_DAYS + YEAR, world)
    moved = {
        (key, start): [days.moved(rng, REFERENCE_DAYS + start + late, shift) for late in range(HORIZON + 1)]
        for key, (shift, _) in PLANTED.items()
        for start in STARTS
    }
    told = {"": watched(days, moved)}
    for name, rule in rules(days).items():
        profiles = [days.days.features[days.date(REFERENCE_DAYS + late)] for late in range(YEAR)]
        delays: dict[str, list[float]] = {key: [] for key in PLANTED}
        for (key, _), week in moved.items():
            found = [late for late, profile in enumerate(week) if rule(profile)[: len(MOVED)].any()]
            delays[key].append(found[0] if found else np.inf)
        told[name] = Year(sum(bool(rule(profile).any()) for profile in profiles), delays)
    return told


def watched(days: Stream, moved: Mapping[tuple[str, int], list[Profile]]) -> Year:
    """The year as our detector sees it."""
    asked = Monitoring().drift_alarms.value
    detector = Detector.fit(days.reference, dict.fromkeys(NUMBERS, 1.0), false_alarms_per_year=asked)
    states: dict[str, DriftState] = {}
    alarms = 0
    delays: dict[str, list[float]] = {key: [] for key in PLANTED}
    for late in range(YEAR):
        for key in PLANTED:
            if (key, late) in moved:
                delays[key].append(delay(detector, days, late, moved[key, late], states))
        states = detector.assess(days.date(REFERENCE_DAYS + late), days.days).advance(states)
        alarms += sum(state.alarm for state in states.values())
    return Year(alarms, delays)


def delay(detector: Detector, days: Stream, start: int, week: Sequence[Profile], states: dict[str, DriftState]) -> float:
    """Days until one of the moved features is confirmed, when the drift begins after the days that the states have seen."""
    dates = [days.date(REFERENCE_DAYS + start + late) for late in range(len(week))]
    live = DailyProfiles({**days.days.features, **dict(zip(dates, week, strict=True))}, days.days.outputs, days.days.series)
    for late, day in enumerate(dates):
        states = detector.assess(day, live).advance(states)
        if any(state.alarm and name.rpartition(": ")[0] in MOVED for name, state in states.items()):
            return late
    return np.inf


def rules(days: Stream) -> dict[str, Rule]:
    """Rules in common use: each says of a day's profile which of the numbers are over it."""
    reference = np.stack([present(days.days.features[days.date(number)]) for number in range(REFERENCE_DAYS)])
    total = reference.sum(axis=0)
    middle = np.concatenate([[EDGES[0] - 0.35], (EDGES[1:] + EDGES[:-1]) / 2, [EDGES[-1] + 0.35]])
    tenths = np.arange(10) * total.shape[1] // 10
    means = reference @ middle / reference.sum(axis=2)
    usual, spread = means.mean(axis=0), means.std(axis=0, ddof=1)

    def ks(profile: Profile) -> Booleans:
        live = present(profile)
        n, m = live.sum(axis=1), total.sum(axis=1)
        apart = np.abs(live.cumsum(axis=1) / n[:, None] - total.cumsum(axis=1) / m[:, None]).max(axis=1)
        return kstwobign.sf(apart * np.sqrt(n * m / (n + m))) < 0.05

    def psi(profile: Profile) -> Booleans:
        p, q = (np.add.reduceat(counts, tenths, axis=1) for counts in (present(profile), total))
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
        return np.sum((p - q) * np.log(p / q), axis=1) > 0.2

    def three_sd(profile: Profile) -> Booleans:
        live = present(profile)
        return np.abs(live @ middle / live.sum(axis=1) - usual) > 3 * spread

    return {"ks": ks, "psi": psi, "three_sd": three_sd}


def present(profile: Profile) -> Floats:
    """Rows of the numbers by bin, shape (n_numbers, n_bins)."""
    return np.stack([profile.counts[name].present for name in NUMBERS]).astype(np.float64)


def charts(number: int, correlation: float = 0.0) -> tuple[int, float]:
    """False alarms of a year of the four charts, and the delay with which a fall of the first is found."""
    rng = np.random.default_rng([20250802, number])
    values = 0.5 + 0.04 * effects(rng, SCORED_DAYS + YEAR, len(MEASURES), World(autocorrelation=correlation))
    reference = dict(zip(MEASURES, values[:SCORED_DAYS].T.tolist(), strict=True))
    family = ControlCharts.fit(reference, MEASURES[2:], false_alarms_per_year=Monitoring().performance_alarms.value)
    start, dates = int(rng.integers(90)), [dt.date(2025, 1, 6) + dt.timedelta(late) for late in range(YEAR)]
    standings: dict[str, ChartState] = {}
    alarms, found = 0, np.inf
    for late, (day, measured) in enumerate(zip(dates, values[SCORED_DAYS:], strict=True)):
        if late == start:
            chart, fallen = family.charts[MEASURES[0]], standings.get(MEASURES[0], family.charts[MEASURES[0]].reference)
            for after in range(YEAR - start):
                fallen = chart.advance(fallen, dates[start + after], values[SCORED_DAYS + start + after, 0] - FALL)
                if fallen.alarm:
                    found = after
                    break
        standings = family.advance(standings, day, dict(zip(MEASURES, measured.tolist(), strict=True)))
        alarms += sum(standing.alarm for standing in standings.values())
    return alarms, found


def figures(years: Sequence[Year]) -> dict[str, float]:
    """False alarms a year, shares found and mean delays, with their standard errors."""
    told = mean_of("false_alarms_per_year", [year.alarms for year in years])
    for key, (_, within) in PLANTED.items():
        delays = np.array([delay for year in years for delay in year.delays[key]])
        told |= mean_of(f"found_{key}", delays <= within)
        told |= mean_of(f"delay_{key}_days", delays[np.isfinite(delays)])
    return told


def charted(years: Sequence[tuple[int, float]]) -> dict[str, float]:
    """The charts' figures from what `charts` tells of each year."""
    alarms, delays = (np.array(part) for part in zip(*years, strict=True))
    told = mean_of("cusum_false_alarms_per_year", alarms) | mean_of("cusum_found_5_days", delays <= 5)
    return told | mean_of("cusum_delay_days", delays[np.isfinite(delays)])


def mean_of(name: str, values: ArrayLike) -> dict[str, float]:
    """A mean and its standard error; nothing for a mean over nothing."""
    told = np.asarray(values, dtype=np.float64)
    if not len(told):
        return {}
    return {name: round(float(told.mean()), 4), f"{name}_se": round(float(told.std() / np.sqrt(len(told))), 4)}


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift_errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=40, help="simulated years of the detector")
    parser.add_argument("--chart-years", type=int, default=1000, help="simulated years of the charts")
    parser.add_argument("--sensitivity", action="store_true", help="simulate the years in other worlds too")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    begun = time.perf_counter()
    told: dict[str, object] = {}
    with Pool(asked.processes) as pool:
        for world in [World(), *(WORLDS if asked.sensitivity else [])]:
            years = pool.map(partial(run, world=world), range(asked.years), chunksize=1)
            found = {name: figures([year[name] for year in years]) for name in years[0]}
            print(f"{asked.years} years, {world}: {time.perf_counter() - begun:.0f} s", flush=True)
            for name, of_name in found.items():
                print(f"  {name or 'ours':10} {of_name}", flush=True)
            if not told:
                told = {**found.pop(""), **found}
        told |= charted(pool.map(charts, range(asked.chart_years)))
        told["correlated"] = charted(pool.map(partial(charts, correlation=CORRELATED), range(asked.chart_years)))
    print(json.dumps({"years": asked.years, "chart_years": asked.chart_years, **told}))


if __name__ == "__main__":
    main()
