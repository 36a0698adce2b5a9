"""Drift of a day: the readings of all signals, and an alarm if confirmed drift is a reason to train."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.config import Config
from ml.ledger.signals import Alarm, Reading
from ml.monitoring.day import Day, comparable, too_few
from ml.monitoring.detector import Detector
from ml.monitoring.measurements import Assessment, Kind, Measurement, Role
from ml.monitoring.state import SignalStateMachine
from ml.monitoring.words import SEVERITY, figure


@dataclass(frozen=True)
class Drift:
    """Result of a day.

    Attributes:
        readings: of all signals, the severity first.
        alarm: the reason to train, on the day on which it was confirmed.
    """

    readings: tuple[Reading, ...]
    alarm: Alarm | None


def drift_of(
    config: Config,
    detector: Detector,
    version: str,
    day: dt.date,
    days: Mapping[dt.date, Day],
    before: Mapping[str, Reading],
    cooled: bool,
) -> Drift:
    """Compare a day with the reference.

    Args:
        detector: of the champion.
        version: of the champion.
        day: that is assessed.
        days: the day itself and the days of the last week.
        before: readings of the day before, by signal; empty for the first day.
        cooled: whether the cooldown after the last alarm is over.
    """
    muted = days[day].muted
    unjudged = too_few(days, day)
    assessment = detector.assess(day, comparable(days))
    assessment = replace(
        assessment,
        measurements=tuple(
            replace(r, z=None) if r.signal.name in muted or (r.signal.kind is Kind.SHAPE and r.signal.name in unjudged) else r
            for r in assessment.measurements
        ),
    )
    states = assessment.advance(
        {
            str(r.signal): SignalStateMachine.from_dict(before[name_of(r)].details["state"])
            for r in assessment.measurements
            if name_of(r) in before
        }
    )
    if days[day].faulty and SEVERITY in before:
        severity, alarm = replace(before[SEVERITY], value=None), None
    else:
        severity, alarm = _severity(config, version, assessment, assessment.confirmed(states), before.get(SEVERITY), cooled)
    return Drift((severity, *[_reading(r, detector, states[str(r.signal)]) for r in assessment.measurements]), alarm)


def name_of(measurement: Measurement) -> str:
    """Name under which a signal is recorded."""
    return f"{measurement.signal.name}: {measurement.signal.kind}"


def _severity(
    config: Config, version: str, assessment: Assessment, confirmed: Assessment, before: Reading | None, cooled: bool
) -> tuple[Reading, Alarm | None]:
    """The reading of the severity: CONFIRMED while there is a reason to train; an alarm on the first such day of a cooldown."""
    least = config.monitoring.severity.value
    asks = confirmed.asks(least)
    goes_on = before is not None and before.state == "CONFIRMED"
    stands = asks and (goes_on or cooled)
    begins = stands and not goes_on
    over = [r for r in assessment.measurements if r.ratio is not None and r.ratio > 1 and r.signal.role is not Role.FEED]
    reading = Reading(
        signal=SEVERITY,
        kind="drift",
        value=assessment.severity,
        threshold=least,
        state="CONFIRMED" if stands else "WARN" if over else "OK",
        details={"confirmed": confirmed.severity, "signals": [name_of(r) for r in confirmed.measurements]},
    )
    if not begins:
        return reading, None
    largest = sorted(confirmed.measurements, key=lambda r: -(r.ratio or 0))[:3]
    reason = f"severity {assessment.severity:.2f} of {least:g}; " + "; ".join(in_words(r) for r in largest)
    evidence = {
        "version": version,
        "day": assessment.day.isoformat(),
        "severity": assessment.severity,
        "figure": f"severity {assessment.severity:.2f} of {least:g}",
        "signals": {
            name_of(r): {"value": r.value, "usual": r.usual, "z": r.z, "threshold": r.threshold} for r in confirmed.measurements
        },
    }
    return reading, Alarm(trigger="drift", reason=f"drift confirmed on {assessment.day}: {reason}", evidence=evidence)


def in_words(measurement: Measurement) -> str:
    """A measurement as text."""
    if measurement.ratio is None:
        return f"{name_of(measurement)} is not judged"
    figures = f"{figure(measurement.value)}, usually {figure(measurement.usual)}"
    return f"{name_of(measurement)} at {measurement.ratio:.1f} times its threshold ({figures})"


def _reading(measurement: Measurement, detector: Detector, state: SignalStateMachine) -> Reading:
    """The reading for the ledger: z as value, with the measured value in its details."""
    return Reading(
        signal=name_of(measurement),
        kind="feed" if measurement.signal.role is Role.FEED or measurement.signal.kind is Kind.MISSING else "drift",
        value=measurement.z,
        threshold=measurement.threshold,
        state=state.phase.value,
        details={
            "measured": measurement.value,
            "usual": measurement.usual,
            "importance": detector.importance.get(measurement.signal.name, 0.0),
            "state": state.to_dict(),
        },
    )
