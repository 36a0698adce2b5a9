"""What people are told: one message an event, kept until every channel that wants it has it.

Steps and commands post; whoever sends asks for what a channel lacks and records each delivery. An event has a key, so a step
that runs again posts nothing new. A channel is told of an event from a day before it first asked for it: what is older is
history, and nobody wants it all at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ml.registry.database import Database, Instant, append_only, metadata, recorded_at, words
from ml.registry.records import aware, one_of, read

RECENT = dt.timedelta(days=1)

Event = Literal[
    "stopped batch",
    "data incident",
    "drift",
    "performance",
    "refused training",
    "verdict",
    "promotion",
    "rollback",
    "missed deadline",
]

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("figure", sa.Text, nullable=False),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("as_of", Instant, nullable=False),
    recorded_at(),
    words("event", Event),
    sa.UniqueConstraint("model", "key", name="message_posted_once"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("message", sa.Integer, sa.ForeignKey("messages.id"), primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    recorded_at(),
)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, primary_key=True),
    recorded_at(),
    words("event", Event),
)

append_only(messages, "id = NEW.id OR (model = NEW.model AND key = NEW.key)")
append_only(deliveries, "message = NEW.message AND channel = NEW.channel")
append_only(subscriptions, "model = NEW.model AND channel = NEW.channel AND event = NEW.event")


@dataclass(frozen=True, kw_only=True)
class Message:
    """What happened, for people.

    Parameters:
        key: what makes two messages the same one.
        text: one sentence.
        figure: the number that matters, with its name and unit; may be empty.
        dag_id, run_id, version: what the link leads to, each may be empty.
    """

    model: str
    key: str
    event: Event
    text: str
    figure: str
    as_of: dt.datetime
    dag_id: str = ""
    run_id: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        one_of("event", self.event, Event)
        aware(self.as_of)


@dataclass(frozen=True, kw_only=True)
class Posted(Message):
    """A recorded message."""

    id: int
    recorded_at: dt.datetime


class Messages:
    """The messages of one database, which may hold those of many models; see `ml.registry.ledger.Ledger` for `url`."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def post(self, message: Message) -> None:
        """Record a message; the same event again changes nothing."""
        told = asdict(message)
        with self._database.writing() as connection:
            same = sa.select(messages.c.id).where(messages.c.model == message.model, messages.c.key == message.key)
            if connection.execute(same).first() is None:
                connection.execute(sa.insert(messages).values(told))

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
