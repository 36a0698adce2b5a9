"""A sensor that waits for the ledger without holding a worker: for a request to answer, or for a message to send.

What a run has found and could not deal with is found again by the next one, after some patience; so a training that has not
started yet is not asked for every few seconds, and a channel that is down is not tried without end. What was found stands in
the state store of the asset `requests`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import Asset, BaseSensorOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent
from perennial_deployments import of_dag
from perennial_operators import task_defaults

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ml.config import Config

What = Literal["requests", "messages"]
Found = Mapping[str, Any]


class Watch:
    """What the ledger of a deployment holds of one kind. Its tables are made sure of once, so that a look only reads."""

    def __init__(self, what: What, dag_id: str) -> None:
        from ml.ledger.ledger import Ledger

        self._look = {"requests": self._requests, "messages": self._messages}[what]
        self._dag_id = dag_id
        self._ledger = Ledger(of_dag(dag_id).config.ledger)
        self._subscribed: set[str] = set()

    def look(self) -> Found:
        """`ids` of requests by alarms and people that no run has answered, or of messages that a channel wants and lacks.

        Of requests also `as_of`, the instant that a training for them sees the world at, and `summary`, why it is asked for.
        """
        return self._look()

    def _requests(self) -> Found:
        found = self._ledger.requests.unanswered(of_dag(self._dag_id).config.name, "drift", "performance", "on_demand")
        return {
            "ids": [request.id for request in found],
            "as_of": max((request.as_of for request in found), default=_now()).isoformat() if found else "",
            "summary": "; ".join(f"{request.requested_by} asks for a training: {request.reason}" for request in found),
        }

    def _messages(self) -> Found:
        """The deployment file is read each time: it may name another channel while the sensor waits."""
        config, messages = of_dag(self._dag_id).config, self._ledger.messages
        for channel in config.notifications:
            if channel.model_dump_json() not in self._subscribed:
                messages.subscribe(config.name, channel.channel, channel.wanted)
                self._subscribed.add(channel.model_dump_json())
        lacking = {
            message.id
            for channel in config.notifications
            for message in messages.unsent(config.name, channel.channel, channel.wanted)
        }
        return {"ids": sorted(lacking)}


class LedgerTrigger(BaseTrigger):
    """Fires once the ledger of a deployment holds something of a kind.

    What it waits for stands in its arguments, which Airflow keeps in its database: a triggerer that takes it over looks from
    the same place.

    :param what: `requests` of alarms and people without an answer, or `messages` that a channel lacks.
    :param dag_id: a DAG of the deployment.
    :param poke_interval: seconds between two looks at the ledger.
    :param known: what the run before had found; the same again means that it is not dealt with yet.
    :param known_until: UTC instant in ISO 8601 from which on `known` fires too.
    """

    def __init__(self, what: What, dag_id: str, poke_interval: float, known: Found | None, known_until: str) -> None:
        super().__init__()
        self.what = what
        self.dag_id = dag_id
        self.poke_interval = poke_interval
        self.known = known
        self.known_until = known_until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path, and the arguments that make the same trigger elsewhere."""
        names = ("what", "dag_id", "poke_interval", "known", "known_until")
        return "perennial_watch.LedgerTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something, in a thread: all triggers of a deployment share one loop."""
        watch = await asyncio.to_thread(Watch, self.what, self.dag_id)
        while True:
            found = await asyncio.to_thread(watch.look)
            again = found == self.known and _now() < dt.datetime.fromisoformat(self.known_until)
            if found["ids"] and not again:
                yield TriggerEvent(found)
                return
            await asyncio.sleep(self.poke_interval)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def always_on(config: Config) -> dict[str, Any]:
    """The arguments of a DAG that waits for the ledger: when a run ends the next one begins."""
    return {
        "schedule": "@continuous",
        # Without it the first run covers no time, the second would have the same logical date, and Airflow never makes it.
        "start_date": dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
        "catchup": False,
        "max_active_runs": 1,
        "tags": ["perennial", "monitoring", config.name],
        "default_args": task_defaults("ml-platform", timeout=dt.timedelta(minutes=10)),
    }


class LedgerSensor(BaseSensorOperator):
    """Waits, deferred, until the ledger holds something of a kind, and returns what: see `Watch.look`.

    :param what: `requests` of alarms and people without an answer, or `messages` that a channel lacks.
    :param requests: the asset in whose state store it is kept what the run before had found.
    :param patience: what that run could not deal with is found again so much later.
    """

    def __init__(
        self, *, what: What, requests: Asset, patience: dt.timedelta = dt.timedelta(minutes=10), **kwargs: Any
    ) -> None:
        super().__init__(inlets=[requests], multiple_outputs=True, **kwargs)
        self.what = what
        self.requests = requests
        self.patience = patience

    def execute(self, context: Context) -> None:
        known = context["asset_state_store"][self.requests].get(self.what, default={"found": None, "until": _now().isoformat()})
        self.defer(
            trigger=LedgerTrigger(self.what, context["dag_run"].dag_id, self.poke_interval, known["found"], known["until"]),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Found) -> Found:
        """Keep what was found, and hand it to the task that deals with it."""
        until = (_now() + self.patience).isoformat()
        context["asset_state_store"][self.requests].set(self.what, {"found": event, "until": until})
        return event
