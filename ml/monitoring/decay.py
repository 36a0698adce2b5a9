"""Whether the champion does its work worse than on its reference days, on the day whose answers have just matured."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.ledger.signals import Alarm, Reading
from ml.monitoring import words
from ml.monitoring.cusum import Chart, Performance, Standing
from ml.monitoring.performance import UNITS, Figure
from ml.monitoring.words import PERFORMANCE, figure

WARN = 0.5
"""Share of its threshold from which a sum is worth a look."""


@dataclass(frozen=True)
class Decay:
    """What the matured day says.

    Attributes:
        readings: of all charts.
        alarm: the reason to train, on the day on which it was confirmed.
    """

    readings: tuple[Reading, ...]
    alarm: Alarm | None


def decay_of(
    charts: Performance,
    usual: Mapping[str, float],
    rate: float,
    version: str,
    matured: dt.date,
    values: Mapping[str, Figure | None],
    sound: bool,
    before: Mapping[str, Reading],
    cooled: bool,
) -> Decay:
    """Advance the charts by a matured day.

    Args:
        usual: by metric, its mean on the reference days; rate: their base rate.
        values: of the metrics on that day.
        sound: whether the champion scored what really happened; if not, the charts stay where they are.
        before: the readings of the day before, by signal; none for the first day.
        cooled: whether an alarm may be raised, long enough after the last one.
    """
    standings = {name: _standing(before.get(PERFORMANCE + name), chart) for name, chart in charts.charts.items()}
    charted = {name: found.charted if sound and (found := values[name]) else None for name in charts.charts}
    after = charts.advance(standings, matured, charted)
    readings = []
    for name, chart in charts.charts.items():
        # After an alarm the sum is 0 again; what it came to is told by a chart that never alarms.
        endless = replace(chart, threshold=math.inf)
        total = endless.advance(standings[name], matured, charted[name]).total
        fell, warns = after[name].alarm and cooled, total > WARN * chart.threshold
        found = values[name]
        told = {
            "day": matured.isoformat(),
            "measured": found.at_usual_rate if found else None,
            "usual": usual[name],
            "usual_rate": rate,
            "of_day": found.value if found else None,
            "rate": found.rate if found else None,
        }
        readings.append(
            Reading(
                signal=PERFORMANCE + name,
                kind="performance",
                value=total,
                threshold=chart.threshold,
                state="CONFIRMED" if fell else "WARN" if warns else "OK",
                details=told | {"standing": after[name].to_dict()},
            )
        )
    fallen = [reading for reading in readings if reading.state == "CONFIRMED"]
    if not fallen:
        return Decay(tuple(readings), None)
    words = "; ".join(in_words(reading) for reading in fallen)
    evidence = {
        "version": version,
        "day": matured.isoformat(),
        "figure": in_words(fallen[0]),
        "signals": {
            r.signal: {"measured": r.details["measured"], "usual": r.details["usual"], "sum": r.value, "threshold": r.threshold}
            for r in fallen
        },
    }
    alarm = Alarm(trigger="performance", reason=f"loss confirmed on {matured}: {words}", evidence=evidence)
    return Decay(tuple(readings), alarm)


def in_words(reading: Reading) -> str:
    """A chart with its figures."""
    name = reading.signal.removeprefix(PERFORMANCE)
    unit = f" ({UNITS[name]})" if name in UNITS else ""
    told = f"{name} {figure(reading.details.get('measured'))}{unit}, usually {figure(reading.details.get('usual'))}"
    told += words.at_rate(reading.details)
    return f"{told}; sum of shortfalls {figure(reading.value, 2)} of {figure(reading.threshold, 2)} standard deviations"


def _standing(before: Reading | None, chart: Chart) -> Standing:
    return chart.reference if before is None else Standing.from_dict(before.details["standing"])
