"""The sensor looks into the ledger, and finds a thing again only when it was not dealt with."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.requests import Answer, Request
from ml.ledger.signals import Alarm, Reading
from tests import deployments

DAY = dt.date(2025, 3, 11)
AS_OF = dt.datetime(2025, 3, 12, 2, tzinfo=dt.UTC)
LATER, EARLIER = ((dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)).isoformat() for hours in (1, -1))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A deployment that tells two channels, one of them of promotions alone."""
    told = deployments.small_told()
    told["notifications"] = [{"to": "log"}, {"to": "webhook", "connection": "hook", "events": ["promotion"]}]
    path = deployments.write(tmp_path, told)
    monkeypatch.setenv("PERENNIAL_CONFIG", str(path))
    return load(path)


def confirm(config: Config, day: dt.date = DAY) -> None:
    """Record a day on which drift was confirmed."""
    seen = Reading(signal="amount: location", kind="drift", value=9.0, threshold=4.2, state="CONFIRMED", details={})
    alarm = Alarm(trigger="drift", reason="amount has moved", evidence={"severity": 0.4})
    assert Ledger(config.ledger).signals.record_day(config.name, "1", day, AS_OF, [seen], [alarm])


def post(config: Config, event: Any = "verdict") -> None:
    """Post a message."""
    Ledger(config.ledger).messages.post(
        Message(model=config.name, key=f"{event} of r1", event=event, text="KEEP", figure="", as_of=AS_OF)
    )


REQUEST = {"ids": [1], "as_of": AS_OF.isoformat(), "summary": "monitor asks for a training: amount has moved"}


async def fired(
    what: Any = "requests", known: Mapping[str, Any] | None = None, until: str = LATER, patience: float = 30
) -> Any:
    """What the trigger fires with, None if it goes on waiting; serialized and made again first, as Airflow does."""
    from perennial_watch import LedgerTrigger

    path, arguments = LedgerTrigger(what, "watch", 0.01, known, until).serialize()
    assert path == "perennial_watch.LedgerTrigger"
    events = LedgerTrigger(**arguments).run()
    try:
        return (await asyncio.wait_for(anext(events), timeout=patience)).payload
    except TimeoutError:
        return None


def answer(config: Config, request: int) -> None:
    """A run answers a request."""
    given = Answer(request=request, answer="waits", reason="cooldown", run_id="r1", as_of=AS_OF)
    Ledger(config.ledger).requests.take_turn(config.name, lambda _: [given])


@pytest.mark.parametrize("what", ["requests", "messages"])
def test_it_waits_while_there_is_nothing(config: Config, what: str) -> None:
    assert asyncio.run(fired(what, patience=1)) is None


def test_it_fires_for_the_request_of_an_alarm_until_a_run_answers_it(config: Config) -> None:
    confirm(config)
    assert asyncio.run(fired()) == REQUEST
    answer(config, 1)
    assert asyncio.run(fired(patience=1)) is None
    confirm(config, DAY + dt.timedelta(days=1))
    assert asyncio.run(fired()) == REQUEST | {"ids": [2]}
    assert asyncio.run(fired("messages", patience=1)) is None


def test_it_does_not_fire_for_requests_that_start_their_run_themselves(config: Config) -> None:
    asked = Request(
        model=config.name, key="k", trigger="new_data", as_of=AS_OF, requested_by="ingest", reason="40 rows", evidence={}
    )
    Ledger(config.ledger).requests.submit(asked)
    assert asyncio.run(fired(patience=1)) is None


def test_it_fires_for_an_alarm_that_comes_while_it_waits(config: Config) -> None:
    async def scene() -> Any:
        waiting = asyncio.create_task(fired())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(confirm, config)
        return await waiting

    assert asyncio.run(scene()) == REQUEST


def test_it_fires_for_a_message_until_every_channel_that_wants_it_has_it(config: Config) -> None:
    post(config)
    assert asyncio.run(fired("messages")) == {"ids": [1]}
    messages = Ledger(config.ledger).messages
    (verdict,) = messages.all(config.name)
    messages.delivered(verdict, "log")
    assert asyncio.run(fired("messages", patience=1)) is None
    post(config, "promotion")
    _, promotion = messages.all(config.name)
    messages.delivered(promotion, "log")
    assert asyncio.run(fired("messages")) == {"ids": [2]}


