"""Under a real scheduler: payments and flights in one Airflow, each with its DAGs, its lake and its alarms, and a broken file.

The clock of a third one asks for a training every half minute. Each has a few days of events: a training that is let through
ends at the next step, for the lakes do not reach back far enough.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import flights_data
from deploy.local.api import Api
from deploy.local.stack import Stack
from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from tests import deployments
from tests.dags.triggering import (
    AS_OF,
    DAY,
    ENDED,
    EVERY_HALF_MINUTE,
    NEVER,
    PATIENCE,
    answered,
    confirm,
    key,
    rung,
    started_by_the_clock,
    take_in_unasked,
    until,
    with_champion,
)

PROCESSES = ("ingest", "maintain", "messages", "monitor", "score", "train", "watch")
NAMES = ("card_fraud", "flights")
CLOCKED = "clocked"
DAG_IDS = tuple(f"{name}_{process}" for name in (*NAMES, CLOCKED) for process in PROCESSES)
FLIGHTS_AS_OF = dt.datetime(2013, 1, 4, 9, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of both deployments and one that is none; events of both have landed."""
    folder = tmp_path_factory.mktemp("side_by_side")
    (folder / "deployments").mkdir()
    files = {}
    for name, told in (("card_fraud", deployments.small_told()), ("flights", deployments.raw("flights"))):
        (folder / name).mkdir()
        # A run that the clock starts takes in files of 2013 as those of today, and sets them aside as too old.
        told["schedule"] = dict.fromkeys(("ingest", "train", "monitor"), NEVER)
        files[name] = deployments.write(folder / name, told).rename(folder / "deployments" / f"{name}.yaml")
    (folder / CLOCKED).mkdir()
    told = deployments.small_told() | {"name": CLOCKED}
    told["schedule"] |= {"train": EVERY_HALF_MINUTE}
    clocked = deployments.write(folder / CLOCKED, told).rename(folder / "deployments" / f"{CLOCKED}.yaml")
    take_in_unasked(load(clocked))
    (folder / "deployments" / "broken.yaml").write_text("name: broken\nhome: nowhere\n")
    deployments.land(load(files["card_fraud"]), f"payments_{DAY}.parquet", deployments.payments(40, DAY))
    for day in (1, 2, 3):
        flights_data.write_day(load(files["flights"]).landing, dt.date(2013, 1, day))
    return folder


@pytest.fixture(scope="module")
def configs(folder: Path) -> dict[str, Config]:
    """Both deployments by name."""
    return {name: load(folder / "deployments" / f"{name}.yaml") for name in NAMES}


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], folder: Path) -> Stack:
    """One Airflow for the folder of deployments."""
    return start_stack(PROJECT / "dags", folder / "deployments", dag_ids=DAG_IDS, home=folder / "airflow_home")


def _ids(config: Config) -> list[str]:
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        return [event_id for (event_id,) in connection.execute("SELECT event_id FROM events").fetchall()]


def _ingested(api: Api, name: str, as_of: dt.datetime) -> None:
    for process in ("ingest", "train", "watch"):
        api.unpause(f"{name}_{process}")
    api.wait(f"{name}_ingest", api.trigger(f"{name}_ingest", {"as_of": as_of.isoformat()}), PATIENCE)


def test_a_broken_file_is_reported_and_the_others_have_their_dags(stack: Stack, folder: Path) -> None:
    with stack.api() as api:
        assert set(api.dags()) == set(DAG_IDS)
        ((file, (_, error)),) = api.import_errors().items()
    assert file.endswith("broken_deployments.py")
    assert str(folder / "deployments" / "broken.yaml") in error
    assert "card_fraud" not in error


def test_each_deployment_takes_in_its_own_files(stack: Stack, configs: dict[str, Config]) -> None:
    with stack.api() as api:
        for name, as_of in (("card_fraud", AS_OF), ("flights", FLIGHTS_AS_OF)):
            _ingested(api, name, as_of)
    payments, flights = _ids(configs["card_fraud"]), _ids(configs["flights"])
    assert len(payments) == 40
    assert len(flights) > 2_000
    assert not set(payments) & set(flights)


def test_an_alarm_of_one_deployment_starts_a_training_of_that_one_alone(stack: Stack, configs: dict[str, Config]) -> None:
    """The champion is that of the payments; the flights have none, and nothing of the alarm reaches them."""
    payments, flights = configs["card_fraud"], configs["flights"]
    with stack.api() as api:
        for name in NAMES:
            until(lambda dag=f"{name}_train": _ended(api, dag), f"{name} has answered its new data")
        with_champion(payments)
        confirm(payments, DAY, AS_OF, "drift")
        asked = answered(payments, key("drift", DAY))
        until(lambda: rung(api, "card_fraud_requests", "card_fraud_train"), "the alarm has started a run")
        runs = {name: {run.run_id for run in api.runs(f"{name}_train")} for name in NAMES}
        assert rung(api, "flights_requests", "flights_train") == []
    assert asked.answers[0].run_id in runs["card_fraud"] - runs["flights"]
    assert {request.trigger for request in Ledger(flights.ledger).requests.all(flights.name)} == {"new_data"}
    assert Ledger(payments.ledger).moves.champion(payments.name) == "1"
    assert Ledger(flights.ledger).moves.champion(flights.name) is None


def test_the_clock_starts_a_training(stack: Stack, folder: Path) -> None:
    with stack.api() as api:
        api.unpause(f"{CLOCKED}_train")
        started = started_by_the_clock(api, load(folder / "deployments" / f"{CLOCKED}.yaml"), f"{CLOCKED}_train")
    assert started == {("schedule", "scheduler")}


def _ended(api: Api, dag_id: str) -> bool:
    runs = api.runs(dag_id)
    return bool(runs) and all(run.state in ENDED for run in runs)
