"""Moves of the champion, by compare-and-swap: a move names the version that it expects to replace, and fails if another one
is champion by then. They are the truth about which version is champion; MLflow's alias follows them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml.errors import BadInput, Refused
from ml.ledger.database import Also, Database
from ml.ledger.records import aware, is_json, one_of, read
from ml.ledger.table import table
from ml.ledger.words import Action


class ChampionMoved(Refused, RuntimeError):
    """The champion is not the one that was expected, so nothing was moved.

    Attributes:
        expected: version that the move was to replace, None for no champion.
        champion: version that is champion now, None for no champion.
    """

    def __init__(self, message: str, expected: str | None, champion: str | None) -> None:
        super().__init__(message)
        self.expected = expected
        self.champion = champion


class NothingToRollBackTo(Refused, LookupError):
    """No version was champion before the current one."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A wish to make `to_version` the champion in place of `expected_from` (None: there is no champion yet).

    Parameters:
        actor: person or component that moves.
        action: `promote` and `refresh` put a new version in place, `rollback` undoes the last of them that stands.
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
            raise BadInput(f"{self.model} version {self.to_version} cannot replace itself")


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


promotions = table(
    "promotions",
    Promotion,
    ("model", "sequence"),
    rules=[sa.CheckConstraint("sequence >= 1", name="sequence_from_one")],
)


class Moves:
    """The moves of the champions in a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def champion(self, model: str) -> str | None:
        """The version that is champion, None before the first promotion."""
        moves = sa.select(promotions.c.to_version).where(promotions.c.model == model)
        with self._database.reading() as connection:
            return connection.scalar(moves.order_by(promotions.c.sequence.desc()).limit(1))

    def count(self, model: str) -> int:
        """How many moves there were; the number of the last one."""
        moves = sa.select(sa.func.max(promotions.c.sequence)).where(promotions.c.model == model)
        with self._database.reading() as connection:
            return connection.scalar(moves) or 0

    def newest(self, model: str) -> Promotion | None:
        """The last move of a model's champion, None before the first promotion."""
        query = sa.select(promotions).where(promotions.c.model == model).order_by(promotions.c.sequence.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else read(Promotion, row)

    def history(self, model: str) -> list[Promotion]:
        """All moves of a model's champion, oldest first."""
        with self._database.reading() as connection:
            return _moves_of(connection, model)

    def since(self, model: str, sequence: int) -> list[Promotion]:
        """The moves of a model's champion after the one with this number, oldest first, without the verdicts behind them."""
        columns = [column for column in promotions.c if column is not promotions.c.verdict]
        query = sa.select(*columns).where(promotions.c.model == model, promotions.c.sequence > sequence)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(promotions.c.sequence)).mappings()
            return [read(Promotion, row, verdict={}) for row in rows]

    def make(self, move: Move, also: Also = lambda connection: None) -> Promotion:
        """Move the champion, if it still is the one that the mover expects.

        The same move by the same run, which is a retry, changes nothing and returns the row of the first time.

        Parameters:
            also: what is recorded with it.

        Raises:
            ChampionMoved: another version is champion than expected, or this very move was made and then undone.
            NothingToRollBackTo, ValueError: a rollback to a version that is not `rollback_target`.
        """
        with self._database.writing() as connection:
            also(connection)
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
                undo = move.action == "rollback"
                again = "look at `python -m ml history`, then roll back again" if undo else "run the gate again"
                raise ChampionMoved(
                    f"{move.model}: expected {_named(move.expected_from)} to be champion, but {_named(champion)} is; "
                    f"nothing was moved: {again} against {_named(champion)}",
                    move.expected_from,
                    champion,
                )
            if move.action == "rollback" and move.to_version != (target := rollback_target(history)):
                raise BadInput(f"{move.model}: a rollback goes to version {target}, not to {move.to_version}")
            values = asdict(move)
            values["from_version"] = values.pop("expected_from")
            connection.execute(sa.insert(promotions).values(**values, sequence=len(history) + 1))
            return _moves_of(connection, move.model)[-1]


def _moves_of(connection: sa.Connection, model: str) -> list[Promotion]:
    query = sa.select(promotions).where(promotions.c.model == model).order_by(promotions.c.sequence)
    return [read(Promotion, row) for row in connection.execute(query).mappings()]


def _same(past: Promotion, move: Move) -> bool:
    """Whether a move was made before; a run rolls back once, wherever that led."""
    if (past.run_id, past.action) != (move.run_id, move.action):
        return False
    return move.action == "rollback" or past.to_version == move.to_version


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"


def champions_of(history: Sequence[Promotion]) -> list[str]:
    """The versions whose promotion or refresh still stands, oldest first; the last one is champion. A rollback undoes one.

    Parameters:
        history: all moves of one model, oldest first.
    """
    champions: list[str] = []
    for past in history:
        if past.action == "rollback":
            champions.pop()
        else:
            champions.append(past.to_version)
    return champions


def refreshed_by_champion(history: Sequence[Promotion]) -> list[str]:
    """The versions that the champion is a refresh of, newest first: it has their recipe.

    Parameters:
        history: all moves of one model, oldest first.
    """
    refreshes = {past.to_version for past in history if past.action == "refresh"}
    champions = champions_of(history)
    found: list[str] = []
    while len(champions) > 1 and champions[-1] in refreshes:
        champions.pop()
        found.append(champions[-1])
    return found


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
