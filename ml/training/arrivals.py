"""Delays of answers compared with `labels.delay`; an event whose answer is later counts as a negative until then.

An answer's age is the time from its event to its report. If the answer arrived later than the daily delivery after its report,
the excess is added; the wait for that delivery does not count, because nightly trainings are not affected by it.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake, instant
from ml.training.split import split

SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
PROPOSED = 0.95
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Curve:
    """Answers of one kind: their number, the share later than the declared delay, and quantiles of age in hours by `SHARES`."""

    answers: int
    late: float
    hours: tuple[float, ...]


@dataclass(frozen=True)
class Arrivals:
    """Events whose answers should have arrived: their number, and the curves of all first answers and of the positive ones."""

    events: int
    all: Curve
    positive: Curve
    delay: dt.timedelta

    @property
    def unanswered(self) -> float:
        """Share of the events without any answer."""
        return 1 - self.all.answers / self.events if self.events else 0.0

    @property
    def slowest(self) -> Curve:
        """The curve with the larger share of late answers."""
        return max(self.positive, self.all, key=lambda curve: curve.late)

    @property
    def proposed_delay(self) -> str:
        """The delay by which 95 % of the answers have arrived, in the form of the deployment file."""
        hours = self.slowest.hours[SHARES.index(PROPOSED)]
        if hours <= 48:
            return f"{max(1, math.ceil(hours))} hours"
        return f"{math.ceil(hours / 24)} days"

    def state(self, config: Config) -> str:
        """Whether answers agree with the declared delay: no more come later than `labels.late` allows."""
        if not self.all.answers:
            return "NONE"
        return "in time" if self.slowest.late <= config.labels.late.value else "LATE"

    @property
    def summary(self) -> str:
        """The shares of late and missing answers in one sentence."""
        kind = "positive answers" if self.slowest is self.positive else "answers"
        return (
            f"{self.slowest.late:.1%} of the {kind} came later than labels.delay ({self.delay / HOUR:g} hours) and "
            f"{PROPOSED:.0%} are in after {self.proposed_delay}; {self.unanswered:.1%} of {self.events:,} events have no answer"
        )


def arrivals(config: Config, as_of: dt.datetime, versions: dict[str, int] | None = None) -> Arrivals:
    """The answers on the events of the training window at `as_of`, from the lake at the versions of its tables."""
    windows = split(config, as_of)
    wait = DAY + config.events.lag.span
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    curve = f"count({{0}}), avg(({{0}} > {_seconds(config.label_delay)})::INT), quantile_cont({{0}}, {list(SHARES)})"
    with Lake(config.lake).connect(tables, as_of, versions) as connection:
        (counted,) = connection.execute(
            f"""
            WITH chosen AS (
                SELECT event_id, event_time FROM events
                WHERE event_time >= {instant(windows.train_start)} AND event_time < {instant(windows.validation_start)}
            ),
            answer AS (
                SELECT event_id, labels.label, epoch(greatest(
                    labels.reported_at, labels.known_at - to_seconds({_seconds(wait)})) - chosen.event_time) AS age
                FROM chosen JOIN labels USING (event_id)
            ),
            answered AS (
                SELECT event_id, min(age) AS age, min(age) FILTER (label = 1) AS positive FROM answer GROUP BY event_id
            )
            SELECT (SELECT count(*) FROM chosen), {curve.format("age")}, {curve.format("positive")} FROM answered
            """
        ).fetchall()
    return Arrivals(counted[0], _curve(*counted[1:4]), _curve(*counted[4:7]), config.label_delay)


def _curve(answers: int, late: float | None, ages: list[float] | None) -> Curve:
    return Curve(answers, late or 0.0, tuple(max(0.0, age) / 3600 for age in ages or [0.0] * len(SHARES)))


def _seconds(span: dt.timedelta) -> float:
    return span.total_seconds()
