"""A service whose disk runs full refuses or says what it does not log, loses nothing that it logged, and goes on by itself."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.local.preflight import free_port
from ml.config import Config, load
from ml.quality.predictions import load_predictions
from tests.deployments import FIRST_AS_OF
from tests.serving.conftest import events_of
from tests.serving.running import copied, ids_of, start_service

CLIENTS, NOT_LOGGED = 4, 10
ROOM, LEFT, PAGE = 8 << 20, 64 << 10, 4096
"""Bytes of the disk that the deployment leaves, what is left of them to predictions when the disk fills, and of its pages."""


@dataclass(frozen=True)
class Disk:
    """A disk that can be filled: a small file system, or where none may be mounted a limit to the files of a process."""

    folder: Path
    is_mounted: bool

    @property
    def error(self) -> str:
        """What the kernel says when it is full."""
        return "No space left on device" if self.is_mounted else "File too large"

    def fill(self, process: int) -> None:
        """Leave a little room, which the process fills itself, or none."""
        if self.is_mounted:
            state = os.statvfs(self.folder)
            self._ballast.write_bytes(bytes(state.f_bavail * state.f_frsize - LEFT))
        else:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def clear(self, process: int) -> None:
        """Make room."""
        self._ballast.unlink(missing_ok=True)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@pytest.fixture
def disk(released: Config, tmp_path: Path) -> Iterator[Disk]:
    """A disk with a little more room than the deployment needs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    needed = sum(path.lstat().st_size + PAGE for path in released.home.rglob("*"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={needed + ROOM}", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    yield Disk(folder, is_mounted)
    if is_mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Client:
    """Asks, and remembers what became of its predictions."""

    port: int
    logged: set[str] = field(default_factory=set)
    not_logged: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def score(self, events: Sequence[dict[str, Any]]) -> None:
        """Score events, one by one."""
        for event in events:
            status, answer = self.ask("/v1/score", {"event": event})
            if answer.get("logged"):
                self.logged.add(answer["id"])
            else:
                self.not_logged.append({"status": status} | answer)

    def answer(self, event: dict[str, Any]) -> bool:
        """Give a person's answer about an event; whether the service took it."""
        return self.ask("/v1/feedback", {"event_id": event["event_id"], "label": 1, "source": "analyst"})[0] == 202

    def score_until_full(self, events: Sequence[dict[str, Any]]) -> None:
        """Score events by several clients at once until the service cannot log any more."""

        def score() -> None:
            for event in itertools.cycle(events):
                self.score([event])
                if len(self.not_logged) >= CLIENTS * NOT_LOGGED:
                    return

        clients = [threading.Thread(target=score) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()


@pytest.mark.parametrize("rule", ["refuse", "answer"])
def test_what_was_logged_is_there_when_the_disk_has_room_again(disk: Disk, released: Config, rule: str) -> None:
    path, port = copied(released, disk.folder, without_log=rule), free_port()
    config, client = load(path), Client(port)
    events, taken = events_of(config, 100), 0
    service = start_service(path, port)
    try:
        client.score(events)
        taken += client.answer(events[0])
        assert (len(client.logged), taken) == (len(events), 1)
        disk.fill(service.pid)
        client.score_until_full(events)
        taken += client.answer(events[1])
        with suppress(OSError):
            load_predictions(config, FIRST_AS_OF)
        missed = list(client.not_logged)
        disk.clear(service.pid)
        client.score(events)
        taken += client.answer(events[2])
    finally:
        service.terminate()
        ended = service.wait()
    assert client.not_logged == missed, "all that came since there is room is logged"
    if rule == "refuse":
        assert {answer["status"] for answer in missed} == {503}
        assert {answer["error"]["code"] for answer in missed} == {"log unavailable"}
        assert all(disk.error in answer["error"]["message"] for answer in missed)
    else:
        assert {(answer["status"], answer["logged"]) for answer in missed} == {(200, False)}
        assert all(0 < answer["probability"] < 1 for answer in missed)
    assert ended == -signal.SIGTERM
    answers = load_predictions(config, FIRST_AS_OF).answers
    kept = ids_of(config)
    assert len(kept) == len(set(kept))
    assert set(kept) == client.logged
    assert answers == taken >= 2
