"""Two versions while one of them is released: who answers an event, and what the other one would have said.

An event is answered by the version of its arm. Afterwards the other version scores it too, in a thread of its own, and nobody
waits for that: if the thread falls behind, events are dropped and counted. If the new version fails, the champion answers.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ml.model.version import Version
from ml.serving.challenger import Challenger, Underway
from ml.serving.log import PredictionLog, Record
from ml.serving.metrics import Metrics
from ml.serving.online import Event, Features
from ml.serving.scorer import Part, Score, Scored, Scorer

WAITING = 2_000
"""Groups of events that may wait for their second score."""
PAUSE = 0.005
"""Seconds that events wait for their second score, so that their answers are on their way before it begins."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Later:
    """Events that one version answered and another one is to score too, in the same way; it is None if it cannot."""

    events: Sequence[Event]
    features: Features
    version: Version | None
    part: Part
    is_large: bool
    why_not: str = ""


class Split:
    """Scores events by the champion, or by champion and challenger while one is released."""

    def __init__(self, scorer: Scorer, challenger: Challenger, predictions: PredictionLog, metrics: Metrics) -> None:
        self._scorer, self._challenger, self._log, self._metrics = scorer, challenger, predictions, metrics
        self._waiting: queue.Queue[_Later | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._score_waiting, name="second scores", daemon=True)

    def start(self) -> None:
        """Begin to give second scores."""
        self._thread.start()

    def stop(self) -> None:
        """Give the second scores that wait."""
        self._waiting.put(None)
        self._thread.join()

    def score(self, events: Sequence[Event], features: Features, champion: Version, is_large: bool, reasons: int) -> Scored:
        """Score events for their answers; see `Scorer.score`."""
        release = self._challenger.now
        if release is None or release.number == champion.number:
            return self._scorer.score(events, features, champion, is_large, reasons)
        places = [release.place(event) for event in events]
        canary = [row for row, place in enumerate(places) if place.arm == "canary"]
        others = [row for row, place in enumerate(places) if place.arm != "canary"]
        scores: list[Score | None] = [None] * len(events)
        records: list[Record] = []
        for rows in (canary, others):
            if rows:
                part = Part("canary" if rows is canary else "champion", [places[row] for row in rows])
                scored = self._answer(
                    [events[row] for row in rows], features.take(rows), champion, release, part, is_large, reasons
                )
                records += scored.records
                for row, score in zip(rows, scored.scores, strict=True):
                    scores[row] = score
        return Scored([score for score in scores if score is not None], records)

    def _answer(
        self,
        events: list[Event],
        features: Features,
        champion: Version,
        release: Underway,
        part: Part,
        is_large: bool,
        reasons: int,
    ) -> Scored:
        """Score events of one arm by the version that answers it; the champion answers in place of a new version that fails."""
        shadow = part.as_shadow()
        if part.role == "canary" and release.version is not None:
            try:
                scored = self._scorer.score(events, features, release.version, is_large, reasons, part)
            except Exception as error:
                log.exception("version %s cannot score; the champion answers", release.number)
                failed = self._scorer.failed(events, release.number, part, f"{type(error).__name__}: {error}")
                scored = self._scorer.score(events, features, champion, is_large, reasons, part.as_champion())
                return Scored(scored.scores, scored.records + failed)
            self._score_later(_Later(events, features, champion, shadow, is_large))
            return scored
        scored = self._scorer.score(events, features, champion, is_large, reasons, part.as_champion())
        self._score_later(_Later(events, features, release.version, shadow, is_large, release.broken))
        return scored

    def _score_later(self, later: _Later) -> None:
        try:
            self._waiting.put_nowait(later)
        except queue.Full:
            self._metrics.second_scores_dropped.inc(len(later.events))

    def _score_waiting(self) -> None:
        while (later := self._waiting.get()) is not None:
            if self._waiting.empty():
                time.sleep(PAUSE)
            try:
                self._log.append(self._second_score(later)).add_done_callback(lambda written: written.exception())
            except Exception:  # the thread must not end with an event that cannot be scored
                log.exception("%d events have no second score", len(later.events))
                self._metrics.second_scores_dropped.inc(len(later.events))

    def _second_score(self, later: _Later) -> list[Record]:
        release = self._challenger.now
        number = later.version.number if later.version else release.number if release else ""
        if later.version is None:
            return self._scorer.failed(later.events, number, later.part, later.why_not)
        try:
            scored = self._scorer.score(later.events, later.features, later.version, later.is_large, 0, later.part)
        except Exception as error:
            log.exception("version %s cannot score", number)
            return self._scorer.failed(later.events, number, later.part, f"{type(error).__name__}: {error}")
        for score in scored.scores:
            self._metrics.scored(score.version, score.role, score.decision, bool(score.explored))
        return scored.records
