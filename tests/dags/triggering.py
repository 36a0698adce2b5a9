"""Deployments, alarms and kills for the tests of what starts a training under a real scheduler."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.local.api import Api, Run
from deploy.local.stack import DAG_IDS, Stack
from deploy.local.state import State
from ml import steps
from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.requests import Recorded
from ml.ledger.signals import Alarm, Reading
from ml.ledger.words import Trigger
from tests import deployments

ONE = dt.timedelta(days=1)
DAY = dt.date(2025, 3, 11)
AS_OF = deployments.FIRST_AS_OF
PATIENCE = 600
NEVER, EVERY_HALF_MINUTE = "0 0 29 2 *", "* * * * * */30"
ENDED = ("success", "failed")


def write(folder: Path, clock: str, **more: Any) -> Path:
    """A deployment of which version 1 is champion; `clock` is the cron expression of its trainings, `more` are sections."""
    told = deployments.small_told() | more
    told["schedule"] |= {"train": clock}
    told["schedule"]["deadline"] = {"value": 0.01, "unit": "hours", "reason": "half a minute, to be missed in a test"}
    told["retraining"] = {
        "cooldown": {"value": 0, "unit": "days", "reason": "alarms of one test follow each other"},
        "budget": {"value": 31, "unit": "per month", "reason": "alarms of one test follow each other"},
    }
    path = deployments.write(folder, told)
    with_champion(load(path))
    return path


def with_champion(config: Config) -> None:
    """Record that version 1 is champion."""
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


def take_in_unasked(config: Config) -> None:
    """Take in a day of payments that asks for no training: what asks first is the clock."""
    deployments.land(config, f"payments_{DAY}.parquet", deployments.payments(40, DAY))
    batch = steps.run("validate_batch", config, AS_OF)
    assert batch["accepted"] == 40
    steps.run("load_batch", config, AS_OF, {"staged": batch["staged"]})


def started_by_the_clock(api: Api, config: Config, dag_id: str = "train") -> set[tuple[str, str]]:
    """Trigger and asker of the requests of scheduled runs that started a training, once one has.

    Runs of the clock overlap, and only the first that is admitted starts one: any of them may be it.
    """

    def ended() -> list[Run]:
        return [run for run in api.runs(dag_id) if run.run_type == "scheduled" and run.state in ENDED]

    def started() -> list[tuple[str, str]]:
        requests = [answered(config, f"run {run.run_id}") for run in ended()]
        return [(r.trigger, r.requested_by) for r in requests if r.answers[0].answer == "started"]

    return set(until(started, "a scheduled run of train has started a training"))


def rung(api: Api, asset: str, dag_id: str = "train") -> list[Run]:
    """The runs of a `train` that an event on an asset started; Airflow cannot tell of an event whose run is still queued."""
    path = f"/dags/{dag_id}/dagRuns/{{}}/upstreamAssetEvents"
    runs = [run for run in api.runs(dag_id) if run.run_type == "asset_triggered" and run.start]
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
