"""The ledger: which trainings were admitted, what the gate answered, and every move of the champion.

Rows are only ever added, and the database itself refuses to change or delete a decision or a promotion, so the ledger
is the truth about which version is champion; MLflow's alias follows it. The champion moves by compare-and-swap: a move
names the version that it expects to replace, and fails if another one is champion by then.

`as_of` is the business instant and comes from the caller; `recorded_at` is the wall clock of the database.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import sqlalchemy as sa

from ml.registry import schema
from ml.registry.database import Database
from ml.registry.records import aware, is_json, one_of, read
from ml.registry.schema import Action, Outcome, Trigger


class ChampionMoved(RuntimeError):
    """The champion is not the one that was expected, so nothing was moved.

    Attributes:
        expected: version that the move was to replace, None for no champion.
        champion: version that is champion now, None for no champion.
    """

    def __init__(self, message: str, expected: str | None, champion: str | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.champion = champion


class NothingToRollBackTo(LookupError):
    """No version was champion before the current one."""


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
        seconds: time that training and judging took, where known.
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
    seconds: float | None = None

    def __post_init__(self) -> None:
        one_of("trigger", self.trigger, Trigger)
        one_of("outcome", self.outcome, Outcome)
        aware(self.as_of)
        is_json("evidence", self.evidence)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"decision on {self.model} {self.challenger_version}: {field.name} is {value}; give None")


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


@dataclass(frozen=True, kw_only=True)
class Move:
    """A wish to make `to_version` the champion in place of `expected_from` (None: there is no champion yet).

    Parameters:
        actor: person or component that moves.
        verdict: the gate's whole verdict; empty for a rollback.
        run_id: the orchestrator's run; a retry comes with the same one.
        hashes: SHA-256 of each file that becomes champion, by its path in the model's folder.
    """

    model: str
    action: Action
    expected_from: str | None
    to_version: str
    as_of: dt.datetime
    actor: str
    reason: str
    verdict: Mapping[str, Any]
    run_id: str
    hashes: Mapping[str, str]

    def __post_init__(self) -> None:
        one_of("action", self.action, Action)
        aware(self.as_of)
        is_json("verdict", self.verdict)
        if self.expected_from == self.to_version:
            raise ValueError(f"{self.model} version {self.to_version} cannot replace itself")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A move of the champion that happened; `sequence` counts a model's moves from 1 without a gap."""

    model: str
    sequence: int
    action: Action
    from_version: str | None
    to_version: str
    as_of: dt.datetime
    actor: str
    reason: str
    verdict: Mapping[str, Any]
    run_id: str
    hashes: Mapping[str, str]
    recorded_at: dt.datetime


def _moves_of(connection: sa.Connection, model: str) -> list[Promotion]:
    query = sa.select(schema.promotions).where(schema.promotions.c.model == model).order_by(schema.promotions.c.sequence)
    return [read(Promotion, row) for row in connection.execute(query).mappings()]


