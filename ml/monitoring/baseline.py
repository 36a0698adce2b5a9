"""Baseline of each signal from its reference days: mean by weekday, spread of days, scale of means over days.

Example: the scale of a signal grows on days with few rows, because their sampling noise is larger.
    >>> signal = Signal("amount", Kind.LOCATION, Role.FEATURE)
    >>> weekday_means = (0.0,) * 7
    >>> baseline = SignalBaseline(signal, weekday_means, 0.02, 0.012, window=3, rows=1000, row_variance=1 / 12, threshold=4.0)
    >>> baseline.scale_on([1000, 1000, 1000]), round(baseline.scale_on([100, 100, 100]), 4)
    (0.012, 0.0367)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml.monitoring.calibration import WEEK, means_of, scale_of
from ml.monitoring.columns import ROW_VARIANCE, Column
from ml.monitoring.measurements import Kind, Role, Signal
from ml.monitoring.observed import ROWS, DailyProfiles
from ml.monitoring.profile import Counts
from ml.monitoring.shift import Floats

FEWEST_DAYS = 14
"""Fewest reference days of a signal: two of each weekday, to estimate the spread of days."""
SMOOTHED = 3
"""Number of days over which a signal is averaged; a shape is averaged over a week."""
FLOORS = {Kind.LOCATION: 0.002, Kind.SHAPE: 0.01, Kind.MISSING: 0.01, Kind.UNSEEN: 0.01, Kind.VOLUME: 0.02}
"""Smallest scale of a signal, so that a column that never changes does not alarm on an irrelevant change: .7 % of a standard
deviation, a stability index of .0001, an angle of .01 (.2 % of the rows missing instead of none), 2 % of a volume."""
DESIGN_EFFECT = 10
"""Rows of one card or shop are dependent: sampling noise is assumed to be at most that of rows in clusters of ten."""


@dataclass(frozen=True)
class SignalBaseline:
    """The distribution of one signal on the reference days, and its alarm threshold.

    Attributes:
        signal: the signal.
        weekday_means: mean of the value by weekday, Monday first; 0 for a shape, whose value is a distance.
        spread: standard deviation of a day's value.
        scale: standard deviation of the mean over `window` days.
        window: number of days over which the signal is averaged.
        rows: harmonic mean of the rows per reference day; None for a series.
        row_variance: largest contribution of one row to the variance of a value.
        threshold: alarm threshold, in units of the scale.
    """

    signal: Signal
    weekday_means: tuple[float, ...]
    spread: float
    scale: float
    window: int
    rows: float | None
    row_variance: float
    threshold: float

    def scale_on(self, rows: Iterable[float]) -> float:
        """Scale for live days with the given numbers of rows: larger if they have fewer rows than the reference days.

        The variance of a day is D + S / rows. S is unknown; its upper limits are the whole variance of the reference, and the
        variance of rows in clusters of `DESIGN_EFFECT`. The smaller limit is used.
        """
        if self.rows is None:
            return self.scale
        most = min(self.spread**2 * self.rows, DESIGN_EFFECT * self.row_variance)
        excess = sum(max(1 / n - 1 / self.rows, 0) for n in rows if n > 0)
        return float(np.sqrt(self.scale**2 + most * excess / self.window**2))

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON, in which `weekday_means` has the name `usual`."""
        record = asdict(self)
        return record | {"usual": record.pop("weekday_means")}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SignalBaseline:
        """Restore from the record that `to_dict` returned."""
        values = {name: value for name, value in record.items() if name != "usual"}
        names = record["signal"]
        values["signal"] = Signal(names["name"], Kind(names["kind"]), Role(names["role"]))
        return cls(**values, weekday_means=tuple(record["usual"]))


