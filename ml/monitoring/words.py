"""Recorded readings as text: numbers, signals, and the note of a run.

A record may lack any number: a day without a positive has no average precision, a muted column has no value. A missing number
is shown as a dash.

Example: numbers, and the text of a reading.
    >>> format_number(0.123456), format_number(None), format_number(float("nan"))
    ('0.1235', '-', '-')
    >>> reading = Reading(signal="amount: location", kind="drift", value=5.0, threshold=4.0, state="WARN", details={})
    >>> in_words(reading)
    'amount: location WARN: 1.25 of its threshold'
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml.ledger.signals import Reading

SEVERITY = "drift: severity"
TRAFFIC = "traffic"
ESTIMATE = "estimate: "
PERFORMANCE = "performance: "
DASH = "-"


def format_number(value: Any, digits: int = 4) -> str:
    """A number with the given significant digits; a dash if it is missing or not finite."""
    return f"{value:.{digits}g}" if is_number(value) else DASH


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def ratio(reading: Reading) -> float:
    """Size of a reading divided by its threshold; 0 if one of them is missing."""
    value, threshold = reading.value, reading.threshold
    return abs(value) / abs(threshold) if is_number(value) and is_number(threshold) and value and threshold else 0.0


def is_judged(reading: Reading) -> bool:
    """Whether the reading has a value and a threshold."""
    return is_number(reading.value) and is_number(reading.threshold) and bool(reading.threshold)


def signal_of(readings: Sequence[Reading], signal: str) -> Reading | None:
    """The reading of one signal; None if there is none."""
    return next((reading for reading in readings if reading.signal == signal), None)


def measured(details: Mapping[str, Any]) -> str:
    """The measured value and the usual one, from the details of a reading."""
    value, usual = details.get("measured"), details.get("usual")
    if not is_number(value):
        return f"not measured, usually {format_number(usual)}" if is_number(usual) else "not measured"
    return f"{format_number(value)} where {format_number(usual)} is usual" if is_number(usual) else format_number(value)


def in_words(reading: Reading) -> str:
    """A reading with its numbers."""
    of = f"{ratio(reading):.2f} of its threshold" if is_judged(reading) else "not judged"
    values = (
        f", {measured(reading.details)}{at_rate(reading.details)}" if {"measured", "usual"} & reading.details.keys() else ""
    )
    return f"{reading.signal} {reading.state}: {of}{values}"


def at_rate(details: Mapping[str, Any]) -> str:
    """The base rate at which a metric is given, and its value at the rate of the day; empty if the rates are not recorded."""
    rate, reference_rate = details.get("rate"), details.get("usual_rate")
    if not is_number(rate) or not is_number(reference_rate):
        return ""
    return f", both at a base rate of {reference_rate:.1%} (that day {format_number(details.get('of_day'))} at {rate:.1%})"


def estimate_error_in_words(estimate: Reading) -> str:
    """The error of earlier estimates as text."""
    name, error = estimate.signal.removeprefix(ESTIMATE), estimate.details.get("trust") or {}
    if not is_number(error.get("error")) or not error.get("days"):
        return f"{name}: no matured day says how far off it is"
    return f"{name}: off by {format_number(error['error'], 2)} (root mean square) on {error['days']} matured days"


def severity_in_words(severity: Reading | None) -> str:
    """The severity of a day and the limit from which it causes a training, as text."""
    if severity is None or not is_number(severity.value):
        return "not judged"
    return f"{severity.value:.2f} of {format_number(severity.threshold)}"


def largest(readings: Sequence[Reading], count: int = 3) -> list[Reading]:
    """The readings with the largest ratio to their threshold, the largest first."""
    judged = [reading for reading in readings if reading.signal != SEVERITY and is_judged(reading)]
    return sorted(judged, key=lambda reading: -ratio(reading))[:count]


def note(
    version: str,
    newest: dt.date,
    readings: Sequence[Reading],
    looked_at: int,
    confirmed: Sequence[str],
    broken: Sequence[str],
) -> str:
    """The note of a run.

    Args:
        version: the champion's version.
        newest: the newest recorded day.
        readings: readings of that day.
        looked_at: number of days that this run recorded.
        confirmed, broken: reasons of the alarms and of the incidents of these days.
    """
    looked = f"{looked_at} new days" if looked_at else "no new day"
    severity = signal_of(readings, SEVERITY)
    state = "NOT JUDGED" if severity is None else severity.state
    lines = [f"**{state}** on {newest}, version {version}, {looked}: severity {severity_in_words(severity)}."]
    lines += [f"- {in_words(reading)}" for reading in largest(readings)]
    lines += [f"- ALARM {reason}" for reason in confirmed]
    lines += [f"- INCIDENT {reason}" for reason in broken]
    of_day = signal_of(readings, TRAFFIC)
    standing = [] if of_day is None else of_day.details.get("faults") or []
    lines += [f"- open: {reason}" for reason in standing if reason not in broken]
    return "\n".join(lines)
