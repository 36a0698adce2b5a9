"""Profiles and series by day, and the value of one signal on one day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import log, nan

from ml.monitoring.columns import Column
from ml.monitoring.measurements import Role, Signal
from ml.monitoring.profile import Counts, Profile

ROWS = "event rows"
"""Name of the series that is the number of rows of the features."""


@dataclass(frozen=True)
class DailyProfiles:
    """Profiles and series by day.

    Attributes:
        features: profile of the model's columns on each day.
        outputs: profile of the model's score on each day.
        series: by name, one number a day computed from the model's outputs, for example the logarithm of alerts per row.
    """

    features: Mapping[dt.date, Profile]
    outputs: Mapping[dt.date, Profile] = field(default_factory=dict)
    series: Mapping[str, Mapping[dt.date, float]] = field(default_factory=dict)

    def profiles(self, signal: Signal) -> Mapping[dt.date, Profile]:
        """Profiles that hold the signal's column."""
        return self.outputs if signal.role is Role.OUTPUT else self.features

    def columns(self) -> Iterator[tuple[Role, str, dict[dt.date, Counts]]]:
        """Role, name and counts by day of each column; days without rows are left out."""
        for role, profiles in ((Role.FEATURE, self.features), (Role.OUTPUT, self.outputs)):
            days = {day: profiles[day] for day in sorted(profiles) if profiles[day].rows}
            for name in next(iter(days.values())).counts if days else ():
                yield role, name, {day: profile.counts[name] for day, profile in days.items()}

    def daily(self, signal: Signal, column: Column | None, day: dt.date) -> tuple[float, float]:
        """Value of a signal on a day and the number of rows behind it, 0 for a series; NaN and 0 without data."""
        if column is None and signal.role is Role.OUTPUT:
            return float(self.series.get(signal.name, {}).get(day, nan)), 0.0
        profile = self.profiles(signal).get(day)
        if profile is None or not profile.rows:
            return nan, 0.0
        return (log(profile.rows), 0.0) if column is None else column.daily(signal.kind, profile.counts[signal.name])
