"""Versions that score beside the champion, as the service sees them: one that is released, or several that compete."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ml.config import Config
from ml.config.release import Release
from ml.ledger.competitions import Begun
from ml.ledger.ledger import Ledger
from ml.ledger.releases import Course
from ml.model.version import Version
from ml.serving.backoff import Backoff
from ml.serving.champion import opened
from ml.serving.online import Event
from ml.serving.scorer import Kind, Place

log = logging.getLogger(__name__)

Hashes = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Contender:
    """A version that scores beside the champion.

    Attributes:
        version: None if it cannot be opened, for the reason `broken`.
    """

    number: str
    version: Version | None
    broken: str = ""


@dataclass(frozen=True)
class Slice:
    """A part of the traffic: its arm, its share from 0 to 1, and which version answers it; None is the champion."""

    arm: str
    share: float
    answerer: str | None


@dataclass(frozen=True, eq=False)
class Underway:
    """A release or a competition that is under way.

    Attributes:
        number: of the release or of the competition; each kind has its own.
        column: by whose value the traffic is split.
        slices: of the traffic, side by side; what is left is the arm `rest` of the champion.
        until: what happens from then on is the champion's alone; None for no end.
    """

    kind: Kind
    number: int
    column: str
    contenders: Sequence[Contender]
    slices: Sequence[Slice]
    until: dt.datetime | None = None

    @property
    def share(self) -> float:
        """The share of the traffic that versions beside the champion answer."""
        return sum(part.share for part in self.slices if part.answerer)

    def share_of(self, contender: Contender) -> float:
        """The share of the traffic that one of them answers."""
        return sum(part.share for part in self.slices if part.answerer == contender.number)

    def place(self, event: Event) -> Place | None:
        """The place of an event: one for all events of one key, another one in another release; None if it is too late."""
        if self.until is not None and event["event_time"] >= self.until:
            return None
        key = event.get(self.column)
        salt = str(self.number) if self.kind == "release" else f"{self.kind} {self.number}"
        text = f"{salt} event {event['event_id']}" if key is None else f"{salt} key {key}"
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
        end = 0.0
        for part in self.slices:
            end += part.share
            if drawn < end:
                return Place(self.kind, self.number, part.arm, key, self.share, part.answerer)
        return Place(self.kind, self.number, "rest", key, self.share, None)


class Challengers:
    """Follows the ledger's releases and competitions. `now` is what is under way, None if nothing is.

    A competition rests while a version is released.

    Args:
        clock: in seconds, never goes back.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self.now: Underway | None = None
        self._config = config
        self._backoff = Backoff(clock)

    def look(self) -> None:
        """Read the ledger; open versions whose release or competition has begun, or change their share.

        A version that could not be opened is tried again, less and less often.
        """
        ledger, name = self._ledger, self._config.name
        champion, course = ledger.moves.champion(name), ledger.releases.open(name)
        contest = ledger.competitions.newest(name, champion)
        if course is not None and course.release.champion == champion:
            self.now = self._release(course)
        elif contest is not None and contest.stop is None:
            self.now = self._competition(contest.competition)
        else:
            self.now = None

    @cached_property
    def _ledger(self) -> Ledger:
        """Opened once, as that of the champion."""
        return Ledger(self._config.ledger, keeps_connection=True)

    def _release(self, course: Course) -> Underway:
        release, plan = course.release, Release.model_validate(course.release.plan)
        share = plan.steps[course.step].share / 100
        return Underway(
            "release",
            release.id,
            self._config.entities[plan.split or self._config.gate.cluster],
            self._contenders("release", release.id, {release.version: release.hashes}),
            [Slice("canary", share, release.version), Slice("control", share, None)],
        )

    def _competition(self, competition: Begun) -> Underway:
        hashes = {version: contender["hashes"] for version, contender in competition.contenders.items()}
        return Underway(
            "competition",
            competition.id,
            self._config.entities[competition.split],
            self._contenders("competition", competition.id, hashes),
            [Slice(version, share / 100, version) for version, share in competition.shares.items()],
            competition.until,
        )

    def _contenders(self, kind: Kind, number: int, hashes: Mapping[str, Hashes]) -> list[Contender]:
        """The versions, opened; those that are open stay so, and others are tried again when it is time."""
        now, what = self.now, (kind, number)
        known = {each.number: each for each in now.contenders} if now and (now.kind, now.number) == what else {}
        tries = [version for version in hashes if version not in known or known[version].version is None]
        if not known or self._backoff.is_due(what):
            known |= {version: self._open(version, hashes[version], known.get(version)) for version in tries}
            if any(known[version].version is None for version in tries):
                self._backoff.failed(what)
        return [known[version] for version in hashes]

    def _open(self, number: str, hashes: Hashes, before: Contender | None) -> Contender:
        try:
            return Contender(number, opened(self._config, number, hashes))
        except Exception as error:  # whatever is wrong with it, the champion answers
            if before is None:
                log.exception("version %s is to score beside the champion and cannot be opened", number)
            return Contender(number, None, f"{type(error).__name__}: {error}")
