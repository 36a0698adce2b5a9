"""Requests to train, admitted or refused. One training per model and idempotency key is admitted."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from ml.ledger.database import Database
from ml.ledger.records import aware, one_of, read
from ml.ledger.table import table
from ml.ledger.words import Trigger


@dataclass(frozen=True, kw_only=True)
class Admission:
    """A request to train.

    Parameters:
        idempotency_key: what makes two requests the same one; one training per model and key is admitted.
        as_of: what the training would see; an aware instant.
        requested_by: person or component that asked.
        reason: evidence for the request, in words.
        run_id: the orchestrator's run; a retry comes with the same one.
        watermark: hash of the data that was visible.
    """

    model: str
    idempotency_key: str
    as_of: dt.datetime
    trigger: Trigger
    requested_by: str
    reason: str
    run_id: str
    watermark: str

    def __post_init__(self) -> None:
        one_of("trigger", self.trigger, Trigger)
        aware(self.as_of)


@dataclass(frozen=True, kw_only=True)
class Training(Admission):
    """A recorded request: admitted or refused, with the reason in `outcome_reason`."""

    id: int
    admitted: bool
    outcome_reason: str
    recorded_at: dt.datetime


@dataclass(frozen=True)
class AdmissionAnswer:
    """Whether to train, and why or why not; `training` is the row that records it, `holder` the run that has the key."""

    admitted: bool
    reason: str
    training: Training
    holder: str


ADMITTED_ONCE = ("model", "idempotency_key")
trainings = table("trainings", Training, ("id",), ADMITTED_ONCE, where={ADMITTED_ONCE: "admitted"})


class Trainings:
    """The trainings of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def admit(self, admission: Admission) -> AdmissionAnswer:
        """Admit a training by itself; see `admit`."""
        with self._database.writing() as connection:
            return admit(connection, admission)

    def all(self, model: str) -> list[Training]:
        """All requests to train a model, admitted and refused, in the order in which they were recorded."""
        query = sa.select(trainings).where(trainings.c.model == model).order_by(trainings.c.id)
        with self._database.reading() as connection:
            return [read(Training, row) for row in connection.execute(query).mappings()]


def admit(connection: sa.Connection, admission: Admission) -> AdmissionAnswer:
    """Admit a training unless another run holds its key; whatever the answer, it is recorded.

    The run that holds the key is admitted again: it is a retry.

    Parameters:
        connection: one that is writing, see `ml.ledger.database.Database.writing`.
    """
    held = sa.select(trainings).where(
        trainings.c.model == admission.model,
        trainings.c.idempotency_key == admission.idempotency_key,
        trainings.c.admitted,
    )
    row = connection.execute(held).mappings().one_or_none()
    if row is None:
        return _answer(connection, admission, True, "first request with this key", admission.run_id)
    first = read(Training, row)
    if first.run_id == admission.run_id:
        return AdmissionAnswer(True, "retry of the run that was admitted", first, first.run_id)
    refusal = (
        f"run {first.run_id} was admitted with this key ({first.trigger}, as of {first.as_of.isoformat()}): "
        "look at that run, or train on other data"
    )
    return _answer(connection, admission, False, refusal, first.run_id)


def _answer(connection: sa.Connection, admission: Admission, admitted: bool, reason: str, holder: str) -> AdmissionAnswer:
    values = {**asdict(admission), "admitted": admitted, "outcome_reason": reason}
    key = ("model", "idempotency_key", "run_id", "admitted", "outcome_reason")
    same = [trainings.c[name] == values[name] for name in key]
    row = connection.execute(sa.select(trainings).where(*same)).mappings().first()
    if row is None:
        row = connection.execute(sa.insert(trainings).values(values).returning(*trainings.c)).mappings().one()
    return AdmissionAnswer(admitted, reason, read(Training, row), holder)
