"""Answers of the gate, each with what became of the champion."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from ml.config import Config
from ml.ledger.decisions import Decision
from ml.ledger.moves import Promotion
from ml.ledger.words import Outcome, Trigger
from ml.overview.past import past


@dataclass(frozen=True)
class Judged:
    """One answer of the gate.

    Parameters:
        champion_version: that was judged against, None for the first model.
        champion_value, challenger_value: of `metric` on the same rows; None where nothing could be compared.
        difference, interval_low, interval_high: challenger minus champion with its 95 % interval, in the metric's unit.
        training_rows, rows: rows that the challenger was fitted on, and rows that both were judged on.
        champion_after: the version that was champion after this run, None if there was none.
    """

    as_of: dt.datetime
    trigger: Trigger
    run_id: str
    champion_version: str | None
    challenger_version: str
    outcome: Outcome
    reason: str
    metric: str
    champion_value: float | None
    challenger_value: float | None
    difference: float | None
    interval_low: float | None
    interval_high: float | None
    training_rows: int
    rows: int
    champion_after: str | None


def decisions(config: Config) -> list[Judged]:
    """All answers of the gate, oldest first."""
    known = past(config)
    return judged(known.verdicts(), known.moves())


def judged(answers: list[Decision], moves: list[Promotion]) -> list[Judged]:
    """The answers of the gate with the champion after each; both lists are of one model, oldest first."""
    of_run = {move.run_id: place for place, move in enumerate(moves)}
    # A move may be of an earlier instant than the one before it, so that only these are in order.
    earliest = list(accumulate((move.as_of for move in reversed(moves)), min))[::-1]
    return [_judged(answer, _champion_after(answer, moves, earliest, of_run)) for answer in answers]


def _champion_after(
    answer: Decision, moves: list[Promotion], earliest: list[dt.datetime], of_run: dict[str, int]
) -> str | None:
    """The champion as of the decision: moves of its own run count, later ones do not.

    Args:
        earliest: for each move, the earliest instant of it and those after it.
        of_run: the place of a run's last move.
    """
    place = max(bisect_left(earliest, answer.as_of) - 1, of_run.get(answer.run_id, -1))
    return moves[place].to_version if place >= 0 else None


def _judged(answer: Decision, champion_after: str | None) -> Judged:
    primary = answer.evidence.get("primary") or {}
    return Judged(
        as_of=answer.as_of,
        trigger=answer.trigger,
        run_id=answer.run_id,
        champion_version=answer.champion_version,
        challenger_version=answer.challenger_version,
        outcome=answer.outcome,
        reason=answer.reason,
        metric=answer.metric,
        champion_value=primary.get("champion"),
        challenger_value=primary.get("challenger"),
        difference=answer.difference,
        interval_low=answer.interval_low,
        interval_high=answer.interval_high,
        training_rows=answer.training_rows,
        rows=answer.rows,
        champion_after=champion_after,
    )