class Ledger:
    """The ledger of one database, which may hold many models.

    Writers take turns (SQLite's write lock, an advisory lock on PostgreSQL), so each of them decides on what the one
    before it wrote; unique constraints stand behind that. A ledger may be carried over a fork and needs no closing.

    Parameters:
        url: SQLAlchemy URL, `sqlite:///folder/ledger.db` or `postgresql://user@host/database`. Tables that are missing
            are made, also when several processes do so at once; so is the folder of a SQLite file.

    Raises:
        ValueError: the URL is of another database, or of a SQLite database in memory.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def admit(self, admission: Admission) -> AdmissionAnswer:
        """Admit a training by itself; see `admit`."""
        with self._database.writing() as connection:
            return admit(connection, admission)

    def trainings(self, model: str) -> list[Training]:
        """All requests to train a model, admitted and refused, in the order in which they were recorded."""
        query = sa.select(schema.trainings).where(schema.trainings.c.model == model).order_by(schema.trainings.c.id)
        with self._database.reading() as connection:
            return [read(Training, row) for row in connection.execute(query).mappings()]

    def last_training(self, model: str) -> Training | None:
        """The admitted training that saw the newest data, None if none was admitted."""
        admitted = [training for training in self.trainings(model) if training.admitted]
        return max(admitted, key=lambda training: (training.as_of, training.id), default=None)

    def record(self, decision: Decision) -> Decision:
        """Record an answer of the gate; the first answer on a challenger against a champion is kept and returned."""
        with self._database.writing() as connection:
            same = sa.select(schema.decisions).where(
                schema.decisions.c.model == decision.model,
                schema.decisions.c.challenger_version == decision.challenger_version,
                schema.decisions.c.champion_version == decision.champion_version,
            )
            row = connection.execute(same).mappings().one_or_none()
            if row is None:
                told = {field.name: getattr(decision, field.name) for field in fields(decision)}
                connection.execute(sa.insert(schema.decisions).values(told))
                row = connection.execute(same).mappings().one()
            return read(Decision, row)

    def decisions(self, model: str) -> list[Decision]:
        """All answers of the gate on a model, in the order in which they were recorded."""
        query = sa.select(schema.decisions).where(schema.decisions.c.model == model).order_by(schema.decisions.c.id)
        with self._database.reading() as connection:
            return [read(Decision, row) for row in connection.execute(query).mappings()]

    def use_holdout(self, use: HoldoutUse, allowed: Callable[[list[HoldoutUse]], None]) -> None:
        """Record that two models are compared on a holdout, before anybody has seen how they compare.

        The same comparison again is the same use.

        Parameters:
            allowed: is given the uses before this one, and raises to refuse it; nothing is recorded then.
        """
        told = asdict(use)
        key = ("model", "challenger_hash", "champion_hash", "start", "end", "alpha")
        with self._database.writing() as connection:
            past = self._uses(connection, use.model)
            if any(all(getattr(other, name) == told[name] for name in key) for other in past):
                return
            allowed(past)
            connection.execute(sa.insert(schema.holdout_uses).values(told))

    def holdout_uses(self, model: str) -> list[HoldoutUse]:
        """All comparisons of a model, in the order in which they were recorded."""
        with self._database.reading() as connection:
            return self._uses(connection, model)

    def _uses(self, connection: sa.Connection, model: str) -> list[HoldoutUse]:
        query = sa.select(schema.holdout_uses).where(schema.holdout_uses.c.model == model).order_by(schema.holdout_uses.c.id)
        return [read(HoldoutUse, row) for row in connection.execute(query).mappings()]

    def champion(self, model: str) -> str | None:
        """The version that is champion, None before the first promotion."""
        moves = sa.select(schema.promotions.c.to_version).where(schema.promotions.c.model == model)
        with self._database.reading() as connection:
            return connection.scalar(moves.order_by(schema.promotions.c.sequence.desc()).limit(1))

    def history(self, model: str) -> list[Promotion]:
        """All moves of a model's champion, oldest first."""
        with self._database.reading() as connection:
            return _moves_of(connection, model)

    def move(self, move: Move) -> Promotion:
        """Move the champion, if it still is the one that the mover expects.

        The same move by the same run, which is a retry, changes nothing and returns the row of the first time.

        Raises:
            ChampionMoved: another version is champion than expected, or this very move was made and then undone.
            NothingToRollBackTo, ValueError: a rollback to a version that is not `rollback_target`.
        """
        with self._database.writing() as connection:
            history = _moves_of(connection, move.model)
            made = [past for past in history if _same(past, move)]
            if made and made[-1] is history[-1]:
                return made[-1]
            champion = history[-1].to_version if history else None
            if made:
                raise ChampionMoved(
                    f"{move.model}: run {move.run_id} made version {made[-1].to_version} champion in move "
                    f"{made[-1].sequence}, and {history[-1].actor} made version {champion} champion since; "
                    "a retry does not undo that: start a new run to decide again",
                    move.expected_from,
                    champion,
                )
            if champion != move.expected_from:
                again = "run the gate again" if move.action == "promote" else "see ledger.history, then roll back again"
                raise ChampionMoved(
                    f"{move.model}: expected {_named(move.expected_from)} to be champion, but {_named(champion)} is; "
                    f"nothing was moved: {again} against {_named(champion)}",
                    move.expected_from,
                    champion,
                )
            if move.action == "rollback" and move.to_version != (target := rollback_target(history)):
                raise ValueError(f"{move.model}: a rollback goes to version {target}, not to {move.to_version}")
            told = {field.name: getattr(move, field.name) for field in fields(move)}
            told["from_version"] = told.pop("expected_from")
            connection.execute(sa.insert(schema.promotions).values(**told, sequence=len(history) + 1))
            return _moves_of(connection, move.model)[-1]


def admit(connection: sa.Connection, admission: Admission) -> AdmissionAnswer:
    """Admit a training unless another run holds its key; whatever the answer, it is recorded.

    The run that holds the key is admitted again: it is a retry.

    Parameters:
        connection: one that is writing, see `ml.registry.database.Database.writing`.
    """
    held = sa.select(schema.trainings).where(
        schema.trainings.c.model == admission.model,
        schema.trainings.c.idempotency_key == admission.idempotency_key,
        schema.trainings.c.admitted,
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


def _answer(connection: sa.Connection, admission: Admission, admitted: bool, why: str, holder: str) -> AdmissionAnswer:
    told = {**asdict(admission), "admitted": admitted, "outcome_reason": why}
    key = ("model", "idempotency_key", "run_id", "admitted", "outcome_reason")
    same = [schema.trainings.c[name] == told[name] for name in key]
    row = connection.execute(sa.select(schema.trainings).where(*same)).mappings().first()
    if row is None:
        insert = sa.insert(schema.trainings).values(told).returning(*schema.trainings.c)
        row = connection.execute(insert).mappings().one()
    return AdmissionAnswer(admitted, why, read(Training, row), holder)


def _same(past: Promotion, move: Move) -> bool:
    """Whether a move was made before; a run rolls back once, wherever that led."""
    if (past.run_id, past.action) != (move.run_id, move.action):
        return False
    return move.action == "rollback" or past.to_version == move.to_version


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"


def champions_of(history: Sequence[Promotion]) -> list[str]:
    """The versions whose promotions still stand, oldest first; the last one is champion. Rollbacks undo promotions one by one.

    Parameters:
        history: all moves of one model, oldest first.
    """
    champions: list[str] = []
    for past in history:
        if past.action == "promote":
            champions.append(past.to_version)
        else:
            champions.pop()
    return champions


def rollback_target(history: Sequence[Promotion]) -> str:
    """The version that was champion when the current one was promoted.

    Rollbacks undo promotions one by one: after promotions of 1, 2 and 3 they lead to 2, to 1, and to an error.

    Parameters:
        history: all moves of one model, oldest first.

    Raises:
        NothingToRollBackTo: there is no champion, or the champion is the first one.
    """
    champions = champions_of(history)
    if len(champions) < 2:
        now = f"version {champions[0]} is the first champion" if champions else "there is no champion"
        raise NothingToRollBackTo(f"{now}, there is nothing before; promote another version through the gate")
    return champions[-2]
