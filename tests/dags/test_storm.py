"""Under a real scheduler: a storm of triggers starts one training.

The deployment has a single day of payments. That is enough for `admit`, which is what is looked at; a training that it lets
through ends at the next step, for the lake does not reach back far enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from deploy.local.api import Api, ApiError, RunFailed
from deploy.local.stack import DAG_IDS, Stack
from ml import steps
from ml.config import PROJECT, Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.requests import Recorded
from tests import deployments
from tests.dags.triggering import (
    AS_OF,
    DAY,
    ENDED,
    EVERY_HALF_MINUTE,
    ONE,
    PATIENCE,
    confirm,
    key,
    kill,
    restart,
    started_by_the_clock,
    take_in_unasked,
    until,
    waits,
    write,
)


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Airflow with the project's own DAGs and a day of payments, where the clock asks for a training every half minute."""
    path = write(tmp_path_factory.mktemp("triggers"), EVERY_HALF_MINUTE)
    take_in_unasked(load(path))
    return start_stack(PROJECT / "dags", path, dag_ids=DAG_IDS, home=load(path).home)


@pytest.fixture(scope="module")
def config(stack: Stack) -> Config:
    """The deployment that the stack runs."""
    return load(stack.config_path)


@pytest.fixture
def api(stack: Stack) -> Iterator[Api]:
    """A client of the running stack."""
    with stack.api() as client:
        for dag_id in ("train", "watch"):
            client.unpause(dag_id)
        yield client


@pytest.mark.proof
def test_a_storm_of_triggers_starts_one_training_and_every_request_is_answered(stack: Stack, api: Api, config: Config) -> None:
    """Ten triggers of all five kinds, each delivered twice, while scheduler and triggerer are killed.

    The next day lands and nobody takes it in: the clock's runs see the world at that day too, and all see the same data.
    """
    assert started_by_the_clock(api, config)
    as_of = AS_OF + ONE
    deployments.land(config, f"payments_{DAY + ONE}.parquet", deployments.payments(40, DAY + ONE))
    assets = {asset["name"]: asset["id"] for asset in api._ask("GET", "/assets")["assets"]}

    def ask(name: str) -> None:
        body = {"dag_run_id": name, "logical_date": None, "conf": {"as_of": as_of.isoformat()}}
        api._ask("POST", "/dags/train/dagRuns", json=body)
        with pytest.raises(ApiError, match="409"):
            api._ask("POST", "/dags/train/dagRuns", json=body)

    def take_in(run_id: str) -> None:
        for _ in range(2):
            steps.run("request_for_new_data", config, as_of, {"run_id": run_id, "accepted": 40})
            ring("card_fraud_lake")

    def ring(asset: str) -> None:
        api._ask("POST", "/assets/events", json={"asset_id": assets[asset], "extra": {"as_of": as_of.isoformat()}})

    ask("ann")
    confirm(config, DAY + ONE, as_of, "drift", "performance")
    take_in("ingest 1")
    kill(stack, "triggerer", "scheduler")
    ask("bob")
    confirm(config, DAY + 2 * ONE, as_of, "drift", "performance")
    take_in("ingest 2")
    # A scheduler that starts before its predecessor counts as dead looks for the tasks of that one five minutes later.
    until(lambda: api.health()["scheduler"]["status"] != "healthy", "the scheduler counts as dead")
    restart(stack)
    for day in (DAY + ONE, DAY + 2 * ONE):
        assert not confirm(config, day, as_of, "drift", "performance")
    ring("card_fraud_requests")

    def storm() -> list[Recorded]:
        return [r for r in Ledger(config.ledger).requests.all(config.name) if r.as_of == as_of]

    def by_the_clock() -> list[str]:
        return [r.key.removeprefix("run ") for r in storm() if r.trigger == "schedule" and r.answers]

    for run_id in until(lambda: len(by_the_clock()) >= 2 and by_the_clock(), "the clock has asked twice")[:2]:
        until(lambda asked=run_id: api.run("train", asked).state in ENDED, "the clock's run has ended")
        api._ask("POST", "/dags/train/clearTaskInstances", json={"dry_run": False, "only_failed": False, "dag_run_id": run_id})
        until(lambda asked=run_id: api.run("train", asked).state in ENDED, "the clock's run has ended again")

    keys = {"run ann", "run bob", "new data of ingest 1", "new data of ingest 2"}
    keys |= {key(trigger, DAY + number * ONE) for trigger in ("drift", "performance") for number in (1, 2)}
    until(lambda: keys <= {r.key for r in storm() if r.answers}, "every request is answered")
    until(lambda: waits(api), "the watch waits again")
    (trained,) = [t for t in Ledger(config.ledger).trainings.all(config.name) if t.admitted and t.as_of == as_of]
    served = Ledger(config.ledger).requests.served_by(config.name, trained.run_id)
    assert len(storm()) >= 10
    assert {r.id for r in storm()} <= {r.id for r in served}
    given = [(r.answers[-1].answer, r.answers[-1].run_id) for r in served]
    assert [answer for answer, _ in given].count("started") == 1
    assert set(given) <= {("started", trained.run_id), ("joined", trained.run_id)}
    with pytest.raises(RunFailed, match="build_training_set"):
        api.wait("train", trained.run_id, PATIENCE)
