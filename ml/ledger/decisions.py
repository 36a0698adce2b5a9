"""Answers of the gate. The first answer on a challenger against a champion is the one that counts."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa

from ml.errors import BadInput
from ml.ledger.database import Database
from ml.ledger.records import aware, is_json, one_of, read
from ml.ledger.table import Json, Member, table
from ml.ledger.words import Outcome, Trigger

PRIMARY = "primary"
"""Where the evidence has the figures of the deciding metric."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One answer of the gate.

    Parameters:
        champion_version: the version that was judged against, None for the first model.
        metric: name of the primary metric; `difference` is challenger minus champion in its unit.
        lower_bound: one-sided lower confidence bound of the difference; the two-sided interval is `interval_low` to
            `interval_high`. All of them are None where nothing could be compared.
        minimum_detectable_effect: smallest true difference that this holdout would have shown, in the metric's unit.
        rows: rows of the holdout.
        training_rows: rows that the challenger was fitted on.
        evidence: the whole verdict.
    """

    model: str
    as_of: dt.datetime
    trigger: Trigger
    run_id: str
    champion_version: str | None
    challenger_version: str
    outcome: Outcome
    metric: str
    difference: float | None
    lower_bound: float | None
    interval_low: float | None
    interval_high: float | None
    minimum_detectable_effect: float | None
    rows: int
    training_rows: int
    reason: str
    evidence: Mapping[str, Any]

    def __post_init__(self) -> None:
        one_of("trigger", self.trigger, Trigger)
        one_of("outcome", self.outcome, Outcome)
        aware(self.as_of)
        is_json("evidence", self.evidence)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise BadInput(f"decision on {self.model} {self.challenger_version}: {field.name} is {value}; give None")


decisions = table("decisions", Decision, ("id",), ("model", "challenger_version", "champion_version"))


class Decisions:
    """The decisions of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, decision: Decision) -> Decision:
        """Record an answer of the gate; the first answer on a challenger against a champion is kept and returned."""
        with self._database.writing() as connection:
            same = sa.select(decisions).where(
                decisions.c.model == decision.model,
                decisions.c.challenger_version == decision.challenger_version,
                decisions.c.champion_version.is_not_distinct_from(decision.champion_version),
            )
            row = connection.execute(same).mappings().one_or_none()
            if row is None:
                connection.execute(sa.insert(decisions).values(asdict(decision)))
                row = connection.execute(same).mappings().one()
            return read(Decision, row)

    def since(self, model: str, number: int) -> list[tuple[int, Decision]]:
        """The answers of the gate on a model that were recorded after the one of this number, each with its own number.

        Of the evidence they have the figures of the deciding metric alone; a whole verdict is a thousand times longer.
        """
        columns = [column for column in decisions.c if column is not decisions.c.evidence]
        primary = sa.type_coerce(Member(decisions.c.evidence, PRIMARY), Json).label(PRIMARY)
        query = sa.select(*columns, primary).where(decisions.c.model == model, decisions.c.id > number)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(decisions.c.id)).mappings()
            return [(row["id"], read(Decision, row, evidence={PRIMARY: row[PRIMARY]})) for row in rows]

    def newest(self, model: str) -> Decision | None:
        """The last answer of the gate on a model, None before the first."""
        query = sa.select(decisions).where(decisions.c.model == model).order_by(decisions.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else read(Decision, row)

    def all(self, model: str) -> list[Decision]:
        """All answers of the gate on a model, in the order in which they were recorded."""
        query = sa.select(decisions).where(decisions.c.model == model).order_by(decisions.c.id)
        with self._database.reading() as connection:
            return [read(Decision, row) for row in connection.execute(query).mappings()]
