"""Does the model do its work as well as on its reference days? One-sided CUSUM charts of daily performance.

A chart adds up how far each day falls short of the days before, in standard deviations, less an allowance of half of one;
what is below zero is forgotten. A sum over the threshold is an alarm, and the chart begins anew. It finds a lasting change of
two standard deviations in a few days, and a single bad day is forgotten. Days come when their labels have matured.

Two or three weeks of reference days do not tell a mean well enough: if it is too high by a quarter of a standard deviation,
alarm follows alarm. The chart therefore starts itself: it learns on from every day that did not end in an excursion. Those of
an excursion are learnt when the sum is back at zero, and never when it ends in an alarm, so that a slow fall does not teach
the chart.

A bad day is often followed by another one without anything having changed; days that are correlated by .2 would raise four
times as many false alarms. So what a day carries over from its eve is taken out of it first, by the autocorrelation of the
reference days of all charts. Sources: Page 1954; Hawkins 1987, Self-Starting Cusum Charts; Wallace 1959 for Student's t as a
normal number; Alwan and Roberts 1988 for charts of what the eve does not tell.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.monitoring.calibration import pooled_correlation

ALLOWANCE = 0.5
"""In standard deviations: half of the change that is to be found soonest."""
FEWEST_DAYS = 14
MOST_CARRIED = 0.6
"""Autocorrelation that is never exceeded: above it the charts would hardly see a lasting change."""
CHARTS = 4_000
"""Simulated charts, each a year long: a rate of .2 alarms a year is told with an error of a thirtieth."""
YEAR = 365


@dataclass(frozen=True)
class Standing:
    """Where a chart stands after a day.

    Attributes:
        days, mean, squares: learnt so far, of days less what they carry over; squares is the sum of squared deviations.
        day: the last day that was seen; None at the beginning.
        eve: its measure; None where it has none.
        total: the sum, in standard deviations; 0 again after an alarm.
        pending: values of the present excursion, not learnt yet.
        alarm: whether the last day brought the sum over the threshold.
    """

    days: int
    mean: float
    squares: float
    day: dt.date | None = None
    eve: float | None = None
    total: float = 0.0
    pending: tuple[float, ...] = ()
    alarm: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"day": None if self.day is None else self.day.isoformat(), "pending": list(self.pending)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Standing:
        """From what `to_dict` gave."""
        day = None if told["day"] is None else dt.date.fromisoformat(told["day"])
        return cls(**{**told, "day": day, "pending": tuple(told["pending"])})


@dataclass(frozen=True)
class Chart:
    """One measure: its reference days, which way is better, the sum that is an alarm, and what a day carries over."""

    reference: Standing
    higher_is_better: bool
    threshold: float
    autocorrelation: float = 0.0

    def advance(self, standing: Standing, day: dt.date, value: float | None) -> Standing:
        """The chart after one more day.

        Args:
            standing: after the days before; `reference` at the beginning.
            day: later than the last one.
            value: the measure of that day; None where it cannot be told, which leaves the sum as it is.

        Raises:
            ValueError: the day is not later than the last one, or the value is not finite.
        """
        if standing.day is not None and day <= standing.day:
            raise ValueError(f"{day} was to follow {standing.day}: replay the days in their order, each once")
        if value is None:
            return replace(standing, day=day, eve=None, alarm=False)
        if not np.isfinite(value):
            raise ValueError(f"the measure of {day} is {value}, expected a finite number, or None for a day without one")
        own = value - self._carried(standing)
        short = standing.mean - own if self.higher_is_better else own - standing.mean
        total = max(0.0, standing.total + float(_normal(short, standing.days, standing.squares)) - ALLOWANCE)
        if total > self.threshold:
            return replace(standing, day=day, eve=value, total=0.0, pending=(), alarm=True)
        pending = (*standing.pending, own)
        if total > 0:
            return replace(standing, day=day, eve=value, total=total, pending=pending, alarm=False)
        added = np.array(pending)
        days = standing.days + len(added)
        mean = (standing.days * standing.mean + added.sum()) / days
        squares = standing.squares + standing.days * (standing.mean - mean) ** 2 + np.sum((added - mean) ** 2)
        return Standing(days, float(mean), float(squares), day, value)

    def _carried(self, standing: Standing) -> float:
        """What a day carries over from its eve, or from a usual one where that is unknown."""
        usual = standing.mean / (1 - self.autocorrelation)
        return self.autocorrelation * (usual if standing.eve is None else standing.eve)


@dataclass(frozen=True)
class Performance:
    """The charts of a champion, by measure."""

    charts: Mapping[str, Chart]

    @classmethod
    def fit(
        cls,
        reference: Mapping[str, Sequence[float]],
        lower_is_better: Iterable[str] = (),
        *,
        false_alarms_per_year: float,
        seed: int = 0,
    ) -> Performance:
        """Charts whose false alarms come to so many a year in all, however few the reference days.

        Each chart has an even part of them. Days are taken to be normal, and independent but for what one carries over.

        Args:
            reference: by measure, its values on the reference days, at least 14.
            lower_is_better: the measures that are worse when they rise, such as cost.
            seed: of the simulation; the same days and seed give the same thresholds.

        Raises:
            ValueError: too few or constant reference days, not finite values, or an unknown name in `lower_is_better`.
        """
        lower = set(lower_is_better)
        if lower - set(reference):
            raise ValueError(f"lower_is_better names {sorted(lower - set(reference))}; the measures are {sorted(reference)}")
        days = {name: np.asarray(told, dtype=np.float64) for name, told in reference.items()}
        for name, values in days.items():
            if len(values) < FEWEST_DAYS or not np.isfinite(values).all() or not np.ptp(values) > 0:
                raise ValueError(
                    f"measure '{name}' has {len(values)} reference days {values.tolist()}: expected at least {FEWEST_DAYS} "
                    "finite numbers that are not all the same; wait for more labels"
                )
        carried = autocorrelation(list(days.values()))
        charts = {}
        for name, values in days.items():
            own = values - carried * np.concatenate([[values.mean()], values[:-1]])
            learnt = Standing(len(own), float(own.mean()), float(np.sum((own - own.mean()) ** 2)))
            over = threshold(len(own), false_alarms_per_year / len(days), seed=seed)
            charts[name] = Chart(learnt, name not in lower, over, carried)
        return cls(charts)

    def advance(
        self, standings: Mapping[str, Standing], day: dt.date, values: Mapping[str, float | None]
    ) -> dict[str, Standing]:
        """Each chart after one more day, by measure.

        Args:
            standings: after the days before; empty at the beginning.
            values: of the day; a measure that is not among them is unknown that day.
        """
        return {
            name: chart.advance(standings.get(name, chart.reference), day, values.get(name))
            for name, chart in self.charts.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            name: {
                "reference": chart.reference.to_dict(),
                "higher_is_better": chart.higher_is_better,
                "threshold": chart.threshold,
                "autocorrelation": chart.autocorrelation,
            }
            for name, chart in self.charts.items()
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Performance:
        """From what `to_dict` gave."""
        return cls(
            {name: Chart(**{**chart, "reference": Standing.from_dict(chart["reference"])}) for name, chart in told.items()}
        )


def autocorrelation(series: Sequence[NDArray[np.float64]]) -> float:
    """Autocorrelation from one day to the next, pooled over series, from 0 to `MOST_CARRIED`; 0 for no series.

    Few days make it too small by (1 + 3 ρ) / n, which is added (Kendall 1954).

    Args:
        series: by measure, days in their order, not all the same, shape (n_days,).
    """
    if not series:
        return 0.0
    found = pooled_correlation([values - values.mean() for values in series])
    days = float(np.mean([len(values) for values in series]))
    return float(np.clip(found + (1 + 3 * found) / days, 0.0, MOST_CARRIED))


@cache
def threshold(reference_days: int, alarms: float, *, seed: int) -> float:
    """The sum that a chart exceeds so many times a year when nothing changes."""
    rng = np.random.default_rng([seed, reference_days])
    reference = rng.standard_normal((reference_days, CHARTS))
    days = rng.standard_normal((YEAR, CHARTS))
    low, high = 1.0, 50.0
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _alarms(reference, days, middle) / CHARTS > alarms else (low, middle)
    return high


def _alarms(reference: NDArray[np.float64], live: NDArray[np.float64], over: float) -> int:
    """Alarms of many charts in all, arrays of shape (n_days, n_charts); as `Chart.advance` does it for one."""
    days = np.full(reference.shape[1], float(len(reference)))
    mean = reference.mean(axis=0)
    squares = np.sum((reference - mean) ** 2, axis=0)
    total, number = np.zeros_like(mean), 0
    pending = np.zeros((3, len(mean)))
    for values in live:
        total = np.maximum(0.0, total + _normal(mean - values, days, squares) - ALLOWANCE)
        alarm = total > over
        number += int(np.count_nonzero(alarm))
        pending += np.stack([np.ones_like(values), values, values**2])
        learnt = pending * (total == 0)
        more = days + learnt[0]
        new = (days * mean + learnt[1]) / more
        squares += days * mean**2 + learnt[2] - more * new**2
        days, mean = more, new
        pending *= (total > 0) & ~alarm
        total[alarm] = 0.0
    return number


def _normal(short: Any, days: Any, squares: Any) -> Any:
    """A new day's deviation from the mean of so many days as a standard normal number, by way of Student's t."""
    free = days - 1
    t = short / np.sqrt(squares / free * (1 + 1 / days))
    return np.sign(t) * (8 * free + 1) / (8 * free + 3) * np.sqrt(free * np.log1p(t**2 / free))
