"""Whether a day has drifted from the champion's reference, signal by signal, and whether that is a reason to train."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.config import Config
from ml.ledger.signals import Alarm, Reading
from ml.monitoring import readings as measured
from ml.monitoring.day import Day, comparable, too_few
from ml.monitoring.detector import Detector
from ml.monitoring.readings import Assessment, Kind, Role
from ml.monitoring.state import State
from ml.monitoring.words import SEVERITY, figure


@dataclass(frozen=True)
class Drift:
    """What drift there is on a day.

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
        days: what was kept of the last week, and of the day itself.
        before: the readings of the day before, by signal; none for the first day.
        cooled: whether an alarm may be raised, long enough after the last one.
    """
    muted = days[day].muted
    unjudged = too_few(days, day)
    assessment = detector.assess(day, comparable(days))
    assessment = replace(
        assessment,
        readings=tuple(
            replace(r, z=None) if r.signal.name in muted or (r.signal.kind is Kind.SHAPE and r.signal.name in unjudged) else r
            for r in assessment.readings
        ),
    )
    states = assessment.advance(
        {
            str(r.signal): State.from_dict(before[name_of(r)].details["state"])
            for r in assessment.readings
            if name_of(r) in before
        }
    )
    if days[day].faulty and SEVERITY in before:
        told, alarm = replace(before[SEVERITY], value=None), None
    else:
        told, alarm = _severity(config, version, assessment, assessment.confirmed(states), before.get(SEVERITY), cooled)
    return Drift((told, *[_reading(r, detector, states[str(r.signal)]) for r in assessment.readings]), alarm)


def name_of(reading: measured.Reading) -> str:
    """Name under which a signal is recorded."""
    return f"{reading.signal.name}: {reading.signal.kind}"


def _severity(
    config: Config, version: str, assessment: Assessment, confirmed: Assessment, before: Reading | None, cooled: bool
) -> tuple[Reading, Alarm | None]:
    """The state of the whole: confirmed as long as there is a reason to train; an alarm when that begins, once a cooldown."""
    least = config.monitoring.severity.value
    asks = confirmed.asks(least)
    goes_on = before is not None and before.state == "CONFIRMED"
    stands = asks and (goes_on or cooled)
    begins = stands and not goes_on
    over = [r for r in assessment.readings if r.ratio is not None and r.ratio > 1 and r.signal.role is not Role.FEED]
    reading = Reading(
        signal=SEVERITY,
        kind="drift",
        value=assessment.severity,
        threshold=least,
        state="CONFIRMED" if stands else "WARN" if over else "OK",
        details={"confirmed": confirmed.severity, "signals": [name_of(r) for r in confirmed.readings]},
    )
    if not begins:
        return reading, None
    largest = sorted(confirmed.readings, key=lambda r: -(r.ratio or 0))[:3]
    reason = f"severity {assessment.severity:.2f} of {least:g}; " + "; ".join(in_words(r) for r in largest)
    evidence = {
        "version": version,
        "day": assessment.day.isoformat(),
        "severity": assessment.severity,
        "figure": f"severity {assessment.severity:.2f} of {least:g}",
        "signals": {
            name_of(r): {"value": r.value, "usual": r.usual, "z": r.z, "threshold": r.threshold} for r in confirmed.readings
        },
    }
    return reading, Alarm(trigger="drift", reason=f"drift confirmed on {assessment.day}: {reason}", evidence=evidence)


def in_words(reading: measured.Reading) -> str:
    """A signal with its figure."""
    if reading.ratio is None:
        return f"{name_of(reading)} is not judged"
    told = f"{figure(reading.value)}, usually {figure(reading.usual)}"
    return f"{name_of(reading)} at {reading.ratio:.1f} times its threshold ({told})"


def _reading(reading: measured.Reading, detector: Detector, state: State) -> Reading:
    """As it is recorded: in units of the signal's own scale, beside it what was measured."""
    return Reading(
        signal=name_of(reading),
        kind="feed" if reading.signal.role is Role.FEED or reading.signal.kind is Kind.MISSING else "drift",
        value=reading.z,
        threshold=reading.threshold,
        state=state.phase.value,
        details={
            "measured": reading.value,
            "usual": reading.usual,
            "importance": detector.importance.get(reading.signal.name, 0.0),
            "state": state.to_dict(),
        },
    )
