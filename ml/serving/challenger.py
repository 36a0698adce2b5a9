"""The version that is being released, as the service sees it: opened beside the champion, with its share of the traffic."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ml.config import Config
from ml.config.release import Release
from ml.ledger.ledger import Ledger
from ml.ledger.releases import Course
from ml.model.version import Version
from ml.serving.backoff import Backoff
from ml.serving.champion import opened
from ml.serving.online import Event
from ml.serving.scorer import Arm, Place

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Underway:
    """A release that is under way.

    Attributes:
        share: of the traffic, 0 to 0.5, that the new version answers; as much is the control arm.
        column: by whose value the traffic is split.
        number: of the new version.
        version: None if it cannot be opened, for the reason `broken`.
    """

    release: int
    share: float
    column: str
    number: str
    version: Version | None
    broken: str

    def place(self, event: Event) -> Place:
        """The place of an event: one arm for all events of one key, and other keys in it for another release."""
        key = event.get(self.column)
        text = f"{self.release} event {event['event_id']}" if key is None else f"{self.release} key {key}"
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
        arm: Arm = "canary" if drawn < self.share else "control" if drawn < 2 * self.share else "rest"
        return Place(self.release, arm, key, self.share)


class Challenger:
    """Follows the ledger's releases. `now` is the one that is under way, None if there is none.

    Args:
        clock: in seconds, never goes back.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self.now: Underway | None = None
        self._config = config
        self._backoff = Backoff(clock)

    def look(self) -> None:
        """Read the ledger; open a version whose release has begun, or change its share.

        A version that could not be opened is tried again, less and less often.
        """
        ledger, name = Ledger(self._config.ledger), self._config.name
        course = ledger.releases.open(name)
        if course is None or ledger.moves.champion(name) != course.release.champion:
            self.now = None
            return
        share = Release.model_validate(course.release.plan).steps[course.step].share / 100
        now = self.now
        if now is None or now.release != course.release.id or (now.version is None and self._backoff.is_due(now.release)):
            self.now = self._open(course, share)
        elif now.share != share:
            self.now = replace(now, share=share)

    def _open(self, course: Course, share: float) -> Underway:
        release, plan = course.release, Release.model_validate(course.release.plan)
        column = self._config.entities[plan.split or self._config.gate.cluster]
        version, broken = None, ""
        try:
            version = opened(self._config, release.version, release.hashes)
        except Exception as error:  # whatever is wrong with it, the champion answers
            broken = f"{type(error).__name__}: {error}"
            self._backoff.failed(release.id)
            if self.now is None or self.now.release != release.id:
                log.exception("version %s is being released and cannot be opened", release.version)
        return Underway(release.id, share, column, release.version, version, broken)
