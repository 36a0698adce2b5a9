"""The scoring service: requests that wait are scored together, and their records are on disk before they are answered.

One thread takes what has come since it last did, reads the features and scores; the log's thread writes while the next requests
are scored. So the fixed costs of a read, of a run of the graph and of a commit are shared by more requests the busier the
service is. A thread that the online store does not give back in time is replaced, and its requests are answered without it.

Source: adaptive batching, Crankshaw and others, Clipper, NSDI 2017.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ml.config import Config
from ml.errors import Refused
from ml.model.version import Version
from ml.serving.challengers import Challengers
from ml.serving.champion import Champion
from ml.serving.follow import Follower
from ml.serving.log import LogUnavailable, PredictionLog, Record
from ml.serving.metrics import Metrics
from ml.serving.online import Event, Features
from ml.serving.scorer import FEW, Score, Scorer
from ml.serving.split import Split

TOGETHER = 64
"""Requests that are scored at once, at most."""
LOST = 8
"""Threads that may wait for the online store at once; while so many do, it is not asked."""
UNSCORED = "the event could not be scored; the service's log says why"
LARGE = 2
"""Requests of many events that are scored side by side."""

Answer = dict[str, Any]

log = logging.getLogger(__name__)


class NoChampion(Refused, LookupError):
    """Nothing was promoted yet."""


class Invalid(Refused, ValueError):
    """An event cannot be scored; `field` says where it is wrong."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class InternalError(RuntimeError):
    """A request could not be scored, for a reason that is in the service's log."""


@dataclass(eq=False)
class _Request:
    """A request on its way; `scored_at` is None until its records wait for the disk."""

    events: Sequence[Event]
    reasons: int
    answers: list[Answer] = field(default_factory=list)
    scored_at: float | None = None
    begun: float = field(default_factory=time.perf_counter)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.done: asyncio.Future[bool] = self.loop.create_future()

    def settle(self, error: BaseException | None) -> None:
        """Answer it, if whoever asked is still there; runs in its loop."""
        if self.done.done():
            return
        if error is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(True)


@dataclass(eq=False)
class _Worker:
    """A thread that scores, and since when it waits for the online store, for these requests; None while it does not."""

    since: float | None = None
    requests: list[_Request] = field(default_factory=list)
    thread: threading.Thread | None = None


