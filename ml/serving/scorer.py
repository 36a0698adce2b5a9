"""Scoring without addresses, queues and threads: features, probabilities, and the records of the log."""

from __future__ import annotations

import datetime as dt
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.config import Config
from ml.model.version import Version
from ml.serving.explore import Exploration
from ml.serving.log import Record
from ml.serving.metrics import Metrics
from ml.serving.online import Event, Features, OnlineFeatures
from ml.serving.windows import EventWindows

FEW = 16
"""So many rows are scored by ONNX at least as fast as by the estimator."""

Kind = Literal["release", "competition"]


@dataclass(frozen=True)
class Place:
    """Where an event falls while versions score beside the champion.

    Attributes:
        kind, number: what goes on, and its number in the ledger.
        arm: `canary` for the version that is released, the version's number for one that competes; `control` for the champion
            in as large a part as the canary's, `rest` for the champion elsewhere.
        key: by which it was decided; None if the event has none.
        share: of the traffic that versions beside the champion answer then.
        answerer: number of the version that answers; None for the champion.
    """

    kind: Kind
    number: int
    arm: str
    key: str | None
    share: float
    answerer: str | None

    @property
    def record(self) -> dict[str, Any]:
        """What the prediction log keeps of it."""
        return {self.kind: self.number, "arm": self.arm, "key": self.key, "share": self.share}


@dataclass(frozen=True)
class Part:
    """The part that a version plays for some events.

    Attributes:
        role: `champion` for the champion that answers, `canary` for another version that does, `shadow` for one that only
            scores.
        places: of each event, while versions score beside the champion; else empty.
    """

    role: str
    places: Sequence[Place] = ()

    def of_event(self, row: int) -> dict[str, Any]:
        """What a record says of it."""
        return {"role": self.role} | (self.places[row].record if self.places else {})


CHAMPION = Part("champion")


@dataclass(frozen=True)
class Score:
    """The answer on an event.

    Attributes:
        id: of this prediction, in the log and in the lake.
        decision: `alert` from the version's threshold on, unless it is let through, else `pass`.
        features: age of the snapshot of each view in seconds; None if the entity has none.
        features_from: `online store`, or `defaults` if it did not answer in time.
        explored: true for an alert that is let through (`ml.serving.explore`), else None.
        reasons: value and contribution, in log-odds, of the inputs that moved the score most, if they were asked for.
    """

    id: str
    event_id: str
    probability: float
    decision: str
    threshold: float
    version: str
    role: str
    features: dict[str, float | None]
    features_from: str
    explored: bool | None = None
    reasons: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Scored:
    """Scores of some events by one version, and the records to be logged."""

    scores: list[Score]
    records: list[Record]


