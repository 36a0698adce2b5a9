"""One deployment with a champion and a filled online store for all tests of serving; what changes it works on a copy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.serving.app import create
from ml.store.feast import materialize
from tests.deployments import FIRST_AS_OF
from tests.monitoring import living


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment on the night of its training."""
    config = living.train(tmp_path_factory.mktemp("released"))
    materialize(config, FIRST_AS_OF)
    return config


@pytest.fixture
def config(released: Config, tmp_path: Path) -> Config:
    """A copy that a test may change."""
    return patient(living.copy(released, tmp_path))


def patient(config: Config, deadline: float = 10_000) -> Config:
    """The deployment with the patience of a busy test machine, in milliseconds."""
    serving = config.serving
    update = {
        "deadline": serving.deadline.model_copy(update={"value": deadline}),
        "log_wait": serving.log_wait.model_copy(update={"value": 20_000}),
    }
    return config.model_copy(update={"serving": serving.model_copy(update=update)})


@pytest.fixture
def client(config: Config) -> Iterator[TestClient]:
    """A client of the running service."""
    with TestClient(create(config)) as client:
        yield client


def events_of(config: Config, number: int, day: dt.datetime = FIRST_AS_OF) -> list[dict[str, Any]]:
    """Events of the day before as requests of the night after, when the online store has that day's snapshots."""
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories, *config.attributes]
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        rows = connection.execute(
            f"SELECT {', '.join(names)} FROM events WHERE event_time < ? ORDER BY event_time DESC, event_id LIMIT {number}",
            [day],
        ).df()
    events = [dict(zip(names, row, strict=True)) for row in rows.astype(object).where(rows.notna(), None).to_numpy()]
    return [event | {"event_time": (event["event_time"] + dt.timedelta(days=1)).isoformat()} for event in events]
