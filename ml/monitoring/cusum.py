"""Has the model's performance fallen since its reference days? One-sided, self-starting CUSUM charts of daily metrics.

A chart sums the shortfall of each day against the mean so far, in standard deviations, minus an allowance of half a standard
deviation; a negative sum is set to 0. A sum over the threshold is an alarm, and the chart restarts at 0. A lasting change of
two standard deviations is detected in a few days, and a single bad day decays. A day enters when its labels have matured.

Two or three weeks of reference days do not determine the mean well enough: an error of a quarter of a standard deviation
causes many false alarms. Therefore the chart is self-starting: every day without an excursion updates mean and variance. The
days of an excursion (sum above 0) update them when the sum is back at 0, and never if it ends in an alarm, so that a slow
decline does not become the new normal.

Consecutive days are correlated; with an autocorrelation of .2 there would be four times as many false alarms. So the
part of a value that the day before predicts is subtracted first, by the autocorrelation of the reference days of all charts.

Sources: Page 1954, Continuous Inspection Schemes; Hawkins 1987, Self-Starting Cusum Charts; Wallace 1959 for the transformation
of Student's t to a normal variable; Alwan & Roberts 1988 for charts of the residuals of autocorrelated data.

Example: the reference has mean 0.6; three days at 0.5 raise an alarm, and the sum restarts at 0.
    >>> chart = Chart(ChartState(days=20, mean=0.6, squares=0.02), higher_is_better=True, threshold=5.0)
    >>> state, sums = chart.reference, []
    >>> for number, value in enumerate([0.61, 0.5, 0.5, 0.5], start=1):
    ...     state = chart.advance(state, dt.date(2025, 6, number), value)
    ...     sums.append((round(state.total, 1), state.alarm))
    >>> sums
    [(0.0, False), (2.3, False), (4.5, False), (0.0, True)]
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadInput
from ml.monitoring.calibration import pooled_correlation

ALLOWANCE = 0.5
"""In standard deviations: half of the change that the chart detects fastest."""
FEWEST_DAYS = 14
MOST_CARRIED = 0.6
"""Upper limit of the autocorrelation: above it the charts would hardly detect a lasting change."""
CHARTS = 4_000
"""Simulated charts, each a year long: the relative error of a rate of .2 alarms a year is a thirtieth."""
YEAR = 365


@dataclass(frozen=True)
class ChartState:
    """State of a chart after a day.

    Attributes:
        days, mean, squares: number, mean and sum of squared deviations of the residuals (value minus predicted part) so far.
        day: the last day that was processed; None at the beginning.
        previous_value: the metric on that day; None if it was undefined.
        total: the CUSUM, in standard deviations; 0 after an alarm.
        pending: residuals of the current excursion, which are not in the mean yet.
        alarm: whether the last day raised the sum over the threshold.
    """

    days: int
    mean: float
    squares: float
    day: dt.date | None = None
    previous_value: float | None = None
    total: float = 0.0
    pending: tuple[float, ...] = ()
    alarm: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON, in which `previous_value` has the name `eve`."""
        record = asdict(self) | {"day": None if self.day is None else self.day.isoformat(), "pending": list(self.pending)}
        return record | {"eve": record.pop("previous_value")}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ChartState:
        """Restore from the record that `to_dict` returned."""
        day = None if record["day"] is None else dt.date.fromisoformat(record["day"])
        values = {"previous_value" if name == "eve" else name: value for name, value in record.items()}
        return cls(**{**values, "day": day, "pending": tuple(record["pending"])})


@dataclass(frozen=True)
class Chart:
    """CUSUM chart of one metric.

    Attributes:
        reference: state after the reference days.
        higher_is_better: direction of the metric.
        threshold: sum, in standard deviations, above which an alarm is raised.
        autocorrelation: correlation of a day's metric with that of the day before.
    """

    reference: ChartState
    higher_is_better: bool
    threshold: float
    autocorrelation: float = 0.0

    def advance(self, state: ChartState, day: dt.date, value: float | None) -> ChartState:
        """The state after one more day.

        Args:
            state: state after the days before; `reference` at the beginning.
            day: the day to process, later than the last one.
            value: the metric on that day; None if it is undefined, which leaves the sum unchanged.

        Raises:
            ValueError: the day is not later than the last one, or the value is not finite.
        """
        if state.day is not None and day <= state.day:
            raise BadInput(f"{day} was to follow {state.day}: replay the days in their order, each once")
        if value is None:
            return replace(state, day=day, previous_value=None, alarm=False)
        if not np.isfinite(value):
            raise BadInput(f"the measure of {day} is {value}, expected a finite number, or None for a day without one")
        own = value - self._carried(state)
        short = state.mean - own if self.higher_is_better else own - state.mean
        total = max(0.0, state.total + float(_normal(short, state.days, state.squares)) - ALLOWANCE)
        if total > self.threshold:
            return replace(state, day=day, previous_value=value, total=0.0, pending=(), alarm=True)
        pending = (*state.pending, own)
        if total > 0:
            return replace(state, day=day, previous_value=value, total=total, pending=pending, alarm=False)
        added = np.array(pending)
        days = state.days + len(added)
        mean = (state.days * state.mean + added.sum()) / days
        squares = state.squares + state.days * (state.mean - mean) ** 2 + np.sum((added - mean) ** 2)
        return ChartState(days, float(mean), float(squares), day, value)

    def _carried(self, state: ChartState) -> float:
        """The part of a value that the day before predicts; a day without a value counts as one with the mean value."""
        mean = state.mean / (1 - self.autocorrelation)
        return self.autocorrelation * (mean if state.previous_value is None else state.previous_value)


