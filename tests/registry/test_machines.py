"""Machines that share a ledger on PostgreSQL and an MLflow server, and no folder, promote at the same moment."""

from __future__ import annotations

import itertools
import multiprocessing
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psycopg
import pytest

from deploy.local.preflight import free_port
from ml.config import PROJECT
from ml.ledger.ledger import Ledger
from ml.ledger.moves import ChampionMoved
from ml.registry.versions import Registry
from tests.ledger.conftest import postgresql as _postgresql
from tests.registry.test_promotion import assert_champion, move_up

postgresql = _postgresql
MACHINES = 8
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["mlflow", "ml.registry.promotion", "psycopg", "tests.registry.test_machines"])


@pytest.fixture
def url(postgresql: str) -> str:
    """URL of an empty database on a PostgreSQL server."""
    with psycopg.connect(host=postgresql, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE of_machines")
    return f"postgresql://postgres@/of_machines?host={postgresql}"


@pytest.fixture
def ledger(url: str) -> Ledger:
    """A ledger there."""
    return Ledger(url)


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[str]:
    """Address of an MLflow server, which keeps the artifacts too."""
    port = free_port()
    kept = ["--store", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts", str(tmp_path / "kept"), "--root", "mlflow-artifacts:/"]
    server = subprocess.Popen([sys.executable, "-m", "deploy.local.tracking", "--port", str(port), *kept], cwd=PROJECT)
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait(address: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise TimeoutError(address)


@pytest.fixture
def add_version(registry: Registry, tmp_path: Path) -> Callable[[], str]:
    """Registers one more version, with the artifacts on the server."""
    numbers = itertools.count(1)

    def add() -> str:
        number = next(numbers)
        folder = tmp_path / f"model_{number}"
        folder.mkdir()
        (folder / "MLmodel").write_text(f"model_uuid: {number}\n")
        (folder / "model.onnx").write_bytes(bytes(range(256)) * number)
        run = registry.run(registry.experiment(registry.model, None), f"key_{number}")
        return registry.register(folder, run, {"rows": "1000"}, "a test's model")

    return add


def _promote(started: Barrier, ledger: str, tracking: str, model: str, version: str, champion: str, folder: str) -> str:
    """What a machine of its own learns when all promote at once."""
    tempfile.tempdir = folder
    opened, registry = Ledger(ledger), Registry(tracking, model)
    started.wait(timeout=300)
    try:
        return f"promoted {move_up(opened, registry, version, champion).to_version}"
    except ChampionMoved as error:
        return f"told: {error}"


def _run(number: int, started: Barrier, results: multiprocessing.Queue[tuple[int, str]], *arguments: str) -> None:
    results.put((number, _promote(started, *arguments)))


@pytest.mark.proof
def test_of_eight_versions_that_are_promoted_at_the_same_moment_one_wins_and_the_others_are_told(
    url: str, ledger: Ledger, registry: Registry, tracking: str, add_version: Callable[[], str], tmp_path: Path
) -> None:
    champion = add_version()
    move_up(ledger, registry, champion, None)
    versions = [add_version() for _ in range(MACHINES)]
    started, results = processes.Barrier(MACHINES), processes.Queue()
    machines = []
    for number, version in enumerate(versions):
        folder = tmp_path / f"machine_{number}"
        folder.mkdir()
        told = (url, tracking, registry.model, version, champion, str(folder))
        machines.append(processes.Process(target=_run, args=(number, started, results, *told)))
    for machine in machines:
        machine.start()
    answers = dict(results.get(timeout=300) for _ in machines)
    for machine in machines:
        machine.join()
    won = [number for number, answer in answers.items() if answer.startswith("promoted")]
    assert len(won) == 1, answers
    winner = versions[won[0]]
    assert all(f"version {winner} is" in answer for number, answer in answers.items() if number != won[0]), answers
    history = ledger.moves.history(registry.model)
    assert [move.to_version for move in history] == [champion, winner]
    assert_champion(ledger, registry, winner)
