"""What monitoring saw, day by day: every feature's distance from its reference, performance against its control limits, and
what was confirmed or broken.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from ml.config import Config
from ml.ledger.signals import Confirmation, Incident, ReadingOfDay
from ml.monitoring.words import ESTIMATE, PERFORMANCE, SEVERITY, TRAFFIC, is_judged, is_number, ratio, signal_of
from ml.overview.past import past
from ml.overview.signals import ORDER

DRIFT_KINDS = ("drift", "feed")


@dataclass(frozen=True)
class Cell:
    """A subject's worst signal on one day as a share of its threshold, and its state; None if nothing was judged."""

    day: dt.date
    ratio: float | None
    state: str
    signal: str


@dataclass(frozen=True)
class Subject:
    """A feature, the scores, the alerts or the volume; `importance` is its share in the champion's model, `cells` one a day.

    Parameters:
        measured, usual: of its worst signal on the newest day on which it was judged.
    """

    name: str
    importance: float
    state: str
    measured: float | None
    usual: float | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PerformanceDay:
    """One metric of one day of events.

    Parameters:
        measured: once the answers are in, at the usual base rate; None before.
        estimated: from the champion's own scores.
        loss: what has gathered against the model, as a share of the limit from which it is an alarm; None where not charted.
        state: of the chart on that day.
    """

    day: dt.date
    measured: float | None
    estimated: float | None
    loss: float | None
    state: str


@dataclass(frozen=True)
class Metric:
    """A metric with its usual value on the reference, oldest day first."""

    name: str
    usual: float | None
    days: tuple[PerformanceDay, ...]


@dataclass(frozen=True)
class Drift:
    """What monitoring saw of the champion; `days` is empty before the first monitored day.

    Parameters:
        state: of the drift on the newest day, one of `OK`, `WARN`, `CONFIRMED`; empty if it was not judged.
        severity, limit: its size, and that from which it asks for a training.
        subjects: the most important first.
        alarms, incidents: of the days shown, newest first.
        standing: faults of the feed that are open on the newest day.
    """

    version: str
    days: tuple[dt.date, ...]
    state: str
    severity: float | None
    limit: float | None
    subjects: tuple[Subject, ...]
    metrics: tuple[Metric, ...]
    alarms: tuple[Confirmation, ...]
    incidents: tuple[Incident, ...]
    standing: tuple[str, ...]


def drift(config: Config, days: int = 42) -> Drift | None:
    """What monitoring saw of the champion on the last `days` days; None without a champion."""
    ledger = past(config).ledger
    version = ledger.moves.champion(config.name)
    if version is None:
        return None
    newest = ledger.signals.newest_day(config.name, version)
    if newest is None:
        return Drift(version, (), "", None, None, (), (), (), (), ())
    since = newest - dt.timedelta(days=days - 1)
    # The profile of each day's traffic is a thousand times longer than any other reading, and has no picture of its own.
    readings = ledger.signals.readings(config.name, version, since, without=(TRAFFIC,))
    today = ledger.signals.of_day(config.name, version, newest, (SEVERITY, TRAFFIC))
    severity, traffic = signal_of(today, SEVERITY), signal_of(today, TRAFFIC)
    seen = tuple(sorted({reading.day for reading in readings}))
    return Drift(
        version=version,
        days=seen,
        state=severity.state if severity else "",
        severity=severity.value if severity else None,
        limit=severity.threshold if severity else None,
        subjects=tuple(_subjects(readings, seen)),
        metrics=tuple(_metrics(readings)),
        alarms=tuple(
            alarm
            for alarm in reversed(ledger.signals.confirmations(config.name))
            if alarm.version == version and alarm.day >= since
        ),
        incidents=tuple(reversed(ledger.signals.incidents(config.name, since))),
        standing=tuple((traffic.details.get("faults") or ()) if traffic else ()),
    )


def _subjects(readings: Sequence[ReadingOfDay], days: Sequence[dt.date]) -> list[Subject]:
    """Each subject with its worst signal of each day, the most important first."""
    named: dict[str, dict[dt.date, list[ReadingOfDay]]] = {}
    for reading in readings:
        name, found, _ = reading.signal.rpartition(": ")
        if reading.kind in DRIFT_KINDS and found and reading.signal != SEVERITY:
            named.setdefault(name, {}).setdefault(reading.day, []).append(reading)
    subjects = [_subject(name, by_day, days) for name, by_day in named.items()]
    return sorted(subjects, key=lambda subject: (-subject.importance, subject.name))


def _subject(name: str, by_day: dict[dt.date, list[ReadingOfDay]], days: Sequence[dt.date]) -> Subject:
    worst = {day: _worst(of_day) for day, of_day in by_day.items()}
    last = next((reading for day in reversed(days) if (reading := worst.get(day))), None)
    details = last.details if last else {}
    weights = [each.details.get("importance") for of_day in by_day.values() for each in of_day]
    known = [float(weight) for weight in weights if weight is not None and is_number(weight)]
    return Subject(
        name=name,
        importance=max(known, default=0.0),
        state=last.state if last else "",
        measured=details.get("measured"),
        usual=details.get("usual"),
        cells=tuple(_cell(day, worst.get(day)) for day in days),
    )


def _worst(of_day: Sequence[ReadingOfDay]) -> ReadingOfDay | None:
    return min((each for each in of_day if is_judged(each)), key=lambda r: (ORDER.index(r.state), -ratio(r)), default=None)


def _cell(day: dt.date, worst: ReadingOfDay | None) -> Cell:
    if worst is None:
        return Cell(day, None, "", "")
    return Cell(day, ratio(worst), worst.state, worst.signal)


def _metrics(readings: Sequence[ReadingOfDay]) -> list[Metric]:
    measured: dict[str, dict[dt.date, ReadingOfDay]] = {}
    estimated: dict[str, dict[dt.date, ReadingOfDay]] = {}
    for reading in readings:
        if reading.kind == "estimate":
            estimated.setdefault(reading.signal.removeprefix(ESTIMATE), {})[reading.day] = reading
        elif reading.kind == "performance" and "day" in reading.details:
            day = dt.date.fromisoformat(reading.details["day"])
            measured.setdefault(reading.signal.removeprefix(PERFORMANCE), {})[day] = reading
    return [_metric(name, measured.get(name, {}), estimated.get(name, {})) for name in dict.fromkeys([*measured, *estimated])]


def _metric(name: str, measured: dict[dt.date, ReadingOfDay], estimated: dict[dt.date, ReadingOfDay]) -> Metric:
    usual = [found for reading in measured.values() if is_number(found := reading.details.get("usual"))]
    days = []
    for day in sorted(measured.keys() | estimated.keys()):
        real, guess = measured.get(day), estimated.get(day)
        days.append(
            PerformanceDay(
                day=day,
                measured=real.details.get("measured") if real else None,
                estimated=guess.value if guess else None,
                loss=ratio(real) if real and is_judged(real) else None,
                state=real.state if real else "",
            )
        )
    return Metric(name, usual[-1] if usual else None, tuple(days))
