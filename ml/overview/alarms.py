"""What became of each alarm: the request that it made, the answer, the verdict, and the performance before and after."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from dataclasses import dataclass

from ml.config import Config
from ml.evaluation.statistics import AVERAGE_PRECISION
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Promotion
from ml.ledger.requests import Answer
from ml.ledger.signals import Confirmation
from ml.ledger.words import Trigger
from ml.monitoring.words import PERFORMANCE
from ml.overview.decisions import Judged, decisions

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """Average precision of the days from `first` (None: of all before) to before `end` (None: of all after).

    Parameters:
        name: `before` the alarm, `since`, or `renewed` from the promotion that followed.
        mean: over the days, each read at the usual base rate as it is charted; None if no day has its answers yet.
        days: number of days with answers.
        answers_from: first day on which answers of the span can be in; None for what lies before an alarm.
    """

    name: str
    first: dt.date | None
    end: dt.date | None
    mean: float | None
    days: int
    answers_from: dt.date | None


@dataclass(frozen=True)
class Alarm:
    """A confirmed alarm of a version, and what followed; None for what has not happened yet."""

    trigger: Trigger
    version: str
    day: dt.date
    as_of: dt.datetime
    reason: str
    request: int
    answer: Answer | None
    verdict: Judged | None
    performance: tuple[Span, ...]


def alarms(config: Config) -> list[Alarm]:
    """All confirmed alarms, oldest first."""
    ledger = Ledger(config.ledger)
    moves = ledger.moves.history(config.name)
    answers = {request.id: request.last for request in ledger.requests.all(config.name)}
    verdicts = {verdict.run_id: verdict for verdict in decisions(config)}
    measured = _measured(ledger, config.name, moves)
    found = []
    for alarm in ledger.signals.confirmations(config.name):
        answer = answers.get(alarm.request)
        found.append(
            Alarm(
                trigger=alarm.trigger,
                version=alarm.version,
                day=alarm.day,
                as_of=alarm.as_of,
                reason=alarm.reason,
                request=alarm.request,
                answer=answer,
                verdict=verdicts.get(answer.run_id) if answer else None,
                performance=_spans(config, alarm, moves, measured),
            )
        )
    return found


def _measured(ledger: Ledger, model: str, moves: list[Promotion]) -> dict[dt.date, float]:
    """Average precision of each day whose answers are in, of the versions that were champion."""
    measured = {}
    for version in {move.to_version for move in moves}:
        for seen in ledger.signals.readings(model, version):
            if seen.signal == PERFORMANCE + AVERAGE_PRECISION.name and seen.details["measured"] is not None:
                measured[dt.date.fromisoformat(seen.details["day"])] = seen.details["measured"]
    return measured


def _spans(config: Config, alarm: Confirmation, moves: list[Promotion], measured: dict[dt.date, float]) -> tuple[Span, ...]:
    begun = dt.date.fromisoformat(alarm.evidence["day"]) - DAY  # an alarm takes two days over the threshold
    renewed = min((move.as_of.date() for move in moves if move.as_of > alarm.as_of), default=None)
    spans = [("before", None, begun), ("since", begun, renewed)]
    if renewed:
        spans.append(("renewed", renewed, None))
    delay = math.ceil(config.label_delay / DAY) * DAY
    return tuple(_span(name, first, end, delay, measured) for name, first, end in spans)


def _span(name: str, first: dt.date | None, end: dt.date | None, delay: dt.timedelta, measured: dict[dt.date, float]) -> Span:
    values = [v for day, v in measured.items() if (first is None or day >= first) and (end is None or day < end)]
    return Span(
        name=name,
        first=first,
        end=end,
        mean=statistics.mean(values) if values else None,
        days=len(values),
        answers_from=first + delay + DAY if first else None,
    )
