"""Under a real scheduler: a person, an alarm, and new data each start a training by themselves; a release waits for a person.

The deployment has a single day of payments. That is enough for `admit`, which is what is looked at; a training that it lets
through ends at the next step, for the lake does not reach back far enough.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest

from deploy.local.api import Api
from deploy.local.stack import DAG_IDS, Stack
from ml.config import PROJECT, Config, load
from ml.decision.release import end
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Posted
from ml.ledger.run import Run
from tests import deployments
from tests.dags import releasing
from tests.dags.triggering import (
    AS_OF,
    DAY,
    ENDED,
    NEVER,
    ONE,
    PATIENCE,
    answered,
    confirm,
    key,
    kill,
    request,
    restart,
    rings,
    rung,
    until,
    waits,
    write,
)

HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Airflow with the project's own DAGs. No clock: its runs would answer alarms before the sensor does."""
    path = write(tmp_path_factory.mktemp("triggers"), NEVER, release=releasing.APPROVED)
    return start_stack(PROJECT / "dags", path, dag_ids=(*DAG_IDS, "release", "approve"), home=load(path).home)


@pytest.fixture(scope="module")
def config(stack: Stack) -> Config:
    """The deployment that the stack runs."""
    return load(stack.config_path)


@pytest.fixture(scope="module")
def late(stack: Stack, config: Config) -> str:
    """A run of `ingest` that stays queued, because the DAG is paused, with a file of payments to take in."""
    deployments.land(config, f"payments_{DAY}.parquet", deployments.payments(40, DAY))
    with stack.api() as api:
        for dag_id in ("train", "watch", "messages"):
            api.unpause(dag_id)
        return api.trigger("ingest", {"as_of": AS_OF.isoformat()})


@pytest.fixture
def api(stack: Stack, late: str) -> Iterator[Api]:
    """A client of the running stack."""
    with stack.api() as client:
        yield client


def test_a_person_starts_a_training_and_is_told_why_it_is_none(stack: Stack, api: Api, config: Config) -> None:
    run = api.wait("train", api.trigger("train", {"reason": "I wonder"}), PATIENCE)
    asked = answered(config, f"run {run.run_id}")
    assert (asked.trigger, asked.requested_by, asked.reason) == ("on_demand", "admin", "I wonder")
    assert [(a.answer, a.run_id) for a in asked.answers] == [("refused", run.run_id)]
    assert "the lake holds no events" in asked.answers[0].reason
    note, _, link = run.note.partition("\n\n")
    assert note == asked.answers[0].reason.replace("-m ml ingest", f"-m ml ingest --config {stack.config_path}")
    assert link.endswith("/plugin/perennial-run)")


def test_the_watch_takes_no_slot_and_an_alarm_that_comes_while_the_triggerer_is_dead_rings_once(
    stack: Stack, api: Api, config: Config
) -> None:
    until(lambda: waits(api), "the watch waits")
    (pool,) = api._ask("GET", "/pools")["pools"]
    assert not pool["include_deferred"]
    assert pool["deferred_slots"] in (1, 2)  # `messages` waits too, or sends

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

    def sent() -> bool:
        tasks = [task for run in api.runs("messages") for task in api.task_instances("messages", run.run_id)]
        return any(task.task_id == "send" and task.state == "success" for task in tasks)

    until(sent, "a message is sent")
    lacking = {"model": config.name, "channel": "log", "events": ["missed deadline"]}
    until(lambda: not Ledger(config.ledger).messages.unsent(**lacking), "the channel has the message")


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


def test_a_person_agrees_to_a_step_of_a_release_or_ends_it(api: Api, config: Config) -> None:
    releases, known = Ledger(config.ledger).releases, set[str]()

    def moves() -> list[tuple[str, str]]:
        newest = releases.newest(config.name)
        return [(move.word, move.actor) for move in newest.moves if move.word != "held"] if newest else []

    for dag_id in ("release", "approve"):
        api.unpause(dag_id)
    releasing.begin(config, "a first verdict")
    note = releasing.look(api, hours=2).note or ""
    assert note.startswith("version 2 waits at 0 % of the traffic: a person has to agree to 10 %")
    asked = releasing.asked(api, known)
    assert moves() == [("waits", "admin")]
    releasing.respond(api, asked, "Approve")
    assert moves()[-1] == ("approved", "admin")
    releasing.look(api, hours=3)
    assert moves()[-1] == ("advanced", "admin")
    end(config, AS_OF + 4 * HOUR, "stopped", "to make room for another one", Run(actor="test"))

    known.add(asked.run_id)
    releasing.begin(config, "another verdict")
    releasing.look(api, hours=2)
    releasing.respond(api, releasing.asked(api, known), "Reject")
    assert moves() == [("waits", "admin"), ("stopped", "admin")]
    assert releases.open(config.name) is None
    assert (releasing.look(api, hours=3).note or "").startswith("no version is being released")
