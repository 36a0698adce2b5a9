"""Drift detector: has a day drifted from the champion's reference days, in its features, its score or its alerts?

The replicate is the day, not the row: with a hundred thousand rows a day every difference is significant, even an irrelevant
one. So each signal is measured against its own spread between days: deviation from the weekday's mean, averaged over three days
(a week for the shape), divided by its scale. The thresholds limit the false alarms of all signals together to a stated number a
year (`ml.monitoring.calibration`).

Example: the number of rows, usually 1000, on a usual day and on a day with half of it.
    >>> from math import log
    >>> from ml.monitoring.profile import Profile
    >>> means = (log(1000),) * 7
    >>> baseline = SignalBaseline(Signal(ROWS, Kind.VOLUME, Role.FEED), means, 0.02, 0.02, 3, None, 0.0, threshold=4.0)
    >>> detector = Detector({}, (baseline,), importance={}, autocorrelation=0.0, cooldown=14)
    >>> monday = dt.date(2025, 6, 2)
    >>> for rows in (1000, 500):
    ...     live = DailyProfiles({monday - dt.timedelta(back): Profile(rows, {}) for back in range(7)})
    ...     print(round(detector.assess(monday, live).measurements[0].z, 1))
    0.0
    -34.7
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from math import copysign, isfinite, isnan, sin, sqrt
from typing import Any

from ml.errors import BadInput
from ml.monitoring.baseline import FEWEST_DAYS, SignalBaseline, histories
from ml.monitoring.calibration import WEEK, Null, autocorrelation, drift_threshold, evidence
from ml.monitoring.columns import Column
from ml.monitoring.measurements import Assessment, Kind, Measurement, Role, Signal
from ml.monitoring.observed import ROWS, DailyProfiles

FEWEST_OF_WEEK = 5
"""Fewest days of a week with data for its shape to be measured."""
AUTOCORRELATED_KINDS = (Kind.LOCATION, Kind.VOLUME)
"""Kinds from which the autocorrelation is estimated; shares of missing and unseen values are noise and would lower it."""
PARTS = {"features": 0.4, "shape": 0.2, "outputs": 0.2, "feed": 0.2}
"""Share of the false alarms of each part of the family; within a part, all signals have the same share."""


@dataclass(frozen=True)
class Detector:
    """Baselines and thresholds of all signals of a champion.

    Attributes:
        columns: reference counts of each column of the features and the outputs, by name.
        baselines: baselines of all signals.
        importance: importance of each feature to the model, sum 1.
        autocorrelation: correlation of a reference day with the day before, pooled over locations and volumes.
        cooldown: days from one confirmation of a signal to the earliest next one.
    """

    columns: Mapping[str, Column]
    baselines: tuple[SignalBaseline, ...]
    importance: Mapping[str, float]
    autocorrelation: float
    cooldown: int

    @classmethod
    def fit(
        cls,
        reference: DailyProfiles,
        importance: Mapping[str, float],
        *,
        cooldown: int = 14,
        false_alarms_per_year: float = 1.0,
        seed: int = 0,
    ) -> Detector:
        """Estimate the baselines from reference days and set the thresholds.

        Args:
            reference: features, outputs and series of the reference days; each may have different days.
            importance: importance of each feature, not negative, in any unit; a missing feature has importance 0.
            cooldown: days from one confirmation of a signal to the earliest next one: at least the label delay and the window
                that a retraining would add.
            false_alarms_per_year: rate of false alarms of all signals together, without any change.
            seed: seed of the simulation that sets the thresholds; the same days and seed give the same thresholds.

        Raises:
            ValueError: there are fewer than 14 reference days, a name is used twice, or an importance is negative.
        """
        _check(reference, importance)
        columns = {name: Column.of(days) for _, name, days in reference.columns()}
        of_signals = list(histories(reference, columns))
        rho = autocorrelation([h.residuals for h in of_signals if h.signal.kind in AUTOCORRELATED_KINDS], seed=seed)
        parts = [_part(history.signal) for history in of_signals]
        shares = {part: share for part, share in PARTS.items() if part in parts}
        baselines = []
        for history, part in zip(of_signals, parts, strict=True):
            alarms = false_alarms_per_year * shares[part] / sum(shares.values()) / parts.count(part)
            null = Null(history.window, history.days // WEEK * WEEK, rho, history.signal.kind is not Kind.SHAPE)
            baselines.append(history.baseline(rho, drift_threshold(null, alarms, cooldown=cooldown, seed=seed)))
        total = sum(importance.values())
        weights = {name: weight / total if total else 0.0 for name, weight in importance.items()}
        return cls(columns, tuple(baselines), weights, rho, cooldown)

    def assess(self, day: dt.date, live: DailyProfiles) -> Assessment:
        """Measure all signals of a day.

        Args:
            day: the day to assess.
            live: profiles and series of the seven days up to it; other days are ignored, missing days are no evidence.

        Raises:
            ValueError: a profile lacks a column of the reference.
        """
        for role, name, profiles in ((Role.FEATURE, "features", live.features), (Role.OUTPUT, "outputs", live.outputs)):
            watched = {b.signal.name for b in self.baselines if b.signal.role is role and b.signal.name in self.columns}
            for date in (day - dt.timedelta(back) for back in range(WEEK)):
                if date in profiles and not watched <= (counted := profiles[date].counts.keys()):
                    lacking = sorted(watched - counted)
                    raise BadInput(f"the {name} of {date} lack {lacking}; count them with the binning of the reference")
        measurements = tuple(self._measure(baseline, day, live) for baseline in self.baselines)
        return Assessment(day, measurements, self.importance, self.cooldown)

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON."""
        return {
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
            "baselines": [baseline.to_dict() for baseline in self.baselines],
            "importance": dict(self.importance),
            "autocorrelation": self.autocorrelation,
            "cooldown": self.cooldown,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Detector:
        """Restore from the record that `to_dict` returned."""
        baselines = tuple(SignalBaseline.from_dict(baseline) for baseline in record["baselines"])
        columns = {name: Column.from_dict(column) for name, column in record["columns"].items()}
        return cls(columns, baselines, record["importance"], record["autocorrelation"], record["cooldown"])

    def _measure(self, baseline: SignalBaseline, day: dt.date, live: DailyProfiles) -> Measurement:
        signal = baseline.signal
        days = [day - dt.timedelta(back) for back in range(baseline.window)]
        expected = baseline.weekday_means[day.weekday()]
        if signal.kind is Kind.SHAPE:
            profiles = live.profiles(signal)
            here = {d: profiles[d].counts[signal.name] for d in days if d in profiles and profiles[d].rows}
            enough = day in here and len(here) >= FEWEST_OF_WEEK
            index, rows = self.columns[signal.name].stability(here) if enough else (float("nan"), 0.0)
            if isnan(index):
                return Measurement(signal, None, expected, None, baseline.threshold)
            scale = baseline.scale_on([rows / len(here)] * len(here))
            return Measurement(signal, index, expected, sqrt(index) / scale, baseline.threshold)
        values = [live.daily(signal, self.columns.get(signal.name), d) for d in days]
        off = [value - baseline.weekday_means[d.weekday()] for d, (value, _) in zip(days, values, strict=True)]
        if isnan(off[0]):
            return Measurement(signal, None, _natural(signal, expected), None, baseline.threshold)
        mean = sum(value for value in off if not isnan(value)) / baseline.window
        scale = baseline.scale_on([rows for _, rows in values])
        z = copysign(float(evidence(mean, off[0])), mean) / scale
        return Measurement(signal, _natural(signal, values[0][0]), _natural(signal, expected), z, baseline.threshold)


def _check(reference: DailyProfiles, importance: Mapping[str, float]) -> None:
    profiles = {"features": reference.features} | ({"outputs": reference.outputs} if reference.outputs else {})
    groups = {name: sum(profile.rows > 0 for profile in days.values()) for name, days in profiles.items()}
    groups |= {f"series '{name}'": sum(map(isfinite, days.values())) for name, days in reference.series.items()}
    few = {name: days for name, days in groups.items() if days < FEWEST_DAYS}
    if few:
        raise BadInput(f"reference days: {few}, expected at least {FEWEST_DAYS} of each; wait, or use a longer reference")
    names = [name for _, name, _ in reference.columns()] + [*reference.series, ROWS]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"the names {twice} are used twice; '{ROWS}' is the number of rows of the features")
    wrong = {name: weight for name, weight in importance.items() if not weight >= 0}
    if wrong:
        raise BadInput(f"importance {wrong}, expected none below 0")


def _natural(signal: Signal, value: float) -> float:
    """The value in its natural unit: a share instead of its angle."""
    return sin(value) ** 2 if signal.kind in (Kind.MISSING, Kind.UNSEEN) else value


def _part(signal: Signal) -> str:
    if signal.role is Role.FEED or signal.kind is Kind.MISSING:
        return "feed"
    if signal.role is Role.OUTPUT:
        return "outputs"
    return "shape" if signal.kind is Kind.SHAPE else "features"
