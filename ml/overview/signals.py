"""What monitoring saw of the champion: the newest day's signals, alarms, incidents, and performance by day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.signals import Confirmation, Incident, Reading, ReadingOfDay
from ml.monitoring.words import ESTIMATE, PERFORMANCE, SEVERITY, estimate_error_in_words, is_judged, is_number, ratio, signal_of

ORDER = ("CONFIRMED", "WARN", "OK")


@dataclass(frozen=True)
class Performance:
    """The metrics of one day by name.

    Parameters:
        rate: share of positives; None until the answers are in.
        measured: from the answers; None for a metric that this day has not.
        estimated: from the champion's own scores, before the answers are in.
    """

    day: dt.date
    rate: float | None
    measured: Mapping[str, float | None]
    estimated: Mapping[str, float | None]


@dataclass(frozen=True)
class Signals:
    """What monitoring saw of one version.

    Parameters:
        newest: the newest monitored day; None before the first, and everything else is empty then.
        severity: of the drift on that day.
        judged: signals of that day with a threshold, the worst first: by state, then by size against the threshold.
        not_judged: number of signals of that day that have a threshold and no value.
        alarms, incidents: of the days that were asked for, oldest first.
        performance: by day, oldest first.
        estimate_errors: how far each estimate was off on matured days, a sentence a metric.
    """

    version: str
    newest: dt.date | None
    severity: Reading | None
    judged: tuple[ReadingOfDay, ...]
    not_judged: int
    alarms: tuple[Confirmation, ...]
    incidents: tuple[Incident, ...]
    performance: tuple[Performance, ...]
    estimate_errors: tuple[str, ...]


def signals(config: Config, days: int) -> Signals | None:
    """What monitoring saw of the champion in the last `days` monitored days; None without a champion."""
    ledger = Ledger(config.ledger)
    version = ledger.moves.champion(config.name)
    if version is None:
        return None
    newest = ledger.signals.newest_day(config.name, version)
    if newest is None:
        return Signals(version, None, None, (), 0, (), (), (), ())
    since = newest - dt.timedelta(days=days - 1)
    readings = ledger.signals.readings(config.name, version, since)
    today = [reading for reading in readings if reading.day == newest]
    judged = [r for r in today if is_judged(r) and r.signal != SEVERITY]
    confirmed = ledger.signals.confirmations(config.name)
    return Signals(
        version=version,
        newest=newest,
        severity=signal_of(today, SEVERITY),
        judged=tuple(sorted(judged, key=lambda r: (ORDER.index(r.state), -ratio(r)))),
        not_judged=sum(1 for r in today if r.threshold and not is_number(r.value)),
        alarms=tuple(alarm for alarm in confirmed if alarm.version == version and alarm.day >= since),
        incidents=tuple(ledger.signals.incidents(config.name, since)),
        performance=_performance(readings),
        estimate_errors=tuple(
            estimate_error_in_words(r) for r in {r.signal: r for r in readings if r.kind == "estimate"}.values()
        ),
    )


def _performance(readings: Sequence[ReadingOfDay]) -> tuple[Performance, ...]:
    measured: dict[dt.date, dict[str, float | None]] = {}
    estimated: dict[dt.date, dict[str, float | None]] = {}
    rates: dict[dt.date, float | None] = {}
    for reading in readings:
        if reading.kind == "estimate":
            estimated.setdefault(reading.day, {})[reading.signal.removeprefix(ESTIMATE)] = reading.value
        elif reading.kind == "performance" and reading.details.get("day"):
            day = dt.date.fromisoformat(reading.details["day"])
            value = reading.details.get("of_day", reading.details.get("measured"))
            measured.setdefault(day, {})[reading.signal.removeprefix(PERFORMANCE)] = value
            rates[day] = reading.details.get("rate")
    return tuple(
        Performance(day, rates.get(day), measured.get(day, {}), estimated.get(day, {}))
        for day in sorted(measured.keys() | estimated.keys())
    )
