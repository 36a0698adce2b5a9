"""Competitions: versions that each answer a fixed share of the traffic beside the champion, until an instant.

A competition decides nothing. It rests while a version is released, and while another version is champion than the one beside
which it began. At most one that is neither over nor stopped begins beside a champion.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml.errors import Refused
from ml.ledger.database import Database
from ml.ledger.records import aware, is_json, read
from ml.ledger.table import table


class CompetitionOpen(Refused, RuntimeError):
    """Other versions compete."""


class NoCompetition(Refused, LookupError):
    """No versions compete."""


@dataclass(frozen=True, kw_only=True)
class Competition:
    """The wish to let versions compete.

    Parameters:
        champion: that answers the rest of the traffic.
        contenders: by version its `share`, in percent of the entities, and its `hashes`, SHA-256 by path of file.
        split: entity by whose key the traffic is split.
        until: events that happen from then on are the champion's alone.
    """

    model: str
    champion: str
    contenders: Mapping[str, Any]
    split: str
    until: dt.datetime
    as_of: dt.datetime
    actor: str
    reason: str
    run_id: str

    def __post_init__(self) -> None:
        aware(self.until)
        aware(self.as_of)
        is_json("contenders", self.contenders)

    @property
    def shares(self) -> dict[str, float]:
        """Percent of the entities by version."""
        return {version: float(contender["share"]) for version, contender in self.contenders.items()}

    @property
    def name(self) -> str:
        """For people: `competition of versions 7 (5 %) and 9 (5 %) beside version 6`."""
        *others, last = [f"{version} ({share:g} %)" for version, share in self.shares.items()]
        listed = f"versions {', '.join(others)} and {last}" if others else f"version {last}"
        return f"competition of {listed} beside version {self.champion}"


@dataclass(frozen=True, kw_only=True)
class Begun(Competition):
    """A recorded competition."""

    id: int
    recorded_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class CompetitionStop:
    """A person ended a competition before its time.

    Parameters:
        competition: `Begun.id`.
    """

    competition: int
    as_of: dt.datetime
    actor: str
    reason: str
    run_id: str

    def __post_init__(self) -> None:
        aware(self.as_of)


competitions = table("competitions", Competition, ("id",))
competition_stops = table("competition_stops", CompetitionStop, ("competition",), refers={"competition": "competitions.id"})


@dataclass(frozen=True)
class Contest:
    """A competition, and the word that ended it before its time."""

    competition: Begun
    stop: CompetitionStop | None = None

    def is_open(self, as_of: dt.datetime) -> bool:
        """Whether it is neither over at an instant nor stopped."""
        return self.stop is None and as_of < self.competition.until


class Competitions:
    """The competitions of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, model: str) -> list[Contest]:
        """All competitions of a model, oldest first."""
        with self._database.reading() as connection:
            return _all(connection, model)

    def newest(self, model: str, champion: str | None) -> Contest | None:
        """The newest competition beside a champion, whatever became of it; None if there is none."""
        beside = [contest for contest in self.all(model) if contest.competition.champion == champion]
        return beside[-1] if beside else None

    def begin(self, competition: Competition) -> Contest:
        """Begin a competition; the same wish again is the same competition, whatever became of it.

        Raises:
            CompetitionOpen: others compete beside this champion.
        """
        with self._database.writing() as connection:
            beside = [each for each in _all(connection, competition.model) if each.competition.champion == competition.champion]
            if same := [each for each in beside if _wish(each.competition) == asdict(competition)]:
                return same[-1]
            if beside and beside[-1].is_open(competition.as_of):
                other = beside[-1].competition
                raise CompetitionOpen(
                    f"{other.model}: the {other.name} goes on until {other.until:%Y-%m-%d %H:%M}: wait, or end it by "
                    "`python -m ml releases stop`"
                )
            connection.execute(sa.insert(competitions).values(asdict(competition)))
            return _all(connection, competition.model)[-1]

    def stop(self, stop: CompetitionStop) -> None:
        """End a competition; who says so first counts."""
        with self._database.writing() as connection:
            said = sa.select(competition_stops).where(competition_stops.c.competition == stop.competition)
            if connection.execute(said).first() is None:
                connection.execute(sa.insert(competition_stops).values(asdict(stop)))


def _all(connection: sa.Connection, model: str) -> list[Contest]:
    query = sa.select(competitions).where(competitions.c.model == model).order_by(competitions.c.id)
    begun = [read(Begun, row) for row in connection.execute(query).mappings()]
    said = sa.select(competition_stops).where(competition_stops.c.competition.in_([each.id for each in begun]))
    stops = {stop.competition: stop for stop in (read(CompetitionStop, row) for row in connection.execute(said).mappings())}
    return [Contest(each, stops.get(each.id)) for each in begun]


def _wish(begun: Begun) -> dict[str, Any]:
    return {name: value for name, value in asdict(begun).items() if name not in ("id", "recorded_at")}
