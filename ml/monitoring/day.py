"""What is kept of a monitored day, so that the next one can go on from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.monitoring.detector import FEWEST_OF_WEEK
from ml.monitoring.observed import Days
from ml.monitoring.profile import Counts, Profile
from ml.monitoring.reference import ALERTS
from ml.monitoring.traffic import DAY, SCORE

WEEK = 7


@dataclass(frozen=True, eq=False)
class Day:
    """A day of a champion.

    Attributes:
        features, outputs: profiles of the model's inputs and of its score; alerts: their rate, see `reference.alert_rate`.
        faulty: whether rows were lost or doubled; it is then compared with nothing.
        muted: columns in which a fault shows, of this day or of an earlier one.
        doubts: see `ml.monitoring.faults.Found`.
    """

    features: Profile
    outputs: Profile
    alerts: float
    faulty: bool
    muted: frozenset[str]
    doubts: frozenset[str] = frozenset()

    @property
    def sound(self) -> bool:
        """Whether the champion scored what really happened: nothing of a fault was in its inputs."""
        return not self.faulty and SCORE not in self.muted

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "features": self.features.to_dict(),
            "outputs": self.outputs.to_dict(),
            "alerts": self.alerts,
            "faulty": self.faulty,
            "muted": sorted(self.muted),
            "doubts": sorted(self.doubts),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Day:
        """From what `to_dict` gave, or gave when the model's score was named as a column can be."""
        features, outputs = (Profile.from_dict(told[role]) for role in ("features", "outputs"))
        muted, doubts = (frozenset(told.get(name, ())) for name in ("muted", "doubts"))
        if SCORE not in outputs.counts:
            outputs = Profile(outputs.rows, {SCORE: outputs.counts["score"]})
            muted = frozenset({"score": SCORE, "alerts": ALERTS}.get(name, name) for name in muted)
        return cls(features, outputs, told["alerts"], told["faulty"], muted, doubts)


def comparable(days: Mapping[dt.date, Day]) -> Days:
    """What of the days can be compared with the reference: faulty days are left out, and muted columns are emptied."""
    sound = {day: kept for day, kept in days.items() if not kept.faulty}
    return Days(
        {day: _without(kept.features, kept.muted) for day, kept in sound.items()},
        {day: _without(kept.outputs, kept.muted) for day, kept in sound.items()},
        {ALERTS: {day: kept.alerts for day, kept in sound.items() if ALERTS not in kept.muted}},
    )


def too_few(days: Mapping[dt.date, Day], last: dt.date) -> set[str]:
    """Columns whose shape cannot be judged, because they were muted on too many days of the week up to `last`."""
    week = [days[day] for back in range(WEEK) if (day := last - back * DAY) in days and not days[day].faulty]
    muted = [name for kept in week for name in kept.muted]
    return {name for name in muted if len(week) - muted.count(name) < FEWEST_OF_WEEK}


def _without(profile: Profile, muted: Collection[str]) -> Profile:
    counts = {name: _emptied(of) if name in muted else of for name, of in profile.counts.items()}
    return Profile(profile.rows, counts)


def _emptied(counts: Counts) -> Counts:
    return Counts(np.zeros_like(counts.present), 0, None if counts.unseen is None else 0)
