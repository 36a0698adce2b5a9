"""What monitoring saw, for the person who asks whether the champion still fits the data."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from ml.commands.command import Command
from ml.commands.terminal import line, say, table, with_deployment
from ml.config import Config
from ml.records import to_record

if TYPE_CHECKING:
    from ml.overview.signals import Signals

NEAREST = 10


def signals(config: Config, asked: argparse.Namespace) -> None:
    """Print the newest monitored day's signals, alarms and incidents of the last days, and measured and estimated performance.

    Signals that warn or are confirmed come first, then those that are nearest to their thresholds. An estimate is made from the
    champion's own scores before the answers are in, and never raises an alarm.
    """
    from ml.monitoring.words import severity_in_words
    from ml.overview.signals import signals

    seen = signals(config, asked.days)
    if asked.json:
        say(json.dumps(to_record(seen), indent=1))
        return
    if seen is None:
        say("champion      none yet, so there is nothing to compare with")
        return
    if seen.newest is None:
        unseen = f"champion      version {seen.version}, not monitored yet: `python -m ml monitor --as-of …`"
        say(with_deployment(unseen, asked))
        return
    say(f"champion      version {seen.version}, monitored up to {seen.newest}")
    say(f"drift         {seen.severity.state if seen.severity else 'unknown'}, severity {severity_in_words(seen.severity)}")
    _table_of_signals(seen)
    for alarm in seen.alarms:
        line(f"alarm         {alarm.day} {alarm.trigger}: {alarm.reason}")
    for incident in seen.incidents:
        line(f"incident      {incident.day} {incident.fault}: {incident.reason}")
    _table_of_performance(seen)


def _table_of_signals(seen: Signals) -> None:
    from ml.monitoring.words import format_number, is_number, ratio

    shown = max(NEAREST, sum(r.state != "OK" for r in seen.judged))
    table(
        ["signal", "kind", "state", "of threshold", "measured", "usual", "importance"],
        [
            [
                r.signal,
                r.kind,
                r.state,
                f"{ratio(r):.2f}",
                format_number(r.details.get("measured")),
                format_number(r.details.get("usual")),
                f"{importance:.1%}" if is_number(importance := r.details.get("importance")) and importance else "",
            ]
            for r in seen.judged[:shown]
        ],
    )
    within = len(seen.judged) - len(seen.judged[:shown])
    say(f"{within} more are within their thresholds; {seen.not_judged} are not judged on this day")


def _table_of_performance(seen: Signals) -> None:
    """One row a day: what was measured once the answers were in, and before that what was estimated."""
    from ml.monitoring.words import format_number, is_number

    names = list(dict.fromkeys(name for day in seen.performance for name in (*day.measured, *day.estimated)))
    guessed = {name for day in seen.performance for name in day.estimated}
    rows = []
    for day in seen.performance:
        row = [day.day.isoformat(), f"{day.rate:.2%}" if is_number(day.rate) else ""]
        for name in names:
            row.append(format_number(day.measured[name]) if name in day.measured else "")
            if name in guessed:
                row.append(format_number(day.estimated[name]) if name in day.estimated else "")
        rows.append(row)
    heads = [head for name in names for head in (name, *([f"{name} (estimate)"] if name in guessed else []))]
    table(["day", "positives", *heads], rows)
    for sentence in seen.estimate_errors:
        line(f"estimate      {sentence}; it takes each score for a true probability")


COMMANDS = {
    "signals": Command(
        signals,
        arguments=(
            (("--days",), {"type": int, "default": 14, "help": "how many days back (default: %(default)s)"}),
            (("--json",), {"action": "store_true", "help": "print JSON"}),
        ),
    )
}
