"""One composition for all tests of this folder; each file goes on from the night at which the file before it ended."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deploy.local.api import Api, Run
from tests.compose.composition import Composition, started, until
from tests.compose.engine import NoEngine, engine
from tests.deployments import FIRST_AS_OF

DAY = dt.timedelta(days=1)
RUN_WITHIN = 1500
BY_THE_CLOCK, TAKES = 7, 5
"""Minute of the hour at which DAG `release` runs by itself, and minutes that a release takes here."""


@dataclass
class Nights:
    """Plays one night after the other: a day of files lands, and is taken in."""

    composition: Composition
    api: Api
    number: int = -1

    @property
    def as_of(self) -> dt.datetime:
        """The instant of the newest night."""
        return FIRST_AS_OF + self.number * DAY

    def land(self) -> str:
        """Let the files of the next day land, and start their ingest: the id of its run."""
        self.number += 1
        self.composition.feed((self.as_of - DAY).date())
        return self.api.trigger("ingest", {"as_of": self.as_of.isoformat()})

    def train(self) -> Run:
        """Let a day land, wait for its ingest, and return the training that it has started."""
        known = self.trainings()
        self.ended("ingest", self.land())
        return self.training_after(known)

    def trainings(self) -> set[str]:
        """The ids of all runs of `train`."""
        return {run.run_id for run in self.api.runs("train")}

    def training_after(self, known: set[str]) -> Run:
        """The run of `train` that is none of those, once there is one."""
        found: Run = until(
            lambda: next((run for run in self.api.runs("train") if run.run_id not in known), None),
            "the ingest has started a training",
        )
        return found

    def ended(self, dag_id: str, run_id: str) -> Run:
        """A run when it has ended well."""
        return self.api.wait(dag_id, run_id, RUN_WITHIN)

    def running(self, run: Run, task_id: str) -> None:
        """Wait until a task of a run is running."""

        def is_running() -> bool:
            tasks = self.api.task_instances(run.dag_id, run.run_id)
            return any(task.task_id == task_id and task.state == "running" for task in tasks)

        until(is_running, f"{task_id} is running", RUN_WITHIN)


@pytest.fixture(scope="session")
def composition() -> Iterator[Composition]:
    """Everything of docker-compose.yaml, healthy."""
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.0f} s  {text}", flush=True)

    try:
        with engine() as machine:
            say(f"engine {machine.docker('version', '--format', '{{.Server.Version}}').strip()}, {' '.join(machine.compose)}")
            with started(machine, say) as made:
                yield made
    except NoEngine as error:
        pytest.exit(f"docker-compose.yaml was not tested: {error}", returncode=1)


@pytest.fixture(scope="session")
def nights(composition: Composition) -> Iterator[Nights]:
    """The nights of the composition."""
    with composition.api() as api:
        until(lambda: {"ingest", "train", "score", "release"} <= set(api.dags()), "Airflow has read the DAGs")
        assert api.import_errors() == {}
        for dag_id in set(api.dags()) - {"release"}:
            api.unpause(dag_id)
        yield Nights(composition, api)


@pytest.fixture
def looks(nights: Nights) -> Iterator[None]:
    """DAG `release` may run; not at the minute at which it runs by the clock, which is a year ahead of the nights."""
    until(lambda: not (BY_THE_CLOCK - TAKES) <= dt.datetime.now(dt.UTC).minute <= BY_THE_CLOCK, "the clock's look is over", 600)
    nights.api.unpause("release")
    yield
    nights.api._ask("PATCH", "/dags/release", json={"is_paused": True})
