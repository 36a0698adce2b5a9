"""Uses of holdouts: which days decided between which two models, recorded before anybody has seen how they compare."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ml.ledger.database import Database
from ml.ledger.records import aware, read
from ml.ledger.table import table

KEY = ("model", "challenger_hash", "champion_hash", "start", "end", "alpha")


@dataclass(frozen=True, kw_only=True)
class HoldoutUse:
    """A comparison of two models on the days from `start` to `end`, each a midnight; they are used from then on.

    Parameters:
        challenger_hash, champion_hash: content hashes of the two models.
        alpha: probability with which this comparison may promote an equal challenger.
        run_id: the orchestrator's run; a retry comes with the same one.
    """

    model: str
    challenger_hash: str
    champion_hash: str
    start: dt.datetime
    end: dt.datetime
    alpha: float
    as_of: dt.datetime
    run_id: str

    def __post_init__(self) -> None:
        for instant in (self.start, self.end, self.as_of):
            aware(instant)


holdout_uses = table(
    "holdout_uses", HoldoutUse, ("id",), KEY, rules=[sa.CheckConstraint('start < "end"', name="window_is_not_empty")]
)


class HoldoutUses:
    """The uses of holdouts in a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, use: HoldoutUse, allowed: Callable[[list[HoldoutUse]], None]) -> None:
        """Record that two models are compared on a holdout; the same comparison again is the same use.

        Parameters:
            allowed: is given the uses before this one, and raises to refuse it; nothing is recorded then.
        """
        values = asdict(use)
        with self._database.writing() as connection:
            past = _all(connection, use.model)
            if any(all(getattr(other, name) == values[name] for name in KEY) for other in past):
                return
            allowed(past)
            connection.execute(sa.insert(holdout_uses).values(values))

    def all(self, model: str) -> list[HoldoutUse]:
        """All comparisons of a model, in the order in which they were recorded."""
        with self._database.reading() as connection:
            return _all(connection, model)


def _all(connection: sa.Connection, model: str) -> list[HoldoutUse]:
    query = sa.select(holdout_uses).where(holdout_uses.c.model == model).order_by(holdout_uses.c.id)
    return [read(HoldoutUse, row) for row in connection.execute(query).mappings()]
