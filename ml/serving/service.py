"""Scoring: features by a deadline, a probability, and a record that is on disk before the answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config
from ml.errors import Refused
from ml.model.version import Version
from ml.serving.champion import Champion
from ml.serving.log import LogUnavailable, PredictionLog, Record
from ml.serving.metrics import Metrics
from ml.serving.online import Event, Features, OnlineFeatures

FEW = 16
"""So many rows are scored by ONNX at least as fast as by the estimator."""
READERS = 8
ROLE = "champion"

log = logging.getLogger(__name__)


class NoChampion(Refused, LookupError):
    """Nothing was promoted yet."""


class Invalid(Refused, ValueError):
    """An event cannot be scored; `field` says where it is wrong."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Score:
    """The answer on an event.

    Attributes:
        id: of this prediction, in the log and in the lake.
        decision: `alert` from the version's threshold on, else `pass`.
        features: age of the snapshot of each view in seconds; None if the entity has none.
        features_from: `online store`, or `defaults` if it did not answer in time.
        logged: False if the deployment answers without a log and the prediction is not on disk.
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
    logged: bool
    reasons: list[dict[str, Any]] | None = None


class Service:
    """The scoring service of a deployment, without its pages and addresses.

    Args:
        now: the present, for tests.
    """

    def __init__(self, config: Config, now: Callable[[], dt.datetime] | None = None) -> None:
        self.config, self.metrics = config, Metrics()
        self._shown: tuple[str, str] | None = None
        self.champion = Champion(config, self._changed)
        self.log = PredictionLog(config, limit=int(config.serving.log_size.value * 1e6))
        self._now = now or (lambda: dt.datetime.now(dt.UTC))
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="online store")
        self._free_readers = threading.BoundedSemaphore(READERS)

    def start(self) -> None:
        """Open the online store, the champion and the log."""
        self.online = OnlineFeatures(self.config)
        self.champion.start()
        self.log.start()

    def stop(self) -> None:
        """Finish what is in hand."""
        self.champion.stop()
        self.log.stop()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def score(self, events: Sequence[Event], reasons: int = 0) -> list[Score]:
        """Score events with one version.

        Args:
            reasons: so many inputs that moved a score most are told with it.

        Raises:
            NoChampion: there is no version to score with.
            Invalid: an event lies in the future.
            LogUnavailable: a prediction could not be written, and the deployment refuses then.
        """
        version, begun = self._live(), time.perf_counter()
        self._must_not_be_ahead(events)
        features = await self._features(events)
        columns = self.online.complete(events, features)
        read = time.perf_counter()
        probabilities = await self._probabilities(version, columns, len(events))
        scored = time.perf_counter()
        scores = self._answers(events, version, features, probabilities)
        if reasons:
            told = _reasons(version, columns, reasons)
            scores = [replace(score, reasons=each) for score, each in zip(scores, told, strict=True)]
        logged = await self._logged([self._record(*each) for each in zip(events, scores, _rows(version, columns), strict=True)])
        ended = time.perf_counter()
        stages = {"features": read - begun, "model": scored - read, "log": ended - scored, "all": ended - begun}
        for stage, seconds in stages.items():
            self.metrics.seconds.labels(stage).observe(seconds)
        for each in scores:
            self.metrics.scores.labels(each.version, each.role, each.decision).inc()
        return scores if logged else [replace(each, logged=False) for each in scores]

    def update_metrics(self) -> None:
        """Bring the gauges up to date."""
        state, now = self.log.state, time.time()
        self.metrics.log_written.set(state.written)
        self.metrics.log_refused.set(state.refused)
        self.metrics.log_bytes.set(state.bytes_kept)
        self.metrics.log_lag.set(0.0 if state.oldest is None else max(0.0, now - state.oldest))
        self.metrics.refused.set(self.champion.refused is not None)

    def _live(self) -> Version:
        if self.champion.live is None:
            why = f"; {self.champion.refused[1]}" if self.champion.refused else ""
            raise NoChampion(f"{self.config.name} has no champion to score with: train, and promote by the gate{why}")
        return self.champion.live

    def _changed(self, version: Version) -> None:
        if self._shown:
            self.metrics.version.labels(*self._shown).set(0)
        self._shown = (version.number, version.sha256[:16])
        self.metrics.version.labels(*self._shown).set(1)

    def _must_not_be_ahead(self, events: Sequence[Event]) -> None:
        if self.config.feed is not None:  # its time is that of its files
            return
        latest = self._now() + dt.timedelta(minutes=self.config.serving.ahead.value)
        for number, event in enumerate(events):
            if event["event_time"] > latest:
                where = f"events.{number}.event_time" if len(events) > 1 else "event.event_time"
                ahead = (
                    f"{event['event_time'].isoformat()} lies in the future: the service's clock says {self._now().isoformat()}"
                )
                raise Invalid(ahead, where)

    async def _features(self, events: Sequence[Event]) -> Features:
        """The windows from the online store, or those of unknown entities if it does not answer in time."""
        if self._free_readers.acquire(blocking=False):
            reading: Future[Features] = self._readers.submit(self.online.read, events)
            reading.add_done_callback(lambda done: self._free_readers.release())
            try:
                found = await asyncio.wait_for(asyncio.wrap_future(reading), self.config.serving.deadline.value / 1000)
                self._count(found)
                return found
            except Exception as error:  # noqa: BLE001  the store may raise anything, and a request is answered all the same
                log.warning("the online store did not answer: %s", error or type(error).__name__)
        self.metrics.fallbacks.inc(len(events))
        return self.online.unknown(events)

    def _count(self, found: Features) -> None:
        for view, instants in found.snapshots.items():
            there = [instant for instant in instants if instant is not None]
            self.metrics.misses.labels(view).inc(len(instants) - len(there))
            if there:
                self.metrics.age.labels(view).set((self._now() - max(there)).total_seconds())

    async def _probabilities(self, version: Version, columns: dict[str, np.ndarray], rows: int) -> np.ndarray:
        if rows <= FEW:
            return version.score_few(columns)
        frame = pd.DataFrame({name: columns[name] for name in version.names})
        return await asyncio.to_thread(version.model.score, frame)

    def _answers(self, events: Sequence[Event], version: Version, features: Features, probabilities: np.ndarray) -> list[Score]:
        return [
            Score(
                id=uuid.uuid4().hex,
                event_id=event["event_id"],
                probability=float(probability),
                decision="alert" if probability >= version.threshold else "pass",
                threshold=version.threshold,
                version=version.number,
                role=ROLE,
                features={view: _age(event, instants[number]) for view, instants in features.snapshots.items()},
                features_from="defaults" if features.is_fallback else "online store",
                logged=True,
            )
            for number, (event, probability) in enumerate(zip(events, probabilities, strict=True))
        ]

    def _record(self, event: Event, score: Score, inputs: dict[str, Any]) -> Record:
        scored_at = self._now() if self.config.feed is None else event["event_time"]
        return {
            "id": score.id,
            "event_id": score.event_id,
            "event_time": event["event_time"].isoformat(),
            "scored_at": scored_at.isoformat(),
            "version": score.version,
            "role": score.role,
            "score": score.probability,
            "decision": score.decision,
            "features_from": score.features_from,
            "inputs": inputs,
        }

    async def _logged(self, records: list[Record]) -> bool:
        """Whether the records are on disk.

        Raises:
            LogUnavailable: they are not, and the deployment refuses then.
        """
        serving = self.config.serving
        try:
            written = asyncio.wrap_future(self.log.append(records))
            await asyncio.wait_for(asyncio.shield(written), serving.log_wait.value / 1000)
        except (LogUnavailable, TimeoutError) as error:
            if serving.without_log == "refuse":
                raise LogUnavailable(str(error) or f"the disk took more than {serving.log_wait.value:g} ms") from None
            return False
        return True


def _rows(version: Version, columns: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The model's inputs of each event, as values for JSON."""
    named = [[_plain(value) for value in columns[name]] for name in version.names]
    return [dict(zip(version.names, row, strict=True)) for row in zip(*named, strict=True)]


def _plain(value: Any) -> float | str | None:
    if isinstance(value, str):
        return value or None
    return None if np.isnan(value) else float(value)


def _age(event: Event, snapshot: dt.datetime | None) -> float | None:
    return None if snapshot is None else (event["event_time"] - snapshot).total_seconds()


def _reasons(version: Version, columns: dict[str, np.ndarray], top: int) -> list[list[dict[str, Any]]]:
    """The largest contributions to the score of each row."""
    frame = pd.DataFrame({name: columns[name] for name in version.names})
    values = version.model.estimator.contributions(version.model.inputs.matrix(frame))[:, :-1]

    def reason(row: int, column: int) -> dict[str, Any]:
        name = version.names[column]
        return {"feature": name, "value": _plain(columns[name][row]), "log_odds": float(values[row, column])}

    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :top]
    return [[reason(row, column) for column in columns_of_row] for row, columns_of_row in enumerate(order)]
