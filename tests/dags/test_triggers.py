"""Under a real scheduler: each of the five triggers starts a training by itself, and a storm of them starts one.

The deployment has a single day of payments. That is enough for `admit`, which is what is looked at; a training that it lets
through ends at the next step, for the lake does not reach back far enough.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.local.api import Api, ApiError, Run, RunFailed
from deploy.local.stack import DAG_IDS, Stack
from deploy.local.state import State
from ml import steps
from ml.config import PROJECT, Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Posted
from ml.ledger.moves import Move
from ml.ledger.requests import Recorded
from ml.ledger.signals import Alarm, Reading
from ml.ledger.words import Trigger
from tests import deployments

ONE = dt.timedelta(days=1)
DAY = dt.date(2025, 3, 11)
AS_OF = deployments.FIRST_AS_OF
PATIENCE = 300
NEVER, EVERY_HALF_MINUTE = "0 0 29 2 *", "* * * * * */30"
ENDED = ("success", "failed")


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Airflow with the project's own DAGs; version 1 is champion. The clock asks for no training until its own test."""
    told = deployments.small_told()
    told["schedule"] |= {"train": NEVER}
    told["schedule"]["deadline"] = {"value": 0.01, "unit": "hours", "reason": "half a minute, to be missed in a test"}
    told["retraining"] = {
        "cooldown": {"value": 0, "unit": "days", "reason": "alarms of one test follow each other"},
        "budget": {"value": 31, "unit": "per month", "reason": "alarms of one test follow each other"},
    }
    path = deployments.write(tmp_path_factory.mktemp("triggers"), told)
    config = load(path)
    first = Move(
        model=config.name,
        action="promote",
        expected_from=None,
        to_version="1",
        as_of=AS_OF,
        actor="test",
        reason="alarms speak of a champion",
        verdict={},
        run_id="test",
        hashes={},
    )
    Ledger(config.ledger).moves.make(first)
    return start_stack(PROJECT / "dags", path, dag_ids=DAG_IDS, home=config.home)


@pytest.fixture(scope="module")
def config(stack: Stack) -> Config:
    """The deployment that the stack runs."""
    return load(stack.config_path)


@pytest.fixture(scope="module")
def late(stack: Stack, config: Config) -> str:
    """A run of `ingest` that stays queued, because the DAG is paused, with a file of payments to take in."""
    deployments.land(config, f"payments_{DAY}.parquet", deployments.payments(40, DAY))
    with stack.api() as api:
        for dag_id in ("train", "watch"):
            api.unpause(dag_id)
        return api.trigger("ingest", {"as_of": AS_OF.isoformat()})


@pytest.fixture
def api(stack: Stack, late: str) -> Iterator[Api]:
    """A client of the running stack."""
    with stack.api() as client:
        yield client


def until(question: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := question()):
        assert time.monotonic() < deadline, f"after {PATIENCE} s still not: {what}"
        time.sleep(0.5)
    return answer


def request(config: Config, key: str) -> Recorded | None:
    """The request with this key, once the ledger has it."""
    return next((r for r in Ledger(config.ledger).requests.all(config.name) if r.key == key), None)


def answered(config: Config, key: str) -> Recorded:
    """The request with this key, once it has an answer."""

    def asked() -> Recorded | None:
        found = request(config, key)
        return found if found and found.answers else None

    return until(asked, f"the request {key!r} is answered")


def confirm(config: Config, day: dt.date, as_of: dt.datetime, *triggers: Trigger) -> bool:
    """Record a day of the champion on which these alarms were confirmed."""
    seen = Reading(signal="amount: location", kind="drift", value=9.0, threshold=4.2, state="CONFIRMED", details={})
    alarms = [Alarm(trigger=trigger, reason=f"{trigger} on {day}", evidence={}) for trigger in triggers]
    return Ledger(config.ledger).signals.record_day(config.name, "1", day, as_of, [seen], alarms)


def key(trigger: Trigger, day: dt.date) -> str:
    """The key of the request that an alarm of a day makes."""
    return f"{trigger} of version 1 on {day}"


def rung(api: Api, asset: str) -> list[Run]:
    """The runs of `train` that an event on an asset started; Airflow cannot tell of an event whose run is still queued."""
    path = "/dags/train/dagRuns/{}/upstreamAssetEvents"
    runs = [run for run in api.runs("train") if run.run_type == "asset_triggered" and run.start]
    told = {run.run_id: api._ask("GET", path.format(run.run_id))["asset_events"] for run in runs}
    return [run for run in runs if asset in {event["name"] for event in told[run.run_id]}]


def rings(api: Api, dag_id: str) -> list[dict[str, Any]]:
    """The events that tasks of a DAG made on assets."""
    return api._ask("GET", "/assets/events", params={"source_dag_id": dag_id, "limit": 100})["asset_events"]


def waits(api: Api) -> bool:
    """Whether the newest run of `watch` waits."""
    runs = api.runs("watch")
    tasks = api.task_instances("watch", runs[0].run_id) if runs else []
    return any(task.task_id == "wait" and task.state == "deferred" for task in tasks)


def kill(stack: Stack, *names: str) -> None:
    """Kill components of the stack at once."""
    state = State.read(stack.home)
    assert state is not None
    for name in names:
        os.kill(state.components[name].pid, signal.SIGKILL)
    while any(state.components[name].alive for name in names):
        time.sleep(0.05)


