"""An event is told once, and a channel gets what it asked for: no more history than a day, and nothing twice."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from ml.ledger import messages as tables
from ml.ledger.database import Database
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message, Messages

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
ALL = ("verdict", "drift")


@pytest.fixture
def messages(url: str) -> Messages:
    return Ledger(url).messages


def message(key: str, event: str = "verdict", model: str = "cards") -> Message:
    return Message(model=model, key=key, event=event, text=f"what {key} is", figure="", as_of=AS_OF)  # type: ignore[arg-type]


def record_earlier(url: str, key: str, age: dt.timedelta) -> None:
    """A message that was recorded so long ago."""
    then = {"recorded_at": dt.datetime.now(dt.UTC) - age, "process": "", "run_id": "", "version": "", "figure": "", "text": "t"}
    with Database(url).writing() as connection:
        told = {"model": "cards", "key": key, "event": "verdict", "as_of": AS_OF} | then
        connection.execute(sa.insert(tables.messages).values(told))


def keys(messages: Messages, channel: str = "log", events: tuple[str, ...] = ALL) -> list[str]:
    """What a channel is sent now, by key."""
    messages.subscribe("cards", channel, events)
    return [told.key for told in messages.unsent("cards", channel, events)]


def test_the_same_event_again_posts_nothing_and_the_first_words_stay(messages: Messages) -> None:
    messages.post(message("a"))
    messages.post(Message(model="cards", key="a", event="verdict", text="other words", figure="", as_of=AS_OF))
    messages.post(message("a", model="another model"))
    assert [told.text for told in messages.all("cards")] == ["what a is"]


def test_every_channel_gets_every_message_once_and_the_oldest_first(messages: Messages) -> None:
    for key in "cab":
        messages.post(message(key))
    assert keys(messages, "log") == ["c", "a", "b"]
    messages.delivered(messages.all("cards")[1], "log")
    messages.delivered(messages.all("cards")[1], "log")
    assert keys(messages, "log") == ["c", "b"]
    assert keys(messages, "slack ops") == ["c", "a", "b"]


def test_a_channel_that_asks_for_the_first_time_gets_a_day_of_history(messages: Messages, url: str) -> None:
    record_earlier(url, "a week old", dt.timedelta(days=7))
    record_earlier(url, "of this morning", dt.timedelta(hours=20))
    assert keys(messages) == ["of this morning"]


def test_a_message_that_a_channel_could_not_take_waits_for_it_however_long(messages: Messages, url: str) -> None:
    with Database(url).writing() as connection:
        ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
        asked = {"model": "cards", "channel": "log", "event": "verdict", "recorded_at": ago}
        connection.execute(sa.insert(tables.subscriptions).values(asked))
    record_earlier(url, "a week old", dt.timedelta(days=7))
    assert keys(messages) == ["a week old"]


def test_an_event_that_a_channel_asks_for_later_brings_no_history_either(messages: Messages, url: str) -> None:
    assert keys(messages, events=("drift",)) == []
    record_earlier(url, "a week old", dt.timedelta(days=7))
    messages.post(message("new"))
    assert keys(messages, events=("drift",)) == []
    assert keys(messages, events=ALL) == ["new"]
