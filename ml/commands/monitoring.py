"""What monitoring saw, for the person who asks whether the champion still fits the data."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING

from ml.commands.command import Command
from ml.commands.terminal import line, say, table, with_deployment
from ml.config import Config

if TYPE_CHECKING:
    from ml.ledger.signals import ReadingOfDay

NEAREST = 10


def signals(config: Config, asked: argparse.Namespace) -> None:
    """Print the newest monitored day's signals, alarms and incidents of the last days, and measured and estimated performance.

    Signals that warn or are confirmed come first, then those that are nearest to their thresholds. An estimate is made from the
    champion's own scores before the answers are in, and never raises an alarm.
    """
    from ml.ledger.ledger import Ledger
    from ml.monitoring.words import SEVERITY, severity_in_words, signal_of

    version = Ledger(config.ledger).moves.champion(config.name)
    if version is None:
        say("champion      none yet, so there is nothing to compare with")
        return
    recorded = Ledger(config.ledger).signals
    newest = recorded.newest_day(config.name, version)
    if newest is None:
        say(with_deployment(f"champion      version {version}, not monitored yet: `python -m ml monitor --as-of …`", asked))
        return
    since = newest - dt.timedelta(days=asked.days - 1)
    readings = recorded.readings(config.name, version, since)
    today = [reading for reading in readings if reading.day == newest]
    severity = signal_of(today, SEVERITY)
    say(f"champion      version {version}, monitored up to {newest}")
    say(f"drift         {severity.state if severity else 'unknown'}, severity {severity_in_words(severity)}")
    _table_of_signals(today)
    for alarm in [a for a in recorded.confirmations(config.name) if a.version == version and a.day >= since]:
        line(f"alarm         {alarm.day} {alarm.trigger}: {alarm.reason}")
    for incident in recorded.incidents(config.name, since):
        line(f"incident      {incident.day} {incident.fault}: {incident.reason}")
    _table_of_performance(readings)


def _table_of_signals(today: list[ReadingOfDay]) -> None:
    from ml.monitoring.words import SEVERITY, figure, is_judged, is_number, ratio

    judged = [r for r in today if is_judged(r) and r.signal != SEVERITY]
    order = ["CONFIRMED", "WARN", "OK"]
    judged.sort(key=lambda r: (order.index(r.state), -ratio(r)))
    shown = max(NEAREST, sum(r.state != "OK" for r in judged))
    table(
        ["signal", "kind", "state", "of threshold", "measured", "usual", "importance"],
        [
            [
                r.signal,
                r.kind,
                r.state,
                f"{ratio(r):.2f}",
                figure(r.details.get("measured")),
                figure(r.details.get("usual")),
                f"{importance:.1%}" if is_number(importance := r.details.get("importance")) and importance else "",
            ]
            for r in judged[:shown]
        ],
    )
    muted = [r for r in today if r.threshold and not is_number(r.value)]
    say(f"{len(judged) - len(judged[:shown])} more are within their thresholds; {len(muted)} are not judged on this day")


def _table_of_performance(readings: list[ReadingOfDay]) -> None:
    """One row a day: what was measured once the answers were in, and before that what was estimated."""
    from ml.monitoring.words import ESTIMATE, PERFORMANCE, figure, is_number, trust_in_words

    measured = {
        (str(r.details.get("day", "-")), r.signal.removeprefix(PERFORMANCE)): r for r in readings if r.kind == "performance"
    }
    estimated = {(r.day.isoformat(), r.signal.removeprefix(ESTIMATE)): r for r in readings if r.kind == "estimate"}
    days = sorted({day for day, _ in (*measured, *estimated)})
    names = list(dict.fromkeys(name for _, name in (*measured, *estimated)))
    rates = {day: reading.details.get("rate") for (day, _), reading in measured.items()}
    rows = []
    for day in days:
        row = [day, f"{rate:.2%}" if is_number(rate := rates.get(day)) else ""]
        for name in names:
            found = measured.get((day, name))
            row.append(figure(found.details.get("of_day", found.details.get("measured"))) if found else "")
            if len(_columns(name, estimated)) > 1:
                guess = estimated.get((day, name))
                row.append(figure(guess.value) if guess else "")
        rows.append(row)
    table(["day", "positives", *[f"{name}{how}" for name in names for how in _columns(name, estimated)]], rows)
    for reading in {reading.signal: reading for reading in readings if reading.kind == "estimate"}.values():
        line(f"estimate      {trust_in_words(reading)}; it takes each score for a true probability")


def _columns(name: str, estimated: dict[tuple[str, str], ReadingOfDay]) -> list[str]:
    return ["", " (estimate)"] if any(of == name for _, of in estimated) else [""]


COMMANDS = {
    "signals": Command(
        signals, arguments=((("--days",), {"type": int, "default": 14, "help": "how many days back (default: %(default)s)"}),)
    )
}
