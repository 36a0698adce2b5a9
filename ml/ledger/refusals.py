"""Trainings that were refused: recorded, so that a streak of them is counted from what happened, whoever ran them."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ml.ledger.database import Database
from ml.ledger.decisions import decisions
from ml.ledger.records import aware, read
from ml.ledger.table import table


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A step that refused a training at an instant, and why."""

    model: str
    as_of: dt.datetime
    step: str
    reason: str
    run_id: str = ""

    def __post_init__(self) -> None:
        aware(self.as_of)


refusals = table("refusals", Refusal, ("id",), ("model", "as_of", "step"))


class Refusals:
    """The refusals of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, refusal: Refusal) -> None:
        """Record a refusal; a step that is tried again at the same instant changes nothing."""
        key = {"model": refusal.model, "as_of": refusal.as_of, "step": refusal.step}
        with self._database.writing() as connection:
            same = sa.select(refusals.c.id).where(*[refusals.c[name] == value for name, value in key.items()])
            if connection.execute(same).first() is None:
                connection.execute(sa.insert(refusals).values(asdict(refusal)))

    def streak(self, model: str) -> list[Refusal]:
        """The refusals since the last training that came to a decision, oldest first, the last one of each day."""
        decided = sa.select(decisions.c.as_of).where(decisions.c.model == model).order_by(decisions.c.as_of.desc()).limit(1)
        query = sa.select(refusals).where(refusals.c.model == model).order_by(refusals.c.as_of, refusals.c.id)
        with self._database.reading() as connection:
            last = connection.scalar(decided)
            found = [read(Refusal, row) for row in connection.execute(query).mappings()]
        nights = {refusal.as_of.date(): refusal for refusal in found if last is None or refusal.as_of > last}
        return list(nights.values())
