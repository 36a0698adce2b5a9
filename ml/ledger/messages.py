"""Messages to people: one message an event, kept until every channel that wants it has it.

Steps and commands post; whoever sends asks for what a channel lacks and records each delivery. An event has a key, so a step
that runs again posts nothing new. A channel gets the messages of an event from a day before it first asked for it: what is
older is history, and nobody wants it all at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ml.config.monitoring import MessageKind
from ml.ledger.database import Database
from ml.ledger.records import aware, one_of, read
from ml.ledger.table import table

RECENT = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What happened, for people.

    Parameters:
        key: what makes two messages the same one.
        text: one sentence.
        figure: the number that matters, with its name and unit; may be empty.
        process, run_id, version: what the link leads to, each may be empty; a process is `ingest`, `train` or `monitor`.
    """

    model: str
    key: str
    event: MessageKind
    text: str
    figure: str
    as_of: dt.datetime
    process: str = ""
    run_id: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        one_of("event", self.event, MessageKind)
        aware(self.as_of)


@dataclass(frozen=True, kw_only=True)
class Posted(Message):
    """A recorded message."""

    id: int
    recorded_at: dt.datetime


@dataclass(frozen=True)
class Delivery:
    """A message that a channel has."""

    message: int
    channel: str


@dataclass(frozen=True)
class Subscription:
    """An event that a channel asks for."""

    model: str
    channel: str
    event: MessageKind


messages = table("messages", Message, ("id",), ("model", "key"))
deliveries = table("deliveries", Delivery, ("message", "channel"), refers={"message": "messages.id"})
subscriptions = table("subscriptions", Subscription, ("model", "channel", "event"))


class Messages:
    """The messages of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def post(self, message: Message) -> None:
        """Record a message; the same event again changes nothing."""
        with self._database.writing() as connection:
            same = sa.select(messages.c.id).where(messages.c.model == message.model, messages.c.key == message.key)
            if connection.execute(same).first() is None:
                connection.execute(sa.insert(messages).values(asdict(message)))

    def all(self, model: str) -> list[Posted]:
        """All messages on a model, oldest first."""
        query = sa.select(messages).where(messages.c.model == model).order_by(messages.c.id)
        with self._database.reading() as connection:
            return [read(Posted, row) for row in connection.execute(query).mappings()]

    def subscribe(self, model: str, channel: str, events: Iterable[str]) -> None:
        """Record that a channel asks for these events; for those that it asked for before, nothing changes."""
        key = {"model": model, "channel": channel}
        with self._database.writing() as connection:
            asked = set(connection.scalars(self._subscribed(subscriptions.c.event, key)))
            for event in sorted(set(events) - asked):
                connection.execute(sa.insert(subscriptions).values(key | {"event": event}))

    def unsent(self, model: str, channel: str, events: Iterable[str]) -> list[Posted]:
        """The messages of these events that a channel asked for and was not delivered, oldest first."""
        sent = sa.select(deliveries.c.message).where(deliveries.c.channel == channel)
        query = sa.select(messages).where(
            messages.c.model == model, messages.c.event.in_(list(events)), messages.c.id.not_in(sent)
        )
        since = self._subscribed(subscriptions, {"model": model, "channel": channel})
        with self._database.reading() as connection:
            asked = {row["event"]: row["recorded_at"] - RECENT for row in connection.execute(since).mappings()}
            found = [read(Posted, row) for row in connection.execute(query.order_by(messages.c.id)).mappings()]
        return [message for message in found if message.event in asked and message.recorded_at >= asked[message.event]]

    def delivered(self, message: Posted, channel: str) -> None:
        """Record that a channel has a message."""
        key = {"message": message.id, "channel": channel}
        with self._database.writing() as connection:
            same = sa.select(deliveries.c.message).where(*[deliveries.c[name] == value for name, value in key.items()])
            if connection.execute(same).first() is None:
                connection.execute(sa.insert(deliveries).values(key))

    def _subscribed(self, what: Any, key: dict[str, str]) -> sa.Select[Any]:
        return sa.select(what).where(*[subscriptions.c[name] == value for name, value in key.items()])
