"""The record of a monitored day that later days need."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.monitoring.detector import FEWEST_OF_WEEK
from ml.monitoring.observed import DailyProfiles
from ml.monitoring.profile import Counts, Profile
from ml.monitoring.reference import ALERTS
from ml.monitoring.traffic import DAY, SCORE

WEEK = 7


@dataclass(frozen=True, eq=False)
class MonitoredDay:
    """Profiles and faults of one day of a champion.

    Attributes:
        features: profile of the model's inputs.
        outputs: profile of the model's score.
        log_alert_rate: logarithm of the share of alerted rows, see `ml.monitoring.reference.log_alert_rate`.
        faulty: whether rows were lost or duplicated; such a day is not assessed.
        muted: columns that a fault of this day or of an earlier one affects.
        doubts: suspicions of a fault, which the next day can confirm.
    """

    features: Profile
    outputs: Profile
    log_alert_rate: float
    faulty: bool
    muted: frozenset[str]
    doubts: frozenset[str] = frozenset()

    @property
    def sound(self) -> bool:
        """Whether no fault affected the inputs of the champion."""
        return not self.faulty and SCORE not in self.muted

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON, in which `log_alert_rate` has the name `alerts`."""
        return {
            "features": self.features.to_dict(),
            "outputs": self.outputs.to_dict(),
            "alerts": self.log_alert_rate,
            "faulty": self.faulty,
            "muted": sorted(self.muted),
            "doubts": sorted(self.doubts),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> MonitoredDay:
        """Restore from the record that `to_dict` returned; in older records the score has the name `score`."""
        features, outputs = (Profile.from_dict(record[role]) for role in ("features", "outputs"))
        muted, doubts = (frozenset(record.get(name, ())) for name in ("muted", "doubts"))
        if SCORE not in outputs.counts:
            outputs = Profile(outputs.rows, {SCORE: outputs.counts["score"]})
            muted = frozenset({"score": SCORE, "alerts": ALERTS}.get(name, name) for name in muted)
        return cls(features, outputs, record["alerts"], record["faulty"], muted, doubts)


def comparable(days: Mapping[dt.date, MonitoredDay]) -> DailyProfiles:
    """The days for the comparison with the reference: without faulty days, and with empty counts for muted columns."""
    sound = {day: kept for day, kept in days.items() if not kept.faulty}
    return DailyProfiles(
        {day: _without(kept.features, kept.muted) for day, kept in sound.items()},
        {day: _without(kept.outputs, kept.muted) for day, kept in sound.items()},
        {ALERTS: {day: kept.log_alert_rate for day, kept in sound.items() if ALERTS not in kept.muted}},
    )


def too_few(days: Mapping[dt.date, MonitoredDay], last: dt.date) -> set[str]:
    """Columns whose shape cannot be measured, because they were muted on too many days of the week up to `last`."""
    week = [days[day] for back in range(WEEK) if (day := last - back * DAY) in days and not days[day].faulty]
    muted = [name for kept in week for name in kept.muted]
    return {name for name in muted if len(week) - muted.count(name) < FEWEST_OF_WEEK}


def _without(profile: Profile, muted: Collection[str]) -> Profile:
    counts = {name: _emptied(of) if name in muted else of for name, of in profile.counts.items()}
    return Profile(profile.rows, counts)


def _emptied(counts: Counts) -> Counts:
    return Counts(np.zeros_like(counts.present), 0, None if counts.unseen is None else 0)