@dataclass(frozen=True, eq=False)
class History:
    """Values of one signal on the reference days.

    Attributes:
        signal: the signal.
        weekday_means: mean of the value by weekday, Monday first.
        residuals: array of shape (n_days,), by calendar day: value minus the mean of its weekday, NaN without data. For a shape
            its distances.
        means: array of shape (n_windows,), mean residual of each window.
        rows: array of shape (n_days_with_data,), rows of each day with data; None for a series.
        row_variance: largest contribution of one row to the variance of a value.
        window: number of days over which the signal is averaged.
    """

    signal: Signal
    weekday_means: tuple[float, ...]
    residuals: Floats
    means: Floats
    rows: Floats | None
    row_variance: float
    window: int

    @property
    def days(self) -> int:
        """Number of days with data."""
        return int(np.count_nonzero(~np.isnan(self.residuals)))

    def baseline(self, rho: float, threshold: float) -> SignalBaseline:
        """The baseline of the signal.

        Args:
            rho: autocorrelation from one day to the next.
            threshold: alarm threshold, in units of the scale.
        """
        floor = FLOORS[self.signal.kind]
        daily, means = self.residuals[:, None], self.means[:, None]
        return SignalBaseline(
            self.signal,
            self.weekday_means,
            spread=float(scale_of(daily, daily, 1, rho)[0]),
            scale=max(float(scale_of(daily, means, self.window, rho)[0]), floor),
            window=self.window,
            rows=None if self.rows is None else float(1 / np.mean(1 / self.rows)),
            row_variance=self.row_variance,
            threshold=threshold,
        )


def histories(reference: DailyProfiles, columns: Mapping[str, Column]) -> Iterator[History]:
    """The histories of all signals that have enough days with values."""
    for role, name, counts in reference.columns():
        for kind in columns[name].kinds:
            signal = Signal(name, kind, role)
            history = (
                _shape(signal, columns[name], counts)
                if kind is Kind.SHAPE
                else _series(signal, reference, columns[name], counts)
            )
            if history.days >= FEWEST_DAYS:
                yield history
    yield _series(Signal(ROWS, Kind.VOLUME, Role.FEED), reference, None, reference.features)
    for name, days in reference.series.items():
        yield _series(Signal(name, Kind.VOLUME, Role.OUTPUT), reference, None, days)


def _series(signal: Signal, reference: DailyProfiles, column: Column | None, days: Iterable[dt.date]) -> History:
    calendar = _calendar(days)
    by_day = [reference.daily(signal, column, day) for day in calendar]
    values, rows = (np.array(part) for part in zip(*by_day, strict=True))
    weekdays = np.array([day.weekday() for day in calendar])
    present = ~np.isnan(values)
    means = [values[present & (weekdays == weekday)] for weekday in range(WEEK)]
    overall = float(np.mean(values[present])) if present.any() else 0.0
    weekday_means = tuple(float(mean.mean()) if len(mean) else overall for mean in means)
    residuals = values - np.array(weekday_means)[weekdays]
    return History(
        signal,
        weekday_means,
        residuals,
        means_of(residuals, SMOOTHED),
        None if column is None else rows[present],
        ROW_VARIANCE.get(signal.kind, 0.0),
        SMOOTHED,
    )


def _shape(signal: Signal, column: Column, counts: Mapping[dt.date, Counts]) -> History:
    calendar = _calendar(counts)
    by_day = [column.stability({day: counts[day]}) if day in counts else (float("nan"), 0.0) for day in calendar]
    index, rows = (np.array(part) for part in zip(*by_day, strict=True))
    weeks = [
        column.stability({day: counts[day] for day in calendar[end - WEEK : end]})[0]
        if all(day in counts for day in calendar[end - WEEK : end])
        else float("nan")
        for end in range(WEEK, len(calendar) + 1)
    ]
    variance = float(column.by_weekday.shape[1] - 1)
    distances, means = np.sqrt(index), np.sqrt(np.array(weeks))
    return History(signal, (0.0,) * WEEK, distances, means, rows[~np.isnan(index)], variance, WEEK)


def _calendar(days: Iterable[dt.date]) -> list[dt.date]:
    first, last = min(days), max(days)
    return [first + dt.timedelta(number) for number in range((last - first).days + 1)]
