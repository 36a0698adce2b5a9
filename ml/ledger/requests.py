"""Retraining requests: who asked for a training, on what evidence, and how each of them was answered.

A request is delivered at least once; its key makes the second delivery the same request. It is open until an answer closes
it, and whoever answers does so on all open requests at once, one run after the other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml.ledger.database import Database
from ml.ledger.records import aware, is_json, one_of, read
from ml.ledger.table import table
from ml.ledger.trainings import Admission, AdmissionAnswer, admit
from ml.ledger.words import AnswerWord, Trigger

SERVED = ("started", "joined")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A wish that a model be trained.

    Parameters:
        key: what makes two deliveries the same request.
        as_of: the instant that the evidence is of.
        requested_by: person or component that asks.
        evidence: what speaks for it; plain values.
    """

    model: str
    key: str
    trigger: Trigger
    as_of: dt.datetime
    requested_by: str
    reason: str
    evidence: Mapping[str, Any]

    def __post_init__(self) -> None:
        one_of("trigger", self.trigger, Trigger)
        aware(self.as_of)
        is_json("evidence", self.evidence)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a run answered a request.

    Parameters:
        answer: `started` (the run trains for this request), `joined` (a training for another one answers this one too),
            `waits` (held back for now, and open) or `refused`.
        run_id: the run; for `joined` the one that trains.
    """

    request: int
    answer: AnswerWord
    reason: str
    run_id: str
    as_of: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Recorded(Request):
    """A recorded request with all its answers, oldest first."""

    id: int
    recorded_at: dt.datetime
    answers: tuple[Answer, ...]

    @property
    def last(self) -> Answer | None:
        """The newest answer."""
        return self.answers[-1] if self.answers else None

    @property
    def is_open(self) -> bool:
        """Whether no answer has closed it."""
        return self.last is None or self.last.answer == "waits"

    def is_served_by(self, run_id: str) -> bool:
        """Whether a run trains for this request."""
        return any(a.run_id == run_id and a.answer in SERVED for a in self.answers)


requests = table("requests", Request, ("id",), ("model", "key"))
answers = table("answers", Answer, ("id",), ("request", "run_id", "answer"), refers={"request": "requests.id"})


@dataclass(frozen=True)
class Turn:
    """What a run may do while it alone answers the requests of a model."""

    connection: sa.Connection
    model: str

    def submit(self, request: Request) -> Recorded:
        """See `Requests.submit`."""
        return submit(self.connection, request)

    def all(self) -> list[Recorded]:
        """All requests of the model, oldest first."""
        return _all(self.connection, self.model)

    def admit(self, admission: Admission) -> AdmissionAnswer:
        """See `ml.ledger.trainings.admit`."""
        return admit(self.connection, admission)


class Requests:
    """The requests of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, request: Request) -> Recorded:
        """Record a request; a second delivery changes nothing and returns the first one."""
        with self._database.writing() as connection:
            return submit(connection, request)

    def take_turn(self, model: str, decide: Callable[[Turn], Sequence[Answer]]) -> None:
        """Answer requests as one step that no other run can come between.

        Parameters:
            decide: is given the turn and returns the answers to record.
        """
        with self._database.writing() as connection:
            for given in decide(Turn(connection, model)):
                values = asdict(given)
                same = [answers.c[name] == values[name] for name in ("request", "run_id", "answer")]
                if connection.execute(sa.select(answers.c.id).where(*same)).first() is None:
                    connection.execute(sa.insert(answers).values(values))

    def all(self, model: str) -> list[Recorded]:
        """All requests of a model, oldest first."""
        with self._database.reading() as connection:
            return _all(connection, model)

    def unanswered(self, model: str, *triggers: Trigger) -> list[Recorded]:
        """The requests of these triggers that no run has answered yet, oldest first."""
        return [request for request in self.all(model) if request.last is None and request.trigger in triggers]

    def served_by(self, model: str, run_id: str) -> list[Recorded]:
        """The requests for which a run trains: those that it started for, and those that joined."""
        return [request for request in self.all(model) if request.is_served_by(run_id)]


def submit(connection: sa.Connection, request: Request) -> Recorded:
    """Record a request in a transaction that is writing; see `Requests.submit`."""
    same = sa.select(requests.c.id).where(requests.c.model == request.model, requests.c.key == request.key)
    if connection.execute(same).first() is None:
        connection.execute(sa.insert(requests).values(asdict(request)))
    return _all(connection, request.model, requests.c.key == request.key)[0]


def _all(connection: sa.Connection, model: str, *conditions: sa.ColumnElement[bool]) -> list[Recorded]:
    given: dict[int, list[Answer]] = {}
    chosen = sa.and_(requests.c.model == model, *conditions)
    for row in connection.execute(sa.select(answers).join(requests).where(chosen).order_by(answers.c.id)).mappings():
        given.setdefault(row["request"], []).append(read(Answer, row))
    query = sa.select(requests).where(chosen).order_by(requests.c.id)
    return [read(Recorded, row, answers=tuple(given.get(row["id"], ()))) for row in connection.execute(query).mappings()]