@dataclass(frozen=True)
class ControlCharts:
    """The CUSUM charts of a champion, by metric."""

    charts: Mapping[str, Chart]

    @classmethod
    def fit(
        cls,
        reference: Mapping[str, Sequence[float]],
        lower_is_better: Iterable[str] = (),
        *,
        false_alarms_per_year: float,
        seed: int = 0,
    ) -> ControlCharts:
        """Charts with the given total number of false alarms a year, for any number of reference days from 14 on.

        All charts have the same rate. Residuals are assumed to be normal and independent.

        Args:
            reference: values of each metric on the reference days, in their order, at least 14.
            lower_is_better: metrics that are worse when they rise, such as cost.
            false_alarms_per_year: rate of false alarms of all charts together.
            seed: seed of the simulation; the same days and seed give the same thresholds.

        Raises:
            ValueError: too few or constant reference days, not finite values, or an unknown name in `lower_is_better`.
        """
        lower = set(lower_is_better)
        if lower - set(reference):
            raise BadInput(f"lower_is_better names {sorted(lower - set(reference))}; the measures are {sorted(reference)}")
        days = {name: np.asarray(values, dtype=np.float64) for name, values in reference.items()}
        for name, values in days.items():
            if len(values) < FEWEST_DAYS or not np.isfinite(values).all() or not np.ptp(values) > 0:
                raise BadInput(
                    f"measure '{name}' has {len(values)} reference days {values.tolist()}: expected at least {FEWEST_DAYS} "
                    "finite numbers that are not all the same; wait for more labels"
                )
        carried = autocorrelation(list(days.values()))
        charts = {}
        for name, values in days.items():
            own = values - carried * np.concatenate([[values.mean()], values[:-1]])
            learnt = ChartState(len(own), float(own.mean()), float(np.sum((own - own.mean()) ** 2)))
            over = chart_threshold(len(own), false_alarms_per_year / len(days), seed=seed)
            charts[name] = Chart(learnt, name not in lower, over, carried)
        return cls(charts)

    def advance(
        self, states: Mapping[str, ChartState], day: dt.date, values: Mapping[str, float | None]
    ) -> dict[str, ChartState]:
        """The state of each chart after one more day, by metric.

        Args:
            states: state of each chart after the days before; empty at the beginning.
            day: the day to process.
            values: the metrics on that day; a missing one counts as undefined.
        """
        return {
            name: chart.advance(states.get(name, chart.reference), day, values.get(name)) for name, chart in self.charts.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
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
    def from_dict(cls, record: Mapping[str, Any]) -> ControlCharts:
        """Restore from the record that `to_dict` returned."""
        return cls(
            {name: Chart(**{**chart, "reference": ChartState.from_dict(chart["reference"])}) for name, chart in record.items()}
        )


def autocorrelation(series: Sequence[NDArray[np.float64]]) -> float:
    """Autocorrelation from one day to the next, pooled over series, from 0 to `MOST_CARRIED`; 0 for no series.

    The bias of -(1 + 3 ρ) / n with n days is corrected (Kendall 1954, Note on bias in the estimation of autocorrelation).

    Args:
        series: one array of shape (n_days,) per metric, in the order of the days, not constant.
    """
    if not series:
        return 0.0
    estimate = pooled_correlation([values - values.mean() for values in series])
    days = float(np.mean([len(values) for values in series]))
    return float(np.clip(estimate + (1 + 3 * estimate) / days, 0.0, MOST_CARRIED))


@cache
def chart_threshold(reference_days: int, alarms_per_year: float, *, seed: int) -> float:
    """The alarm threshold of a chart: the sum that is exceeded `alarms_per_year` times without any change, by simulation."""
    rng = np.random.default_rng([seed, reference_days])
    reference = rng.standard_normal((reference_days, CHARTS))
    days = rng.standard_normal((YEAR, CHARTS))
    low, high = 1.0, 50.0
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _alarms(reference, days, middle) / CHARTS > alarms_per_year else (low, middle)
    return high


def _alarms(reference: NDArray[np.float64], live: NDArray[np.float64], over: float) -> int:
    """Total alarms of many charts, arrays of shape (n_days, n_charts); vectorized equivalent of `Chart.advance`."""
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
    """Deviation of a new day from the mean of `days` days, as a standard normal variable (Student's t, Wallace 1959)."""
    free = days - 1
    t = short / np.sqrt(squares / free * (1 + 1 / days))
    return np.sign(t) * (8 * free + 1) / (8 * free + 3) * np.sqrt(free * np.log1p(t**2 / free))