def test_a_channel_that_is_named_while_it_waits_is_told(config: Config, tmp_path: Path) -> None:
    post(config)
    Ledger(config.ledger).messages.delivered(Ledger(config.ledger).messages.all(config.name)[0], "log")

    async def scene() -> Any:
        waiting = asyncio.create_task(fired("messages"))
        await asyncio.sleep(0.1)
        path = tmp_path / "deployment.yaml"
        told = yaml.safe_load(path.read_text())
        told["notifications"].append({"to": "slack", "connection": "ops"})
        path.write_text(yaml.safe_dump(told))
        return await waiting

    assert asyncio.run(scene()) == {"ids": [1]}


def test_what_is_not_dealt_with_is_found_again_after_a_while_and_news_at_once(config: Config) -> None:
    """Otherwise a training that has not begun, or a channel that is down, would start one run after the other."""
    confirm(config)
    assert asyncio.run(fired(known=REQUEST, until=LATER, patience=1)) is None
    assert asyncio.run(fired(known=REQUEST, until=EARLIER)) == REQUEST
    confirm(config, DAY + dt.timedelta(days=1))
    assert asyncio.run(fired(known=REQUEST, until=LATER)) == REQUEST | {
        "ids": [1, 2],
        "summary": f"{REQUEST['summary']}; {REQUEST['summary']}",
    }


def test_waiting_blocks_nobody_else_in_the_triggerer(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """All triggers share one loop: a look that takes long must not be noticed by another one."""
    import threading

    import perennial_watch

    free = threading.Event()
    monkeypatch.setattr(perennial_watch.Watch, "look", lambda _: free.wait(10) and REQUEST)

    async def scene() -> Any:
        waiting = asyncio.create_task(fired())
        await asyncio.sleep(0.1)
        free.set()
        return await waiting

    assert asyncio.run(scene()) == REQUEST


class Store(dict[str, Any]):
    """An asset's state store."""

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default)

    def set(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture
def sensor(config: Config) -> SimpleNamespace:
    """A sensor with its context and the state store of its asset."""
    from perennial_operators import requests_asset
    from perennial_watch import LedgerSensor

    asset, store = requests_asset(config), Store()
    made = LedgerSensor(task_id="wait", what="requests", requests=asset, poke_interval=0.01)
    return SimpleNamespace(
        store=store, context={"asset_state_store": {asset: store}, "dag_run": SimpleNamespace(dag_id="watch")}, wait=made
    )


def deferred(sensor: SimpleNamespace) -> Any:
    """What the sensor defers with."""
    from airflow.sdk.exceptions import TaskDeferred

    with pytest.raises(TaskDeferred) as caught:
        sensor.wait.execute(sensor.context)
    return caught.value


def test_the_sensor_waits_without_an_end(sensor: SimpleNamespace) -> None:
    assert deferred(sensor).timeout is None
    assert deferred(sensor).trigger.known is None


def test_the_sensor_keeps_what_it_found_so_that_the_next_run_waits_with_it(config: Config, sensor: SimpleNamespace) -> None:
    confirm(config)
    event = asyncio.run(fired())
    assert sensor.wait.execute_complete(sensor.context, event) == REQUEST
    again = deferred(sensor).trigger
    assert (again.what, again.known) == ("requests", event)
    assert dt.datetime.fromisoformat(again.known_until) > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=9)


def run(end: str | None) -> dict[str, Any]:
    """A run as Airflow tells it to the callback of a deadline."""
    return {"dag_id": "train", "dag_run_id": "r1", "queued_at": "2025-03-12T02:00:00Z", "end_date": end}


MISSED = {"deadline_time": dt.datetime(2025, 3, 12, 6, tzinfo=dt.UTC)}


@pytest.mark.parametrize("end", [None, "2025-03-12T06:01:00Z"])
def test_a_run_that_missed_its_deadline_is_told_once(config: Config, end: str | None) -> None:
    from perennial_deadline import report

    for _ in range(2):
        asyncio.run(report(context={"dag_run": run(end), "deadline": MISSED}))
    (told,) = Ledger(config.ledger).messages.all(config.name)
    assert (told.event, told.process, told.run_id, told.as_of) == ("missed deadline", "train", "r1", MISSED["deadline_time"])
    assert told.text == f"A run of train has not ended in time: {config.schedule.deadline.reason}."
    assert told.figure == "deadline: 4 hours"


def test_a_run_that_failed_in_time_missed_no_deadline(config: Config) -> None:
    """Airflow drops the deadline of a run that succeeds, and calls back for one that failed long before."""
    from perennial_deadline import report

    asyncio.run(report(context={"dag_run": run("2025-03-12T02:10:00Z"), "deadline": MISSED}))
    assert Ledger(config.ledger).messages.all(config.name) == []
