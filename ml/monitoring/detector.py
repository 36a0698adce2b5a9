"""Has a day drifted from the champion's reference days? One detector for its features, its score and its alerts.

The replicate is the day, not the row: at a hundred thousand rows a day every difference is significant, and none need matter.
Each signal is therefore measured in units of its own day-to-day spread, without the weekday's mean, over three days (a week
for the shape), and its threshold keeps the false alarms of the whole family at a stated number a year.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import copysign, isfinite, isnan, sin, sqrt
from typing import Any

from ml.monitoring.baseline import FEWEST_DAYS, Baseline, histories
from ml.monitoring.calibration import WEEK, Null, autocorrelation, evidence, threshold
from ml.monitoring.columns import Column
from ml.monitoring.observed import ROWS, Days
from ml.monitoring.readings import Assessment, Kind, Reading, Role, Signal

FEWEST_OF_WEEK = 5
"""Days of a week without which its shape is not judged."""
WANDERING = (Kind.LOCATION, Kind.VOLUME)
"""Kinds that tell the autocorrelation of days; shares of missing and unseen values often are noise, and would dilute it."""
PARTS = {"features": 0.4, "shape": 0.2, "outputs": 0.2, "feed": 0.2}
"""How the false alarms of the family are shared among its parts; within a part, evenly among the signals."""


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
        columns = {name: Column.of(days) for _, name, days in reference.columns()}
        told = list(histories(reference, columns))
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

        Raises:
            ValueError: a profile lacks a column of the reference.
        """
        for role, name, profiles in ((Role.FEATURE, "features", live.features), (Role.OUTPUT, "outputs", live.outputs)):
            watched = {b.signal.name for b in self.baselines if b.signal.role is role and b.signal.name in self.columns}
            for date in (day - dt.timedelta(back) for back in range(WEEK)):
                if date in profiles and not watched <= (counted := profiles[date].counts.keys()):
                    lacking = sorted(watched - counted)
                    raise ValueError(f"the {name} of {date} lack {lacking}; count them with the binning of the reference")
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
            profiles = live.profiles(signal)
            here = {d: profiles[d].counts[signal.name] for d in days if d in profiles and profiles[d].rows}
            enough = day in here and len(here) >= FEWEST_OF_WEEK
            index, rows = self.columns[signal.name].stability(here) if enough else (float("nan"), 0.0)
            if isnan(index):
                return Reading(signal, None, usual, None, baseline.threshold)
            scale = baseline.scale_on([rows / len(here)] * len(here))
            return Reading(signal, index, usual, sqrt(index) / scale, baseline.threshold)
        values = [live.daily(signal, self.columns.get(signal.name), d) for d in days]
        off = [value - baseline.usual[d.weekday()] for d, (value, _) in zip(days, values, strict=True)]
        if isnan(off[0]):
            return Reading(signal, None, _natural(signal, usual), None, baseline.threshold)
        mean = sum(value for value in off if not isnan(value)) / baseline.window
        scale = baseline.scale_on([rows for _, rows in values])
        z = copysign(float(evidence(mean, off[0])), mean) / scale
        return Reading(signal, _natural(signal, values[0][0]), _natural(signal, usual), z, baseline.threshold)


def _check(reference: Days, importance: Mapping[str, float]) -> None:
    profiles = {"features": reference.features} | ({"outputs": reference.outputs} if reference.outputs else {})
    groups = {name: sum(profile.rows > 0 for profile in days.values()) for name, days in profiles.items()}
    groups |= {f"series '{name}'": sum(map(isfinite, days.values())) for name, days in reference.series.items()}
    few = {name: days for name, days in groups.items() if days < FEWEST_DAYS}
    if few:
        raise ValueError(f"reference days: {few}, expected at least {FEWEST_DAYS} of each; wait, or use a longer reference")
    names = [name for _, name, _ in reference.columns()] + [*reference.series, ROWS]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the names {twice} are used twice; '{ROWS}' is the number of rows of the features")
    wrong = {name: weight for name, weight in importance.items() if not weight >= 0}
    if wrong:
        raise ValueError(f"importance {wrong}, expected none below 0")


def _natural(signal: Signal, value: float) -> float:
    """A share from its angle."""
    return sin(value) ** 2 if signal.kind in (Kind.MISSING, Kind.UNSEEN) else value


def _part(signal: Signal) -> str:
    if signal.role is Role.FEED or signal.kind is Kind.MISSING:
        return "feed"
    if signal.role is Role.OUTPUT:
        return "outputs"
    return "shape" if signal.kind is Kind.SHAPE else "features"