class Service:
    """The scoring service of a deployment, without its addresses.

    Args:
        now: the present, for tests.
    """

    def __init__(self, config: Config, now: Callable[[], dt.datetime] | None = None) -> None:
        self.config, self.metrics = config, Metrics()
        self._shown: tuple[str, str] | None = None
        self.champion, self.challengers = Champion(config, self._changed), Challengers(config)
        self._followers = [Follower(self.champion.look, "champion"), Follower(self.challengers.look, "challengers")]
        self.log = PredictionLog(config, limit=int(config.serving.log_size.value * 1e6))
        self._now = now or (lambda: dt.datetime.now(dt.UTC))
        self._deadline, self._patience = config.serving.deadline.value / 1000, config.serving.log_wait.value / 1000
        self._waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._worker, self._lost, self._changing = _Worker(), 0, threading.Lock()
        self._large = ThreadPoolExecutor(LARGE, thread_name_prefix="scorer of many")
        self._readers = ThreadPoolExecutor(LARGE + LOST, thread_name_prefix="reader for many")

    def start(self) -> None:
        """Open the online store, the champion and the log."""
        self._scorer = Scorer(self.config, self.metrics, self._now)
        self._split = Split(self._scorer, self.challengers, self.log, self.metrics)
        for follower in self._followers:
            follower.start()
        self.log.start()
        self._scorer.recent.start()
        self._split.start()
        self._employ()

    def stop(self) -> None:
        """Finish what is in hand."""
        self._waiting.put(None)
        if self._worker.thread is not None:
            self._worker.thread.join()
        self._large.shutdown()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._scorer.recent.stop()
        for follower in self._followers:
            follower.stop()
        self._split.stop()
        self.log.stop()

    async def score(self, events: Sequence[Event], reasons: int = 0) -> list[Answer]:
        """Score events with one version; each answer is a `Score` as a dictionary, and whether it is `logged`.

        Args:
            reasons: how many of the inputs that moved a score most to return with it.

        Raises:
            NoChampion: there is no version to score with.
            Invalid: an event lies in the future.
            LogUnavailable: a prediction could not be written, and the deployment refuses then.
        """
        self._live()
        self._must_not_be_ahead(events)
        request = _Request(events, reasons)
        if len(events) > FEW or reasons:
            self._large.submit(self._score_large, request)
        else:
            self._waiting.put(request)
        request.timer = request.loop.call_later(min(self._deadline, self._patience), self._supervise, request)
        try:
            is_logged = await request.done
        except LogUnavailable:
            if self.config.serving.without_log == "refuse":
                raise
            is_logged = False
        finally:
            request.timer.cancel()
        self.metrics.stage("all", time.perf_counter() - request.begun)
        return [answer | {"logged": is_logged} for answer in request.answers]

    def is_ready(self) -> bool:
        """Whether the version that scores still gives the scores of its sample, of which one row is scored again."""
        live = self.champion.live
        if live is None:
            return False
        try:
            live.check_row()
        except Exception:
            log.exception("version %s does not score its sample any more", live.number)
            return False
        return True

    def update_metrics(self) -> None:
        """Bring the gauges up to date."""
        state, now = self.log.state, time.time()
        self.metrics.waiting.set(self._waiting.qsize())
        self.metrics.held.set(len(self._scorer.recent))
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

    def _supervise(self, request: _Request) -> None:
        """Look, again and again, whether a request waits for the store or the disk for too long; runs in its loop."""
        if request.done.done():
            return
        self._replace_if_stuck()
        if request.scored_at is not None and time.perf_counter() - request.scored_at >= self._patience:
            request.settle(LogUnavailable(f"the disk took more than {self.config.serving.log_wait.value:g} ms"))
        else:
            request.timer = request.loop.call_later(min(self._deadline, self._patience), self._supervise, request)

    def _replace_if_stuck(self) -> None:
        """Let another thread go on if the online store does not give back the one that scores."""
        with self._changing:
            worker = self._worker
            if worker.since is None or time.perf_counter() - worker.since < self._deadline:
                return
            log.warning("the online store took more than %g ms", self._deadline * 1000)
            self._lost += 1
            self._employ(worker.requests)

    def _employ(self, unread: Sequence[_Request] = ()) -> None:
        """Start the thread that scores from now on; it begins with requests for which the store did not answer."""
        worker = _Worker()
        worker.thread = threading.Thread(target=self._work, args=(worker, list(unread)), name="scorer", daemon=True)
        self._worker = worker
        worker.thread.start()

    def _work(self, worker: _Worker, unread: list[_Request]) -> None:
        if unread:
            self._score_small(worker, unread, asks_store=False)
        while self._worker is worker and (first := self._waiting.get()) is not None:
            requests, is_last = [first], False
            while len(requests) < TOGETHER and not is_last and not self._waiting.empty():
                another = self._waiting.get()
                is_last = another is None
                requests += [another] if another is not None else []
            self._score_small(worker, requests)
            if is_last:
                return

    def _score_small(self, worker: _Worker, requests: list[_Request], asks_store: bool = True) -> None:
        begun = time.perf_counter()
        events = [event for request in requests for event in request.events]
        features = self._read(worker, requests, events) if asks_store and self._lost < LOST else self._scorer.unknown(events)
        if features is None:
            return
        self._write(*self._scored_or_failed(requests, features, begun))

    def _read(self, worker: _Worker, requests: list[_Request], events: list[Event]) -> Features | None:
        """The features of requests; None if another thread has taken the requests meanwhile."""
        with self._changing:
            worker.since, worker.requests = time.perf_counter(), requests
        try:
            found = self._scorer.read(events)
        except Exception as error:  # noqa: BLE001  the store may raise anything, and a request is answered all the same
            log.warning("the online store did not answer: %s", error or type(error).__name__)
            found = self._scorer.unknown(events)
        with self._changing:
            worker.since = None
            if self._worker is not worker:
                self._lost -= 1
                return None
        return found

    def _score_large(self, request: _Request) -> None:
        """Score a request of many events, which has the deadline once for each few of them."""
        begun = time.perf_counter()
        reading = self._readers.submit(self._scorer.read, request.events)
        try:
            features = reading.result(self._deadline * -(-len(request.events) // FEW))
        except Exception as error:  # noqa: BLE001  as above
            log.warning("the online store did not answer: %s", error or type(error).__name__)
            features = self._scorer.unknown(request.events)
        self._write(*self._scored_or_failed([request], features, begun))

    def _scored_or_failed(
        self, requests: list[_Request], features: Features, begun: float
    ) -> tuple[list[_Request], list[Record]]:
        """The requests that could be scored with one version, and their records; one that cannot be fails alone."""
        try:
            return requests, self._scored(requests, features, begun)
        except Exception:
            if len(requests) == 1:
                log.exception("a request could not be scored")
                _settle(requests, InternalError(UNSCORED))
                return [], []
        good, records, row = list[_Request](), list[Record](), 0
        for request in requests:
            own = features.rows(row, row + len(request.events))
            row += len(request.events)
            scored, its_records = self._scored_or_failed([request], own, begun)
            good, records = good + scored, records + its_records
        return good, records

    def _scored(self, requests: list[_Request], features: Features, begun: float) -> list[Record]:
        read = time.perf_counter()
        events = [event for request in requests for event in request.events]
        first = requests[0]
        features = self._scorer.recent_joined(events, features)
        scored = self._split.score(events, features, self._live(), len(first.events) > FEW, first.reasons)
        ended = time.perf_counter()
        answers = iter(scored.scores)
        for request in requests:
            request.answers, request.scored_at = [_plain(next(answers)) for _ in request.events], ended
            for stage, seconds in (("wait", begun - request.begun), ("features", read - begun), ("model", ended - read)):
                self.metrics.stage(stage, seconds)
        for score in scored.scores:
            self.metrics.scored(score.version, score.role, score.decision, bool(score.explored))
        return scored.records

    def _write(self, requests: list[_Request], records: list[Record]) -> None:
        if not requests:
            return
        begun = time.perf_counter()
        try:
            written = self.log.append(records)
        except Exception:  # the thread that scores must not end with a record that cannot be written
            log.exception("a prediction cannot be written down")
            _settle(requests, InternalError(UNSCORED))
        else:
            written.add_done_callback(partial(self._written, requests, begun))

    def _written(self, requests: list[_Request], begun: float, written: Future[None]) -> None:
        seconds = time.perf_counter() - begun
        for _ in requests:
            self.metrics.stage("log", seconds)
        _settle(requests, written.exception())


def _settle(requests: list[_Request], error: BaseException | None) -> None:
    """Answer requests, each in its loop."""

    def settle(of_loop: list[_Request]) -> None:
        for request in of_loop:
            request.settle(error)

    for loop in {request.loop for request in requests}:
        of_loop = [request for request in requests if request.loop is loop]
        try:
            loop.call_soon_threadsafe(settle, of_loop)
        except RuntimeError:  # the loop has ended, and nobody waits
            log.warning("%d requests were scored when nobody waited for them any more", len(of_loop))


def _plain(score: Score) -> Answer:
    return {name: value for name, value in vars(score).items() if value is not None}
