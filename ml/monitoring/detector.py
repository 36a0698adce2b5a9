"""Has a day drifted from the champion's reference days? One detector for its features, its score and its alerts.

The replicate is the day, not the row: at a hundred thousand rows a day every difference is significant, and none need matter.
Each signal is therefore measured in units of its own day-to-day spread, without the weekday's mean, over three days (a week
for the shape), and its threshold keeps the false alarms of the whole family at a stated number a year.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ml.monitoring.calibration import WEEK, Null, autocorrelation, evidence, means_of, scale_of, threshold
from ml.monitoring.columns import ROW_VARIANCE, Column
from ml.monitoring.profile import Profile
from ml.monitoring.readings import Assessment, Kind, Reading, Role, Signal
from ml.monitoring.shift import Floats

FEWEST_DAYS = 14
"""Reference days without which there is no detector: of each weekday two, or the spread of days cannot be told."""
SMOOTHED = 3
"""Days over which a signal is averaged; the shape over a week."""
FEWEST_OF_WEEK = 5
"""Days of a week without which its shape is not judged."""
FLOORS = {Kind.LOCATION: 0.002, Kind.SHAPE: 0.01, Kind.MISSING: 0.01, Kind.UNSEEN: 0.01, Kind.VOLUME: 0.02}
"""Least scale of a signal, so that a column that never moves does not alarm over a trifle: .7 % of a standard deviation, a
stability index of .0001, an angle of .01 (from none, .2 % of the rows missing), 2 % of a volume."""
DESIGN_EFFECT = 10
"""Rows of one card or shop are alike; sampling noise is taken to be at most that of rows in bundles of ten."""
WANDERING = (Kind.LOCATION, Kind.VOLUME)
"""Kinds that tell the autocorrelation of days; shares of missing and unseen values often are noise, and would dilute it."""
ROWS = "rows"
PARTS = {"features": 0.4, "shape": 0.2, "outputs": 0.2, "feed": 0.2}
"""How the false alarms of the family are shared among its parts; within a part, evenly among the signals."""


@dataclass(frozen=True)
class Days:
    """What was counted, by day.

    Attributes:
        features: profiles of the model's columns.
        outputs: profiles of what the model gives, its score.
        series: by name, a number a day of what the model gives, for example the logarithm of alerts per row.
    """

    features: Mapping[dt.date, Profile]
    outputs: Mapping[dt.date, Profile] = field(default_factory=dict)
    series: Mapping[str, Mapping[dt.date, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """One signal on reference days.

    Attributes:
        usual: value by weekday, Monday first; 0 for a shape, which is a distance already.
        spread: standard deviation of a day; scale: of the mean over `window` days.
        rows: that a reference day's value rests on (harmonic mean); None for a series.
        row_variance: what one row contributes to a value's variance, at most.
    """

    signal: Signal
    usual: tuple[float, ...]
    spread: float
    scale: float
    window: int
    rows: float | None
    row_variance: float
    threshold: float

    def scale_on(self, rows: Iterable[float]) -> float:
        """Scale for live days of so many rows: wider where they have fewer than the reference days had.

        A day's variance is D + S / rows. S is unknown, but at most what the reference's whole variance allows, and at most
        that of rows in bundles of `DESIGN_EFFECT`; the widening takes the smaller of the two.
        """
        if self.rows is None:
            return self.scale
        most = min(self.spread**2 * self.rows, DESIGN_EFFECT * self.row_variance)
        excess = sum(max(1 / n - 1 / self.rows, 0) for n in rows if n > 0)
        return float(np.sqrt(self.scale**2 + most * excess / self.window**2))


@dataclass(frozen=True)
class Detector:
    """The reference days of a champion, and the thresholds that they give.

    Attributes:
        columns: by name, reference of each column of the features and the outputs.
        importance: of each feature to the model, sum 1.
        autocorrelation: of reference days, pooled over locations and volumes.
        cooldown: days from one confirmation of a signal to the earliest next one.
    """

    columns: Mapping[str, Column]
    baselines: tuple[Baseline, ...]
    importance: Mapping[str, float]
    autocorrelation: float
    cooldown: int

    @classmethod
    def fit(
        cls,
        reference: Days,
        importance: Mapping[str, float],
        *,
        cooldown: int = 14,
        false_alarms_per_year: float = 1.0,
        seed: int = 0,
    ) -> Detector:
        """Learn the reference days and set the thresholds.

        Args:
            reference: days; features, outputs and series may have different ones.
            importance: by feature, not negative, in any unit; a feature that is not named has none.
            cooldown: in days, at least the labels' delay and the window that a retraining would add.
            false_alarms_per_year: of the whole family, when nothing changes.
            seed: of the simulation that sets the thresholds; the same days and seed give the same thresholds.

        Raises:
            ValueError: there are fewer than 14 reference days, names are used twice, or an importance is negative.
        """
        _check(reference, importance)
        columns = {name: Column.of(days) for _, name, days in _counts(reference)}
        told = list(_histories(reference, columns))
        rho = autocorrelation([h.residuals for h in told if h.signal.kind in WANDERING], seed=seed)
        parts = [_part(history.signal) for history in told]
        shares = {part: share for part, share in PARTS.items() if part in parts}
        baselines = []
        for history, part in zip(told, parts, strict=True):
            alarms = false_alarms_per_year * shares[part] / sum(shares.values()) / parts.count(part)
            null = Null(history.window, history.days // WEEK * WEEK, rho, history.signal.kind is not Kind.SHAPE)
            baselines.append(history.baseline(rho, threshold(null, alarms, cooldown=cooldown, seed=seed)))
        total = sum(importance.values())
        weights = {name: weight / total if total else 0.0 for name, weight in importance.items()}
        return cls(columns, tuple(baselines), weights, rho, cooldown)

    def assess(self, day: dt.date, live: Days) -> Assessment:
        """All signals of a day.

        Args:
            day: that is judged.
            live: profiles and series of the last seven days up to it; others are left aside, missing ones are no evidence.
        """
        readings = tuple(self._reading(baseline, day, live) for baseline in self.baselines)
        return Assessment(day, readings, self.importance, self.cooldown)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
            "baselines": [asdict(baseline) for baseline in self.baselines],
            "importance": dict(self.importance),
            "autocorrelation": self.autocorrelation,
            "cooldown": self.cooldown,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Detector:
        """From what `to_dict` gave."""
        baselines = []
        for baseline in told["baselines"]:
            names = baseline["signal"]
            signal = Signal(names["name"], Kind(names["kind"]), Role(names["role"]))
            baselines.append(Baseline(**{**baseline, "signal": signal, "usual": tuple(baseline["usual"])}))
        columns = {name: Column.from_dict(column) for name, column in told["columns"].items()}
        return cls(columns, tuple(baselines), told["importance"], told["autocorrelation"], told["cooldown"])

    def _reading(self, baseline: Baseline, day: dt.date, live: Days) -> Reading:
        signal = baseline.signal
        days = [day - dt.timedelta(back) for back in range(baseline.window)]
        usual = baseline.usual[day.weekday()]
        if signal.kind is Kind.SHAPE:
            profiles = _profiles(live, signal)
            here = {d: profiles[d].counts[signal.name] for d in days if d in profiles and profiles[d].rows}
            enough = day in here and len(here) >= FEWEST_OF_WEEK
            index, rows = self.columns[signal.name].stability(here) if enough else (float("nan"), 0.0)
            if np.isnan(index):
                return Reading(signal, None, usual, None, baseline.threshold)
            scale = baseline.scale_on([rows / len(here)] * len(here))
            return Reading(signal, index, usual, float(np.sqrt(index)) / scale, baseline.threshold)
        values = [_daily(live, signal, self.columns.get(signal.name), d) for d in days]
        off = [value - baseline.usual[d.weekday()] for d, (value, _) in zip(days, values, strict=True)]
        if np.isnan(off[0]):
            return Reading(signal, None, _natural(signal, usual), None, baseline.threshold)
        mean = float(np.nansum(off)) / baseline.window
        scale = baseline.scale_on([rows for _, rows in values])
        z = float(np.sign(mean) * evidence(mean, off[0])) / scale
        return Reading(signal, _natural(signal, values[0][0]), _natural(signal, usual), z, baseline.threshold)


@dataclass(frozen=True, eq=False)
class _History:
    """One signal on the reference days.

    Attributes:
        usual: by weekday.
        residuals: by calendar day from the first to the last, NaN without data; distances for a shape.
        means: of windows, likewise.
        rows: of the days that have data.
    """

    signal: Signal
    usual: tuple[float, ...]
    residuals: Floats
    means: Floats
    rows: Floats | None
    row_variance: float
    window: int

    @property
    def days(self) -> int:
        return int(np.count_nonzero(~np.isnan(self.residuals)))

    def baseline(self, rho: float, over: float) -> Baseline:
        floor = FLOORS[self.signal.kind]
        daily, means = self.residuals[:, None], self.means[:, None]
        return Baseline(
            self.signal,
            self.usual,
            spread=float(scale_of(daily, daily, 1, rho)[0]),
            scale=max(float(scale_of(daily, means, self.window, rho)[0]), floor),
            window=self.window,
            rows=None if self.rows is None else float(1 / np.mean(1 / self.rows)),
            row_variance=self.row_variance,
            threshold=over,
        )


def _check(reference: Days, importance: Mapping[str, float]) -> None:
    groups = {"features": len(reference.features)}
    groups |= {"outputs": len(reference.outputs)} if reference.outputs else {}
    groups |= {f"series '{name}'": len(days) for name, days in reference.series.items()}
    few = {name: days for name, days in groups.items() if days < FEWEST_DAYS}
    if few:
        raise ValueError(f"reference days: {few}, expected at least {FEWEST_DAYS} of each; wait, or use a longer reference")
    names = [name for _, name, _ in _counts(reference)] + [*reference.series, ROWS]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the names {twice} are used twice; '{ROWS}' is the number of rows of the features")
    wrong = {name: weight for name, weight in importance.items() if not weight >= 0}
    if wrong:
        raise ValueError(f"importance {wrong}, expected none below 0")


def _counts(reference: Days) -> Iterator[tuple[Role, str, dict[dt.date, Any]]]:
    """Role, name and counts by day of each column."""
    for role, profiles in ((Role.FEATURE, reference.features), (Role.OUTPUT, reference.outputs)):
        days = {day: profiles[day] for day in sorted(profiles) if profiles[day].rows}
        for name in next(iter(days.values())).counts if days else ():
            yield role, name, {day: profile.counts[name] for day, profile in days.items()}


def _histories(reference: Days, columns: Mapping[str, Column]) -> Iterator[_History]:
    """All signals that have enough days with values."""
    for role, name, counts in _counts(reference):
        for kind in columns[name].kinds:
            signal = Signal(name, kind, role)
            made = (
                _shape(signal, columns[name], counts)
                if kind is Kind.SHAPE
                else _series(signal, reference, columns[name], counts)
            )
            if made.days >= FEWEST_DAYS:
                yield made
    yield _series(Signal(ROWS, Kind.VOLUME, Role.FEED), reference, None, reference.features)
    for name, days in reference.series.items():
        yield _series(Signal(name, Kind.VOLUME, Role.OUTPUT), reference, None, days)


def _series(signal: Signal, reference: Days, column: Column | None, days: Iterable[dt.date]) -> _History:
    calendar = _calendar(days)
    told = [_daily(reference, signal, column, day) for day in calendar]
    values, rows = (np.array(part) for part in zip(*told, strict=True))
    weekdays = np.array([day.weekday() for day in calendar])
    present = ~np.isnan(values)
    means = [values[present & (weekdays == weekday)] for weekday in range(WEEK)]
    overall = float(np.mean(values[present])) if present.any() else 0.0
    usual = tuple(float(mean.mean()) if len(mean) else overall for mean in means)
    residuals = values - np.array(usual)[weekdays]
    return _History(
        signal,
        usual,
        residuals,
        means_of(residuals, SMOOTHED),
        None if column is None else rows[present],
        ROW_VARIANCE.get(signal.kind, 0.0),
        SMOOTHED,
    )


def _shape(signal: Signal, column: Column, counts: Mapping[dt.date, Any]) -> _History:
    calendar = _calendar(counts)
    told = [column.stability({day: counts[day]}) if day in counts else (float("nan"), 0.0) for day in calendar]
    index, rows = (np.array(part) for part in zip(*told, strict=True))
    weeks = [
        column.stability({day: counts[day] for day in calendar[end - WEEK : end]})[0]
        if all(day in counts for day in calendar[end - WEEK : end])
        else float("nan")
        for end in range(WEEK, len(calendar) + 1)
    ]
    variance = float(column.by_weekday.shape[1] - 1)
    distances, means = np.sqrt(index), np.sqrt(np.array(weeks))
    return _History(signal, (0.0,) * WEEK, distances, means, rows[~np.isnan(index)], variance, WEEK)


def _calendar(days: Iterable[dt.date]) -> list[dt.date]:
    first, last = min(days), max(days)
    return [first + dt.timedelta(number) for number in range((last - first).days + 1)]


def _daily(days: Days, signal: Signal, column: Column | None, day: dt.date) -> tuple[float, float]:
    """Value and rows of a signal on a day; NaN and 0 without data."""
    if column is None and signal.role is Role.OUTPUT:
        return float(days.series.get(signal.name, {}).get(day, np.nan)), 0.0
    profile = _profiles(days, signal).get(day)
    if profile is None or not profile.rows:
        return float("nan"), 0.0
    return (float(np.log(profile.rows)), 0.0) if column is None else column.daily(signal.kind, profile.counts[signal.name])


def _profiles(days: Days, signal: Signal) -> Mapping[dt.date, Profile]:
    return days.outputs if signal.role is Role.OUTPUT else days.features


def _natural(signal: Signal, value: float) -> float:
    """A share from its angle."""
    return float(np.sin(value) ** 2) if signal.kind in (Kind.MISSING, Kind.UNSEEN) else value


def _part(signal: Signal) -> str:
    if signal.role is Role.FEED or signal.kind is Kind.MISSING:
        return "feed"
    if signal.role is Role.OUTPUT:
        return "outputs"
    return "shape" if signal.kind is Kind.SHAPE else "features"
