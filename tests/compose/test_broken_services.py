"""Services of docker-compose.yaml fail one by one: each run ends well, and nothing is lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.compose.composition import NAME, Composition, until
from tests.compose.conftest import DAY, Nights
from tests.compose.test_composition import score

pytestmark = pytest.mark.compose

MINUTE = 60
STARTED_AGAIN_WITHIN = 180


def nothing_lost_or_doubled(composition: Composition, before: dict[str, Any], run_id: str) -> None:
    """A night's files are in the lake once, and its training has been admitted, decided on and registered once."""
    after = composition.held()
    assert after["events"][0] > before["events"][0]
    assert after["landed"] == after["events"][0] + after["set_aside"]
    assert after["events"][0] == after["events"][1]
    assert after["admitted"] == [*before["admitted"], run_id]
    assert after["decided"][:-1] == before["decided"]
    assert after["decided"][-1][0] == run_id
    assert len(after["versions"]) == len(before["versions"]) + 1
    assert len(after["predictions"]) == len(set(after["predictions"]))
    assert set(after["predictions"]) >= set(before["predictions"])


@contextmanager
def for_a_minute(composition: Composition, begin: tuple[str, ...], end: tuple[str, ...]) -> Iterator[None]:
    """Between two commands of docker, which are at least a minute apart."""
    composition.engine.docker(*begin)
    begun = time.monotonic()
    try:
        yield
        time.sleep(max(0.0, begun + MINUTE - time.monotonic()))
    finally:
        composition.engine.docker(*end)


def test_the_database_restarts_in_the_middle_of_a_training(composition: Composition, nights: Nights) -> None:
    before, run = composition.held(), nights.train()
    nights.running(run, "model.fit")
    composition.engine.docker("restart", composition.container("postgres"))
    nights.ended("train", run.run_id)
    nothing_lost_or_doubled(composition, before, run.run_id)


def test_redis_is_stopped_for_a_minute(composition: Composition, nights: Nights) -> None:
    before, known, redis = composition.held(), nights.trainings(), composition.container("redis")
    with for_a_minute(composition, ("stop", redis), ("start", redis)):
        ingest = nights.land()
        answers = score(composition, (nights.as_of - DAY).date())
    assert {answer["features_from"] for answer in answers} == {"defaults"}
    nights.ended("ingest", ingest)
    run = nights.training_after(known)
    nights.ended("train", run.run_id)
    nothing_lost_or_doubled(composition, before, run.run_id)
    assert {answer["features_from"] for answer in score(composition, (nights.as_of - DAY).date())} == {"online store"}


def test_the_scheduler_is_killed_in_the_middle_of_a_training(composition: Composition, nights: Nights) -> None:
    before, run = composition.held(), nights.train()
    nights.running(run, "model.fit")
    composition.crash("airflow-scheduler")
    until(lambda: composition.states()["airflow-scheduler"] == "healthy", "it is started again", STARTED_AGAIN_WITHIN)
    nights.ended("train", run.run_id)
    nothing_lost_or_doubled(composition, before, run.run_id)


def test_the_object_store_refuses_for_a_minute(composition: Composition, nights: Nights) -> None:
    before, run = composition.held(), nights.train()
    nights.running(run, "data.build_training_set")
    store, network = composition.container("s3"), f"{NAME}_default"
    with for_a_minute(
        composition,
        ("network", "disconnect", network, store),
        ("network", "connect", "--alias", "s3", network, store),
    ):
        answers = score(composition, (nights.as_of - DAY).date())
    assert all(answer["logged"] for answer in answers), "the log is on the service's own disk first"
    nights.ended("train", run.run_id)
    nothing_lost_or_doubled(composition, before, run.run_id)
