"""Releases: a version that the gate promoted on its way to all traffic, and every look at it, in order.

A release is open until a move ends it. One release of a model is open at a time, and while it is, nobody else becomes champion.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml.errors import Refused
from ml.ledger.database import Also, Database
from ml.ledger.records import aware, is_json, one_of, read
from ml.ledger.table import table
from ml.ledger.words import ReleaseWord

ENDS = ("finished", "stepped back", "stopped", "expired", "superseded")
"""Words that end a release."""


class ReleaseOpen(Refused, RuntimeError):
    """Another version is being released."""


class NoRelease(Refused, LookupError):
    """No release is open."""


class ReleaseMoved(Refused, RuntimeError):
    """Somebody else has moved the release, so nothing was recorded.

    Attributes:
        now: the release as it is.
    """

    def __init__(self, now: Course) -> None:
        super().__init__(
            f"version {now.release.version}: its release was moved at the same time ({now.moves[-1].word}), so nothing was "
            "recorded: look at `python -m ml releases list`"
        )
        self.now = now


@dataclass(frozen=True, kw_only=True)
class Release:
    """The wish to release a version.

    Parameters:
        version: to be released.
        champion: that answers meanwhile, and that the gate judged the version against.
        judgement: address of the gate's answer.
        hashes: SHA-256 of each file of the version, by its path.
        plan: `ml.config.release.Release` as it stood at the beginning.
        expected: what the gate's rows let expect of its scores, see `ml.evaluation.release.expected_scores`.
        reason: the gate's.
    """

    model: str
    version: str
    champion: str
    judgement: str
    hashes: Mapping[str, str]
    plan: Mapping[str, Any]
    expected: Mapping[str, Any]
    as_of: dt.datetime
    actor: str
    reason: str
    run_id: str

    def __post_init__(self) -> None:
        aware(self.as_of)
        for name in ("hashes", "plan", "expected"):
            is_json(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Opened(Release):
    """A recorded release."""

    id: int
    recorded_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class ReleaseMove:
    """What became of a release at one look.

    Parameters:
        release: `Opened.id`.
        sequence: counts the moves of a release from 1 without a gap.
        word: what happened.
        step: number of the step from now on, from 0.
        evidence: checks with their figures.
    """

    release: int
    sequence: int
    word: ReleaseWord
    step: int
    as_of: dt.datetime
    actor: str
    reason: str
    evidence: Mapping[str, Any]
    run_id: str

    def __post_init__(self) -> None:
        one_of("word", self.word, ReleaseWord)
        aware(self.as_of)
        is_json("evidence", self.evidence)


releases = table("releases", Release, ("id",), ("model", "version", "judgement"))
release_moves = table(
    "release_moves",
    ReleaseMove,
    ("release", "sequence"),
    refers={"release": "releases.id"},
    rules=[sa.CheckConstraint("sequence >= 1", name="move_from_one")],
)


@dataclass(frozen=True)
class Course:
    """A release with its moves, oldest first."""

    release: Opened
    moves: tuple[ReleaseMove, ...]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return not self.moves or self.moves[-1].word not in ENDS

    @property
    def step(self) -> int:
        """Number of the step that it is at, from 0."""
        return self.moves[-1].step if self.moves else 0

    @property
    def began(self) -> dt.datetime:
        """When its present step began."""
        at_step = [move for move in self.moves if move.word == "advanced" and move.step == self.step]
        return at_step[0].as_of if at_step else self.release.as_of

    @property
    def approved(self) -> bool:
        """Whether a person has agreed to it since its present step began."""
        return any(move.word == "approved" and move.step == self.step for move in self.moves)


class Releases:
    """The releases of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, model: str) -> list[Course]:
        """All releases of a model, oldest first."""
        with self._database.reading() as connection:
            return _all(connection, model)

    def open(self, model: str) -> Course | None:
        """The release that is open; it is the newest one."""
        newest = self.newest(model)
        return newest if newest and newest.is_open else None

    def newest(self, model: str) -> Course | None:
        """The release that began last."""
        query = sa.select(releases).where(releases.c.model == model).order_by(releases.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            found = _courses(connection, query)
        return found[0] if found else None

    def begin(self, release: Release) -> Course:
        """Open a release; the same version by the same judgement again is the same release, whatever became of it.

        Raises:
            ReleaseOpen: another release is open.
        """
        with self._database.writing() as connection:
            courses = _all(connection, release.model)
            key = (release.version, release.judgement)
            same = [course for course in courses if (course.release.version, course.release.judgement) == key]
            if same:
                return same[-1]
            if others := [course.release.version for course in courses if course.is_open]:
                raise ReleaseOpen(
                    f"{release.model}: version {others[-1]} is being released, so version {release.version} is not: "
                    "`python -m ml releases list` shows it"
                )
            connection.execute(sa.insert(releases).values(asdict(release)))
            return _all(connection, release.model)[-1]

    def move(self, course: Course, move: ReleaseMove) -> Course:
        """Record a move; returns the course with it.

        Raises:
            ReleaseMoved: somebody has moved the release since `course` was read.
        """
        with self._database.writing() as connection:
            moving(course, move)(connection)
        return Course(course.release, (*course.moves, move))


def moving(course: Course, move: ReleaseMove) -> Also:
    """Record a move with something else; see `Releases.move`."""

    def record(connection: sa.Connection) -> None:
        (now,) = _courses(connection, sa.select(releases).where(releases.c.id == course.release.id))
        if not now.is_open or len(now.moves) != len(course.moves):
            raise ReleaseMoved(now)
        connection.execute(sa.insert(release_moves).values(asdict(move)))

    return record


def _all(connection: sa.Connection, model: str) -> list[Course]:
    return _courses(connection, sa.select(releases).where(releases.c.model == model).order_by(releases.c.id))


def _courses(connection: sa.Connection, query: sa.Select[Any]) -> list[Course]:
    opened = [read(Opened, row) for row in connection.execute(query).mappings()]
    ids = [release.id for release in opened]
    made = sa.select(release_moves).where(release_moves.c.release.in_(ids)).order_by(release_moves.c.sequence)
    moves = [read(ReleaseMove, row) for row in connection.execute(made).mappings()]
    return [Course(release, tuple(move for move in moves if move.release == release.id)) for release in opened]
