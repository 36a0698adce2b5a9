"""Drift of a day: the readings of all signals, and an alarm if confirmed drift is a reason to train."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.config import Config
from ml.ledger.signals import Alarm, Reading
from ml.monitoring.day import MonitoredDay, comparable, too_few
from ml.monitoring.detector import Detector
from ml.monitoring.measurements import Assessment, Kind, Measurement, Role
from ml.monitoring.state import DriftState
from ml.monitoring.words import SEVERITY, format_number


@dataclass(frozen=True)
class Drift:
    """Result of a day.

    Attributes:
        readings: readings of all signals, the severity first.
        alarm: the alarm on the day on which a reason to train is confirmed; None on every other day.
    """

    readings: tuple[Reading, ...]
    alarm: Alarm | None


def drift_of(
    config: Config,
    detector: Detector,
    version: str,
    day: dt.date,
    days: Mapping[dt.date, MonitoredDay],
    before: Mapping[str, Reading],
    cooled: bool,
) -> Drift:
    """Compare a day with the reference.

    Args:
        config: the deployment.
        detector: the champion's detector.
        version: the champion's version.
        day: the day to assess.
        days: that day and the recorded days of the week before it.
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
            name: DriftState.from_dict(before[name].details["state"])
            for name in (str(r.signal) for r in assessment.measurements)
            if name in before
        }
    )
    if days[day].faulty and SEVERITY in before:
        severity, alarm = replace(before[SEVERITY], value=None), None
    else:
        severity, alarm = _severity(config, version, assessment, assessment.confirmed(states), before.get(SEVERITY), cooled)
    return Drift((severity, *[_reading(r, detector, states[str(r.signal)]) for r in assessment.measurements]), alarm)


def _severity(
    config: Config, version: str, assessment: Assessment, confirmed: Assessment, before: Reading | None, cooled: bool
) -> tuple[Reading, Alarm | None]:
    """The reading of the severity: CONFIRMED while there is a reason to train; an alarm on the first such day of a cooldown."""
    least = config.monitoring.severity.value
    goes_on = before is not None and before.state == "CONFIRMED"
    stands = confirmed.is_reason_to_train(least) and (goes_on or cooled)
    begins = stands and not goes_on
    over = [r for r in assessment.measurements if r.ratio is not None and r.ratio > 1 and r.signal.role is not Role.FEED]
    reading = Reading(
        signal=SEVERITY,
        kind="drift",
        value=assessment.severity,
        threshold=least,
        state="CONFIRMED" if stands else "WARN" if over else "OK",
        details={"confirmed": confirmed.severity, "signals": [str(r.signal) for r in confirmed.measurements]},
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
            str(r.signal): {"value": r.value, "usual": r.expected, "z": r.z, "threshold": r.threshold}
            for r in confirmed.measurements
        },
    }
    return reading, Alarm(trigger="drift", reason=f"drift confirmed on {assessment.day}: {reason}", evidence=evidence)


def in_words(measurement: Measurement) -> str:
    """A measurement as text."""
    if measurement.ratio is None:
        return f"{measurement.signal} is not judged"
    values = f"{format_number(measurement.value)}, usually {format_number(measurement.expected)}"
    return f"{measurement.signal} at {measurement.ratio:.1f} times its threshold ({values})"


def _reading(measurement: Measurement, detector: Detector, state: DriftState) -> Reading:
    """The reading for the ledger: z as value, with the measured value in its details."""
    return Reading(
        signal=str(measurement.signal),
        kind="feed" if measurement.signal.role is Role.FEED or measurement.signal.kind is Kind.MISSING else "drift",
        value=measurement.z,
        threshold=measurement.threshold,
        state=state.phase.value,
        details={
            "measured": measurement.value,
            "usual": measurement.expected,
            "importance": detector.importance.get(measurement.signal.name, 0.0),
            "state": state.to_dict(),
        },
    )
