"""How many days of the holdout are fresh at an instant, the sentence on when there are enough, and what needs none of them.

A refresh needs none: its recipe was decided on before, and the holdout can only speak against it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from ml.config import Config
from ml.evaluation.reuse import Freshness, freshness
from ml.ledger.holdouts import HoldoutUse
from ml.ledger.moves import Promotion
from ml.training.split import split


def fresh_days_at(config: Config, as_of: dt.datetime, uses: list[HoldoutUse]) -> Freshness:
    """Freshness of the holdout that a training as of an instant would have."""
    window = split(config, as_of)
    return fresh_days(config, window.holdout_start, window.holdout_end, uses)


def fresh_days(config: Config, start: dt.datetime, end: dt.datetime, uses: list[HoldoutUse]) -> Freshness:
    """Freshness of a holdout, after the uses that count against it."""
    return freshness(start, end, [(use.start, use.end) for use in uses], int(config.gate.fresh.value))


def refresh_is_due(config: Config, history: Sequence[Promotion], as_of: dt.datetime) -> bool:
    """Whether the champion is old enough for a refresh.

    Args:
        history: all moves of the champion, oldest first.
    """
    refit = config.training.refit
    return refit is not None and bool(history) and as_of - history[-1].as_of >= refit.refresh.span


def next_night(days: Freshness, as_of: dt.datetime) -> dt.date:
    """The night on which the next decision can fall."""
    return (as_of + dt.timedelta(days=days.nights_to_wait)).date()


def spent(config: Config, days: Freshness, as_of: dt.datetime) -> str:
    """Why nothing can be decided yet, and when it can."""
    return (
        f"the holdout of {config.training.holdout.value:g} days holds {days.fresh} that no decision has used, {days.needed} "
        f"are needed ({config.gate.fresh.reason}): the next decision can fall on the night of "
        f"{next_night(days, as_of).isoformat()}"
    )
