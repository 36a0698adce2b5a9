"""Loss of performance: advance the charts by the day whose labels have just matured, and raise an alarm if one is confirmed.

Example: the reference has a mean average precision of 0.6 with a standard deviation of 0.03; the matured day has 0.4.
    >>> chart = Chart(ChartState(days=20, mean=0.6, squares=0.02), higher_is_better=True, threshold=3.0)
    >>> charts, means = ControlCharts({"average precision": chart}), {"average precision": 0.6}
    >>> metrics = {"average precision": DayMetric(value=0.4, rate=0.1, at_reference_rate=0.4, charted=0.4, weight=1.0)}
    >>> decay = decay_of(charts, means, 0.1, "1", dt.date(2025, 6, 2), metrics, sound=True, before={}, cooled=True)
    >>> decay.alarm.trigger, decay.readings[0].state
    ('performance', 'CONFIRMED')
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.ledger.signals import Alarm, Reading
from ml.monitoring.cusum import Chart, ChartState, ControlCharts
from ml.monitoring.performance import UNITS, DayMetric
from ml.monitoring.words import PERFORMANCE, at_rate, format_number

WARN = 0.5
"""Share of the threshold from which a chart is in the state WARN."""


@dataclass(frozen=True)
class Decay:
    """Result of the matured day.

    Attributes:
        readings: readings of all charts.
        alarm: the alarm on the day on which a loss is confirmed; None on every other day.
    """

    readings: tuple[Reading, ...]
    alarm: Alarm | None


def decay_of(
    charts: ControlCharts,
    means: Mapping[str, float],
    reference_rate: float,
    version: str,
    matured: dt.date,
    metrics: Mapping[str, DayMetric | None],
    sound: bool,
    before: Mapping[str, Reading],
    cooled: bool,
) -> Decay:
    """Advance the charts by a matured day.

    Args:
        charts: the champion's charts.
        means: mean of each metric on the reference days.
        reference_rate: base rate of the reference days.
        version: the champion's version.
        matured: the day whose labels have just matured.
        metrics: each metric on that day; None if it is undefined.
        sound: whether the inputs of that day were without faults; if not, the charts stay unchanged.
        before: readings of the day before, by signal; empty for the first day.
        cooled: whether the cooldown after the last alarm is over.
    """
    states = {name: _state_of(before.get(PERFORMANCE + name), chart) for name, chart in charts.charts.items()}
    charted = {name: measured.charted if sound and (measured := metrics[name]) else None for name in charts.charts}
    after = charts.advance(states, matured, charted)
    readings = []
    for name, chart in charts.charts.items():
        # After an alarm the sum is 0. A chart with an infinite threshold gives the sum before the restart, for the record.
        endless = replace(chart, threshold=math.inf)
        total = endless.advance(states[name], matured, charted[name]).total
        fell, warns = after[name].alarm and cooled, total > WARN * chart.threshold
        measured = metrics[name]
        details = {
            "day": matured.isoformat(),
            "measured": measured.at_reference_rate if measured else None,
            "usual": means[name],
            "usual_rate": reference_rate,
            "of_day": measured.value if measured else None,
            "rate": measured.rate if measured else None,
        }
        readings.append(
            Reading(
                signal=PERFORMANCE + name,
                kind="performance",
                value=total,
                threshold=chart.threshold,
                state="CONFIRMED" if fell else "WARN" if warns else "OK",
                details=details | {"standing": after[name].to_dict()},
            )
        )
    fallen = [reading for reading in readings if reading.state == "CONFIRMED"]
    if not fallen:
        return Decay(tuple(readings), None)
    losses = "; ".join(in_words(reading) for reading in fallen)
    evidence = {
        "version": version,
        "day": matured.isoformat(),
        "figure": in_words(fallen[0]),
        "signals": {
            r.signal: {"measured": r.details["measured"], "usual": r.details["usual"], "sum": r.value, "threshold": r.threshold}
            for r in fallen
        },
    }
    alarm = Alarm(trigger="performance", reason=f"loss confirmed on {matured}: {losses}", evidence=evidence)
    return Decay(tuple(readings), alarm)


def in_words(reading: Reading) -> str:
    """The reading of a chart as text."""
    name = reading.signal.removeprefix(PERFORMANCE)
    unit = f" ({UNITS[name]})" if name in UNITS else ""
    measured, usual = (format_number(reading.details.get(key)) for key in ("measured", "usual"))
    text = f"{name} {measured}{unit}, usually {usual}{at_rate(reading.details)}"
    total, threshold = format_number(reading.value, 2), format_number(reading.threshold, 2)
    return f"{text}; sum of shortfalls {total} of {threshold} standard deviations"


def _state_of(before: Reading | None, chart: Chart) -> ChartState:
    return chart.reference if before is None else ChartState.from_dict(before.details["standing"])
