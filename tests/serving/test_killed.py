"""A service that is killed under load loses no acknowledged prediction, and none reaches the lake twice."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deploy.local.preflight import free_port
from ml.config import Config, load
from ml.quality.predictions import load_predictions
from tests.deployments import FIRST_AS_OF
from tests.serving.conftest import events_of
from tests.serving.running import copied, ids_of, start_service

KILLS = 50
CLIENTS = 8


def _ask(port: int, events: list[dict[str, Any]], acknowledged: list[str], ended: threading.Event) -> None:
    """Score events over and over, and keep the ids that were answered."""
    for event in itertools.cycle(events):
        if ended.is_set():
            return
        body = json.dumps({"event": event}).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/score", data=body, timeout=30) as answer:
                acknowledged.append(json.loads(answer.read())["id"])
        except (OSError, ValueError):
            ended.wait(0.05)


def test_what_was_acknowledged_is_in_the_lake_once(released: Config, tmp_path: Path, repetitions: Callable[[int], int]) -> None:
    """Killed at a random moment of its load; taken into the lake now and then, also while a service writes."""
    path = copied(released, tmp_path)
    config = load(path)
    events, port, acknowledged = events_of(config, 200), free_port(), list[str]()
    moments = np.random.default_rng(7)
    for kill in range(repetitions(KILLS)):
        service, ended = start_service(path, port), threading.Event()
        clients = [threading.Thread(target=_ask, args=(port, events, acknowledged, ended)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(moments.uniform(0.2, 3))
        if kill % 3 == 0:
            load_predictions(config, FIRST_AS_OF)
        service.kill()
        service.wait()
        ended.set()
        for client in clients:
            client.join()
    service = start_service(path, port)
    service.terminate()
    assert service.wait(60) == -signal.SIGTERM  # uvicorn ends by the signal, once all is finished
    load_predictions(config, FIRST_AS_OF)
    kept = ids_of(config)
    assert len(acknowledged) > 100
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))


def test_what_was_taken_is_finished_when_the_service_is_told_to_stop(released: Config, tmp_path: Path) -> None:
    path, port = copied(released, tmp_path), free_port()
    config = load(path)
    events, answered, failed = events_of(config, 100), list[str](), list[str]()
    service = start_service(path, port)

    def ask(event: dict[str, Any]) -> None:
        body = json.dumps({"event": event}).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/score", data=body, timeout=30) as answer:
                answered.append(json.loads(answer.read())["id"])
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):  # one that came after the end
                failed.append(str(error))

    clients = [threading.Thread(target=ask, args=(event,)) for event in events]
    for client in clients:
        client.start()
    time.sleep(0.05)
    service.terminate()
    for client in clients:
        client.join()
    assert service.wait(60) == -signal.SIGTERM  # uvicorn ends by the signal, once all is finished
    assert failed == []
    assert answered
    load_predictions(config, FIRST_AS_OF)
    assert set(answered) <= set(ids_of(config))
