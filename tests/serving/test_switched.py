"""The champion moves under load: no request fails, each is answered by a version that was champion then, and all is logged."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deploy.local.preflight import free_port
from ml.__main__ import main
from ml.config import Config, load
from ml.quality.predictions import load_predictions
from ml.serving.log import unloaded
from tests.deployments import FIRST_AS_OF
from tests.monitoring import living
from tests.serving.conftest import events_of
from tests.serving.running import copied, ids_of, start_service, versions_of

RATE = 40.0
"""Requests a second, whether those before are answered or not."""
TOGETHER = 5
"""Events of each tenth request, which is a batch."""
TURNS, PER_REIGN = 2, 40


@dataclass(frozen=True)
class Answered:
    """A request that was answered: when it was sent and received, and version and id of each score."""

    sent: float
    received: float
    scores: list[tuple[str, str]]


@dataclass
class Load:
    """Requests at a steady rate, until it is ended, from a thread of its own."""

    port: int
    events: list[dict[str, Any]]
    answers: list[Answered] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Send nothing more, and wait for the answers."""
        self._ended.set()
        self._thread.join()

    def wait(self, more: int) -> None:
        """Wait until some more requests were answered."""
        enough = len(self.answers) + more
        while len(self.answers) < enough and not self.failed:
            time.sleep(0.02)

    async def _send(self) -> None:
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            begun = time.monotonic()
            for number in itertools.count():
                await asyncio.sleep(max(0.0, begun + number / RATE - time.monotonic()))
                if self._ended.is_set():
                    return
                group.create_task(self._ask(client, number))

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        start, is_batch, sent = number * TOGETHER % len(self.events), number % 10 == 9, time.monotonic()
        events = self.events[start : start + TOGETHER]
        try:
            if is_batch:
                answer = await client.post("/v1/score/batch", json={"events": events})
            else:
                answer = await client.post("/v1/score", json={"event": events[0]})
            scores = answer.raise_for_status().json()
        except httpx.HTTPError as error:
            self.failed.append(f"{type(error).__name__}: {error}")
            return
        told = [(score["version"], score["id"]) for score in (scores["scores"] if is_batch else [scores])]
        self.answers.append(Answered(sent, time.monotonic(), told))


@dataclass
class Reign:
    """A version is champion: from just before the ledger says so, until the service was seen to score with the next one."""

    version: str
    begins: float
    ends: float = float("inf")

    def overlaps(self, answered: Answered) -> bool:
        return answered.sent <= self.ends and answered.received >= self.begins


def wait_until_scores(port: int, version: str) -> None:
    for _ in range(3000):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=60) as answer:
            if json.loads(answer.read())["models"][0]["version"] == version:
                return
        time.sleep(0.02)
    raise AssertionError(f"version {version} is champion, and does not score after a minute")


def roll_back(path: Path) -> None:
    who = ["--as-of", FIRST_AS_OF.isoformat(), "--actor", "ann", "--reason", "complaints"]
    assert main(["rollback", "--config", str(path), *who]) == 0


def acknowledged(load: Load) -> set[str]:
    return {prediction for answered in list(load.answers) for _, prediction in answered.scores}


def logged(config: Config) -> set[str]:
    """What is in the log or in the lake; what moves from one to the other meanwhile is in one of them."""
    in_log = {record["id"] for record in unloaded(config)}
    return in_log | set(ids_of(config))


def test_the_champion_moves_between_two_requests(released: Config, tmp_path: Path) -> None:
    path, port = copied(released, tmp_path), free_port()
    config = load(path)
    second = living.crown(config, "1", iterations=10)
    service = start_service(path, port)
    requests, reigns = Load(port, events_of(config, 200)), [Reign(second, 0.0)]
    requests.start()
    try:
        for turn in range(TURNS):
            for version in ("1", second):
                requests.wait(PER_REIGN)
                begins = time.monotonic()
                if version == "1":
                    roll_back(path)
                else:
                    living.move(config, "1", version, run_id=f"turn {turn}")
                wait_until_scores(port, version)
                reigns[-1].ends = time.monotonic()
                reigns.append(Reign(version, begins))
                before = acknowledged(requests)
                assert before <= logged(config)
            load_predictions(config, FIRST_AS_OF)
        requests.wait(PER_REIGN)
    finally:
        requests.end()
        service.terminate()
        service.wait()
    assert requests.failed == []
    for answered in requests.answers:
        (version,) = {version for version, _ in answered.scores}
        assert version in {reign.version for reign in reigns if reign.overlaps(answered)}
    load_predictions(config, FIRST_AS_OF)
    kept = versions_of(config)
    assert len(kept) == len(dict(kept))
    assert {prediction: version for answered in requests.answers for version, prediction in answered.scores} == dict(kept)