def restart(stack: Stack) -> None:
    """Start a stack of which something has died, and wait for it."""
    assert stack.start()
    stack.wait_ready(PATIENCE, DAG_IDS)


def test_a_person_starts_a_training_and_is_told_why_it_is_none(api: Api, config: Config) -> None:
    run = api.wait("train", api.trigger("train", {"reason": "I wonder"}), PATIENCE)
    asked = answered(config, f"run {run.run_id}")
    assert (asked.trigger, asked.requested_by, asked.reason) == ("on_demand", "admin", "I wonder")
    assert [(a.answer, a.run_id) for a in asked.answers] == [("refused", run.run_id)]
    assert "the lake holds no events" in asked.answers[0].reason
    assert run.note == asked.answers[0].reason


def test_the_watch_takes_no_slot_and_an_alarm_that_comes_while_the_triggerer_is_dead_rings_once(
    stack: Stack, api: Api, config: Config
) -> None:
    until(lambda: waits(api), "the watch waits")
    (pool,) = api._ask("GET", "/pools")["pools"]
    assert not pool["include_deferred"]
    assert pool["deferred_slots"] == 1

    kill(stack, "triggerer")
    confirm(config, DAY - ONE, AS_OF, "drift")
    restart(stack)
    asked = answered(config, key("drift", DAY - ONE))
    assert (asked.trigger, asked.requested_by, asked.as_of) == ("drift", "monitor", AS_OF)
    assert asked.answers[0].answer == "waits"
    assert "the lake holds no events" in asked.answers[0].reason
    until(lambda: len(rung(api, "card_fraud_requests")) == 1 and waits(api), "the alarm has started a run, and the watch waits")
    (ring,) = rings(api, "watch")
    assert ring["extra"]["as_of"] == AS_OF.isoformat()


def test_a_loss_of_performance_starts_a_training(api: Api, config: Config) -> None:
    confirm(config, DAY, AS_OF, "performance")
    asked = answered(config, key("performance", DAY))
    assert (asked.trigger, asked.evidence["day"], asked.answers[0].answer) == ("performance", str(DAY), "waits")
    until(lambda: len(rung(api, "card_fraud_requests")) == 2, "the alarm has started a run of its own")


def test_a_run_that_has_not_ended_in_time_is_reported(api: Api, config: Config, late: str) -> None:
    def reported() -> Posted | None:
        return next((message for message in Ledger(config.ledger).messages.all(config.name) if message.run_id == late), None)

    told = until(reported, "the missed deadline is reported")
    assert (told.event, told.process) == ("missed deadline", "ingest")
    assert api.run("ingest", late).state == "queued"
    sent = {"model": config.name, "channel": "log", "events": ["missed deadline"]}
    until(lambda: not Ledger(config.ledger).messages.unsent(**sent), "the channel has the message")


def test_new_data_start_a_training_which_serves_what_had_to_wait(api: Api, config: Config, late: str) -> None:
    api.unpause("ingest")
    api.wait("ingest", late, PATIENCE)
    asked = answered(config, f"new data of {late}")
    assert (asked.trigger, asked.requested_by, asked.evidence) == ("new_data", "ingest", {"run_id": late, "accepted": 40})
    assert asked.answers[0].answer == "joined"
    (run,) = until(lambda: rung(api, "card_fraud_lake"), "the new data have started a run")
    until(lambda: api.run("train", run.run_id).state in ENDED, "that run has ended")
    (trained,) = [t for t in Ledger(config.ledger).trainings.all(config.name) if t.admitted]
    assert trained.trigger == "performance"
    assert [request(config, asked).answers[-1].answer for asked in (key("drift", DAY - ONE), key("performance", DAY))] == [
        "joined",
        "started",
    ]
    assert api.xcom("train", trained.run_id, "admit", "trigger") == "performance"
    assert {ring["name"] for ring in rings(api, "ingest")} == {"card_fraud_lake", "card_fraud_ingested"}


def test_the_clock_starts_a_training(stack: Stack, api: Api, config: Config) -> None:
    """From here on it does so every half minute."""
    text = stack.config_path.read_text()
    assert NEVER in text
    stack.config_path.write_text(text.replace(NEVER, EVERY_HALF_MINUTE))
    api._ask("PUT", f"/parseDagFile/{api._ask('GET', '/dags/train')['file_token']}")

    def by_the_clock() -> list[Run]:
        return [run for run in api.runs("train") if run.run_type == "scheduled" and run.state in ENDED]

    run = until(by_the_clock, "a scheduled run of train has ended")[-1]
    asked = answered(config, f"run {run.run_id}")
    assert (asked.trigger, asked.requested_by, asked.answers[0].answer) == ("schedule", "scheduler", "refused")


def test_a_storm_of_triggers_starts_one_training_and_every_request_is_answered(stack: Stack, api: Api, config: Config) -> None:
    """Ten triggers of all five kinds, each delivered twice, while scheduler and triggerer are killed.

    The next day lands and nobody takes it in: the clock's runs see the world at that day too, and all see the same data.
    """
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
    # The training before failed, so its alarms have asked again.
    assert {key("drift", DAY - ONE), key("performance", DAY)} <= {r.key for r in served}
    with pytest.raises(RunFailed, match="build_training_set"):
        api.wait("train", trained.run_id, PATIENCE)
