"""What waits for the ledger without holding a worker: a sensor that goes on once there is something to ask for, or to tell.

Its watermark, the newest confirmed alarm whose request is recorded, lies in the state store of the asset `requests`. Who moves
it does so last, after the ledger has the request and the bell has rung: whatever dies before that leaves the alarm to the next
run, which asks and rings again, and the request's key in the ledger makes it the same request.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseSensorOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent
from perennial_operators import deployment

if TYPE_CHECKING:
    from airflow.sdk import Context

WATERMARK, FOUND = "watermark", "found"
Found = Mapping[str, Any]


def watermark(store: Any) -> int:
    """Id of the newest confirmed alarm whose request is recorded; 0 before the first.

    Parameters:
        store: the state store of the asset `requests`.
    """
    return int(store.get(WATERMARK, default=0))


def move_watermark(store: Any, newest: int) -> None:
    """Count the alarms up to this one as asked for. It never goes back, whichever old run is cleared."""
    store.set(WATERMARK, max(watermark(store), newest))


class Outlook:
    """What the ledger of this deployment holds for the watch. Its tables are made sure of once, so that a look only reads."""

    def __init__(self) -> None:
        from ml.registry.messages import Messages
        from ml.registry.signals import Signals

        ledger = deployment().ledger
        self.signals, self.messages = Signals(ledger), Messages(ledger)

    def look(self, after: int) -> Found:
        """Ids of the alarms after the watermark, and of the messages that a channel wants and lacks.

        The deployment file is asked each time: it may name another channel while the watch waits.
        """
        config = deployment()
        confirmed = self.signals.confirmations(config.name, after)
        lacking = {
            message.id
            for channel in config.notifications
            for message in self.messages.unsent(config.name, channel.channel)
            if channel.events is None or message.event in channel.events
        }
        return {"confirmations": [alarm.id for alarm in confirmed], "messages": sorted(lacking)}


class LedgerTrigger(BaseTrigger):
    """Fires once the ledger of this deployment holds an alarm after the watermark, or a message that a channel lacks.

    What it waits for and from when on stands in its arguments, which Airflow keeps in its database: a triggerer that takes it
    over looks from the same place.

    :param after: id of the newest confirmed alarm that has been dealt with.
    :param poke_interval: seconds between two looks at the ledger.
    :param known: what the run before had found; the same again means that it could not be dealt with.
    :param known_until: UTC instant in ISO 8601 from which on `known` fires too.
    """

    def __init__(self, after: int, poke_interval: float, known: Found | None, known_until: str) -> None:
        super().__init__()
        self.after = after
        self.poke_interval = poke_interval
        self.known = known
        self.known_until = known_until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path, and the arguments that make the same trigger elsewhere."""
        return (
            "perennial_watch.LedgerTrigger",
            {
                "after": self.after,
                "poke_interval": self.poke_interval,
                "known": self.known,
                "known_until": self.known_until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something, in a thread: all triggers of a deployment share one loop."""
        ledger = await asyncio.to_thread(Outlook)
        while True:
            found = await asyncio.to_thread(ledger.look, self.after)
            again = found == self.known and _now() < dt.datetime.fromisoformat(self.known_until)
            if any(found.values()) and not again:
                yield TriggerEvent(found)
                return
            await asyncio.sleep(self.poke_interval)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class RetrainingSensor(BaseSensorOperator):
    """Waits, deferred, for an alarm to ask a training for or a message to send.

    Returns the ids of both, and `after`, the watermark.

    :param requests: the asset whose state store keeps the watermark.
    :param patience: after a run that could not deal with what it had found, the same is tried again so much later.
    """

    def __init__(self, *, requests: Asset, patience: dt.timedelta = dt.timedelta(minutes=10), **kwargs: Any) -> None:
        super().__init__(inlets=[requests], multiple_outputs=True, **kwargs)
        self.requests = requests
        self.patience = patience

    def execute(self, context: Context) -> None:
        store = context["asset_state_store"][self.requests]
        known = store.get(FOUND, default={"what": None, "until": _now().isoformat()})
        self.defer(
            trigger=LedgerTrigger(watermark(store), self.poke_interval, known["what"], known["until"]),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Found) -> Found:
        """Remember what was found, and hand it to the tasks that deal with it."""
        until = (_now() + self.patience).isoformat()
        store = context["asset_state_store"][self.requests]
        store.set(FOUND, {"what": event, "until": until})
        return {**event, "after": watermark(store)}