class Scorer:
    """Scores events.

    Args:
        now: the present.
    """

    def __init__(self, config: Config, metrics: Metrics, now: Callable[[], dt.datetime]) -> None:
        self._config, self._metrics, self._now = config, metrics, now
        self._online, self._exploration = OnlineFeatures(config), Exploration(config)
        self.recent = EventWindows(config, now)

    def read(self, events: Sequence[Event]) -> Features:
        """The windows of events from the online store; raises whatever it raises, and blocks for as long as it does."""
        found = self._online.read(events)
        for view, instants in found.snapshots.items():
            there = [instant for instant in instants if instant is not None]
            self._metrics.misses.labels(view).inc(len(instants) - len(there))
            if there:
                self._metrics.age.labels(view).set((self._now() - max(there)).total_seconds())
        return found

    def recent_joined(self, events: Sequence[Event], features: Features) -> Features:
        """The features and the windows that end at the events, which are held from now on."""
        return features.joined(self.recent.at(events))

    def unknown(self, events: Sequence[Event]) -> Features:
        """The windows of entities without a history, for events whose own could not be read."""
        self._metrics.fallbacks.inc(len(events))
        return self._online.unknown(events)

    def score(
        self,
        events: Sequence[Event],
        features: Features,
        version: Version,
        is_large: bool,
        reasons: int = 0,
        part: Part = CHAMPION,
    ) -> Scored:
        """Score events with one version.

        Args:
            is_large: the events are those of one large request, which the estimator scores; small ones are scored by ONNX,
                whatever waits with them, so that a score does not depend on its company.
            reasons: how many of the inputs that moved a score most to return with it.
            part: that the version plays.
        """
        columns = self._online.complete(events, features)
        begun = time.perf_counter()
        probabilities = version.score_many(columns) if is_large else version.score_few(columns)
        taken = {"milliseconds": round((time.perf_counter() - begun) * 1000, 3)}
        explained = _reasons(version, columns, reasons) if reasons else [None] * len(events)
        alerts = [probability >= version.threshold for probability in probabilities.tolist()]
        explored = [
            is_alert and part.role != "shadow" and self._exploration.lets_through(event["event_id"])
            for event, is_alert in zip(events, alerts, strict=True)
        ]
        scores = [
            Score(
                id=uuid.uuid4().hex,
                event_id=event["event_id"],
                probability=probability,
                decision="alert" if alerts[row] and not explored[row] else "pass",
                threshold=version.threshold,
                version=version.number,
                role=part.role,
                features={view: _age(event, instants[row]) for view, instants in features.snapshots.items()},
                features_from="defaults" if features.is_fallback else "online store",
                explored=explored[row] or None,
                reasons=explained[row],
            )
            for row, (event, probability) in enumerate(zip(events, probabilities.tolist(), strict=True))
        ]
        named = self._inputs(events, version, columns) if part.role != "shadow" else [None] * len(events)
        records = [
            self._record(event, version.number)
            | part.of_event(row)
            | taken
            | {
                "id": score.id,
                "score": score.probability,
                "decision": score.decision,
                "features_from": score.features_from,
                "inputs": inputs,
            }
            | ({"explored": True} if score.explored else {})
            for row, (event, score, inputs) in enumerate(zip(events, scores, named, strict=True))
        ]
        return Scored(scores, records)

    def _inputs(self, events: Sequence[Event], version: Version, columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
        """What the version scored, and what the windows that end at later events need of these."""
        held = [{name: event.get(name) for name in self.recent.names} for event in events]
        return [inputs | more for inputs, more in zip(_rows(version.names, columns), held, strict=True)]

    def failed(self, events: Sequence[Event], number: str, part: Part, error: str) -> list[Record]:
        """The records of events that a version could not score."""
        return [self._record(event, number) | part.of_event(row) | {"error": error[:500]} for row, event in enumerate(events)]

    def _record(self, event: Event, number: str) -> Record:
        event_time = event["event_time"].isoformat()
        return {
            "id": uuid.uuid4().hex,
            "event_id": event["event_id"],
            "event_time": event_time,
            "scored_at": self._now().isoformat() if self._config.feed is None else event_time,
            "version": number,
        }


def _rows(names: Sequence[str], columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The model's inputs of each event, as values for JSON."""
    named = [[_plain(value) for value in columns[name].tolist()] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*named, strict=True)]


def _plain(value: float | str) -> float | str | None:
    """A value for JSON, which has no infinity: a ratio that is too large for a number is the text `inf`."""
    if isinstance(value, str):
        return value or None
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _age(event: Event, snapshot: dt.datetime | None) -> float | None:
    return None if snapshot is None else (event["event_time"] - snapshot).total_seconds()


def _reasons(version: Version, columns: dict[str, np.ndarray], top: int) -> list[list[dict[str, Any]]]:
    """The largest contributions to the score of each row."""
    frame = pd.DataFrame({name: columns[name] for name in version.names})
    values = version.model.estimator.contributions(version.model.inputs.matrix(frame))[:, :-1]

    def reason(row: int, column: int) -> dict[str, Any]:
        name = version.names[column]
        return {"feature": name, "value": _plain(columns[name].tolist()[row]), "log_odds": float(values[row, column])}

    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :top]
    return [[reason(row, column) for column in columns_of_row] for row, columns_of_row in enumerate(order)]
