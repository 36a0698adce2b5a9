"""Measurements of all signals of one day, and the severity of their drift: a reason to train, or not.

Severity is the sum over the features of importance times excess over the threshold, so that drift of an unimportant feature
does not start a training.

Example: a feature with importance 0.5 is 40 % over its threshold.
    >>> amount = Measurement(Signal("amount", Kind.LOCATION, Role.FEATURE), value=0.1, expected=0.0, z=5.6, threshold=4.0)
    >>> assessment = Assessment(dt.date(2025, 6, 2), (amount,), importance={"amount": 0.5}, cooldown=14)
    >>> round(amount.ratio, 2), round(assessment.severity, 2), assessment.is_reason_to_train(severity=0.3)
    (1.4, 0.2, False)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ml.monitoring.state import DriftState, Phase, advance

FULL_EXCESS = 1.0
"""Upper limit of the excess of a feature, so that an unimportant feature never has a large effect."""


class Kind(StrEnum):
    """Property of a column or a series that a signal measures."""

    LOCATION = "location"
    SHAPE = "shape"
    MISSING = "missing"
    UNSEEN = "unseen"
    VOLUME = "volume"


class Role(StrEnum):
    """Source of a signal: an input of the model, an output of the model, or the data feed."""

    FEATURE = "feature"
    OUTPUT = "output"
    FEED = "feed"


@dataclass(frozen=True)
class Signal:
    """One monitored property of one column or series; as text it is the name in the ledger, such as `amount: location`."""

    name: str
    kind: Kind
    role: Role

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}"


@dataclass(frozen=True)
class Measurement:
    """One signal on one day. The ledger stores it as a `Reading`, together with the state of the signal.

    Attributes:
        value: the measured value in the unit of the kind: shift of the mean rank, stability index over a week, share, or
            logarithm; None without data.
        expected: mean of the value on the same weekday in the reference.
        z: deviation over the last days divided by its scale, limited by the last day (`ml.monitoring.calibration.evidence`);
            None without data.
        threshold: alarm threshold for the absolute value of z.
    """

    signal: Signal
    value: float | None
    expected: float
    z: float | None
    threshold: float

    @property
    def ratio(self) -> float | None:
        """Size of z divided by the threshold; None without data."""
        return None if self.z is None else abs(self.z) / self.threshold


@dataclass(frozen=True)
class Assessment:
    """The measurements of one day.

    Attributes:
        day: the day that was measured.
        measurements: one per signal.
        importance: importance of each feature to the model, sum 1.
        cooldown: days from one confirmation of a signal to the earliest next one.
    """

    day: dt.date
    measurements: tuple[Measurement, ...]
    importance: Mapping[str, float]
    cooldown: int

    @property
    def severity(self) -> float:
        """Σ importance · excess over the threshold, over the features; from 0 to 1."""
        excess: dict[str, float] = {}
        for measurement in self.measurements:
            name = measurement.signal.name
            if (
                measurement.signal.role is Role.FEATURE
                and measurement.signal.kind is not Kind.MISSING
                and measurement.ratio is not None
            ):
                excess[name] = max(excess.get(name, 0.0), min(measurement.ratio - 1, FULL_EXCESS))
        return sum(self.importance.get(name, 0.0) * over for name, over in excess.items())

    def advance(self, states: Mapping[str, DriftState]) -> dict[str, DriftState]:
        """Each signal's state after this day, by the text of the signal."""
        return {
            str(measurement.signal): advance(
                states.get(str(measurement.signal), DriftState()), self.day, measurement.ratio, cooldown=self.cooldown
            )
            for measurement in self.measurements
        }

    def confirmed(self, states: Mapping[str, DriftState]) -> Assessment:
        """The confirmed measurements that may cause a training; missing values and the number of rows never do.

        Args:
            states: state of each signal after this day, by the text of the signal.
        """
        return replace(
            self,
            measurements=tuple(
                r
                for r in self.measurements
                if states[str(r.signal)].phase is Phase.CONFIRMED
                and r.signal.kind is not Kind.MISSING
                and r.signal.role is not Role.FEED
            ),
        )

    def is_reason_to_train(self, severity: float) -> bool:
        """Whether these measurements are a reason to train: one is of the model's outputs, or `severity` is reached."""
        return any(r.signal.role is Role.OUTPUT for r in self.measurements) or self.severity >= severity
