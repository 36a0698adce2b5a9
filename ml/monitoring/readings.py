"""What a day says, signal by signal, and how much of it is a reason to train again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ml.monitoring.state import Phase, State, advance

FULL_EXCESS = 1.0
"""Excess over the threshold beyond which a feature counts no further, so that one of little importance never counts much."""


class Kind(StrEnum):
    """What of a column, or of a series, is watched."""

    LOCATION = "location"
    SHAPE = "shape"
    MISSING = "missing"
    UNSEEN = "unseen"
    VOLUME = "volume"


class Role(StrEnum):
    """Whose signal it is: what the model reads, what it gives, or what only tells of the feed."""

    FEATURE = "feature"
    OUTPUT = "output"
    FEED = "feed"


@dataclass(frozen=True)
class Signal:
    """One thing that is watched."""

    name: str
    kind: Kind
    role: Role

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Reading:
    """One signal on one day.

    Attributes:
        value: in the kind's unit: a shift of mean rank, a stability index over a week, a share, or the logarithm that was
            given; None without data.
        usual: the same on such a weekday in the reference.
        z: deviation over the last days in units of its scale; at most twice what the last day says. None without data.
        threshold: size of z over which the signal is exceeded.
    """

    signal: Signal
    value: float | None
    usual: float
    z: float | None
    threshold: float

    @property
    def ratio(self) -> float | None:
        """Size of z over the threshold."""
        return None if self.z is None else abs(self.z) / self.threshold


@dataclass(frozen=True)
class Assessment:
    """All signals of one day.

    Attributes:
        importance: of each feature to the model, sum 1.
    """

    day: dt.date
    readings: tuple[Reading, ...]
    importance: Mapping[str, float]
    cooldown: int

    @property
    def severity(self) -> float:
        """Σ importance · excess over the threshold, over the features; at most 1."""
        excess: dict[str, float] = {}
        for reading in self.readings:
            name = reading.signal.name
            if reading.signal.role is Role.FEATURE and reading.signal.kind is not Kind.MISSING and reading.ratio is not None:
                excess[name] = max(excess.get(name, 0.0), min(reading.ratio - 1, FULL_EXCESS))
        return sum(self.importance.get(name, 0.0) * over for name, over in excess.items())

    def advance(self, states: Mapping[str, State]) -> dict[str, State]:
        """Each signal's state after this day, by `str(signal)`."""
        return {
            str(reading.signal): advance(
                states.get(str(reading.signal), State()), self.day, reading.ratio, cooldown=self.cooldown
            )
            for reading in self.readings
        }

    def confirmed(self, states: Mapping[str, State]) -> Assessment:
        """The signals that may ask for a training and are confirmed; missing values and the number of rows never do.

        Args:
            states: after this day.
        """
        return replace(
            self,
            readings=tuple(
                r
                for r in self.readings
                if states[str(r.signal)].phase is Phase.CONFIRMED
                and r.signal.kind is not Kind.MISSING
                and r.signal.role is not Role.FEED
            ),
        )

    def asks(self, severity: float) -> bool:
        """Whether confirmed signals are a reason to train: the model's score or its alerts, or features of this severity."""
        return any(r.signal.role is Role.OUTPUT for r in self.readings) or self.severity >= severity
