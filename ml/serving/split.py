"""Several versions at once: who answers an event, and what the other ones would have said.

An event is answered by the version of its place. Afterwards the other versions score it too, in a thread of its own, and nobody
waits for that: if the thread falls behind, events are dropped and counted. If a version beside the champion fails, the champion
answers.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ml.model.version import Version
from ml.serving.challengers import Challengers, Contender, Underway
from ml.serving.log import PredictionLog, Record
from ml.serving.metrics import Metrics
from ml.serving.online import Event, Features
from ml.serving.scorer import Part, Place, Score, Scored, Scorer

WAITING = 2_000
"""Groups of events that may wait for their second score."""
PAUSE = 0.005
"""Seconds that events wait for their second score, so that their answers are on their way before it begins."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Later:
    """Events that one version answered and another one is to score too, in the same way."""

    events: Sequence[Event]
    features: Features
    by: Contender
    part: Part
    is_large: bool


class Split:
    """Scores events by the champion, or by champion and others while versions are released or compete."""

    def __init__(self, scorer: Scorer, challengers: Challengers, predictions: PredictionLog, metrics: Metrics) -> None:
        self._scorer, self._challengers, self._log, self._metrics = scorer, challengers, predictions, metrics
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
        now = self._challengers.now
        if now is None or champion.number in {contender.number for contender in now.contenders}:
            return self._scorer.score(events, features, champion, is_large, reasons)
        places = [now.place(event) for event in events]
        scores: list[Score | None] = [None] * len(events)
        records: list[Record] = []
        for rows in _answered_alike(places):
            own, own_features = [events[row] for row in rows], features.take(rows)
            own_places = [place for row in rows if (place := places[row]) is not None]
            if own_places:
                scored = self._answer(own, own_features, champion, now, own_places, is_large, reasons)
            else:
                scored = self._scorer.score(own, own_features, champion, is_large, reasons)
            records += scored.records
            for row, score in zip(rows, scored.scores, strict=True):
                scores[row] = score
        return Scored([score for score in scores if score is not None], records)

    def _answer(
        self,
        events: list[Event],
        features: Features,
        champion: Version,
        now: Underway,
        places: list[Place],
        is_large: bool,
        reasons: int,
    ) -> Scored:
        """Score events by the version that answers them; the champion answers in place of one that fails."""
        others = {contender.number: contender for contender in now.contenders}
        answerer, failed = others.get(places[0].answerer or ""), list[Record]()
        canary, shadow = Part("canary", places), Part("shadow", places)
        if answerer is not None and answerer.version is not None:
            del others[answerer.number]
            try:
                scored = self._scorer.score(events, features, answerer.version, is_large, reasons, canary)
            except Exception as error:
                log.exception("version %s cannot score; the champion answers", answerer.number)
                failed = self._scorer.failed(events, answerer.number, canary, f"{type(error).__name__}: {error}")
            else:
                for other in (Contender(champion.number, champion), *others.values()):
                    self._score_later(_Later(events, features, other, shadow, is_large))
                return scored
        scored = self._scorer.score(events, features, champion, is_large, reasons, Part("champion", places))
        for other in others.values():
            self._score_later(_Later(events, features, other, shadow, is_large))
        return Scored(scored.scores, scored.records + failed)

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
        by = later.by
        if by.version is None:
            return self._scorer.failed(later.events, by.number, later.part, by.broken)
        try:
            scored = self._scorer.score(later.events, later.features, by.version, later.is_large, 0, later.part)
        except Exception as error:
            log.exception("version %s cannot score", by.number)
            return self._scorer.failed(later.events, by.number, later.part, f"{type(error).__name__}: {error}")
        for score in scored.scores:
            self._metrics.scored(score.version, score.role, score.decision, bool(score.explored))
        return scored.records


def _answered_alike(places: Sequence[Place | None]) -> Iterable[list[int]]:
    """The rows of the events that one version answers, those without a place by themselves."""
    rows: dict[tuple[str | None, ...], list[int]] = {}
    for row, place in enumerate(places):
        rows.setdefault(() if place is None else (place.answerer,), []).append(row)
    return rows.values()
