"""A day of a champion is recorded whole and once; alarms can be asked for by what came after."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.registry.messages import Message, Messages
from ml.registry.signals import Alarm, Incident, Reading, Signals

DAY = dt.date(2025, 5, 2)
AS_OF = dt.datetime(2025, 5, 3, 2, tzinfo=dt.UTC)
ONE = dt.timedelta(days=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def reading(signal: str = "amount: location", state: str = "OK") -> Reading:
    return Reading(signal=signal, kind="drift", value=0.1, threshold=4.2, state=state, told={"windows": [False]})


ALARM = Alarm(trigger="drift", reason="amount has moved", evidence={"severity": 0.4})
FAULT = Incident(day=DAY, fault="volume", subject="events", reason="half of the rows are missing", evidence={"rows": 10})


def test_a_day_is_recorded_with_everything_that_was_seen(url: str) -> None:
    signals = Signals(url)
    assert signals.newest_day("fraud", "1") is None
    assert signals.record_day("fraud", "1", DAY, AS_OF, [reading(), reading("score")], [ALARM], [FAULT])
    assert signals.newest_day("fraud", "1") == DAY
    assert [(r.signal, r.day, r.version) for r in signals.readings("fraud", "1")] == [
        ("amount: location", DAY, "1"),
        ("score", DAY, "1"),
    ]
    (confirmed,) = signals.confirmations("fraud")
    assert (confirmed.trigger, confirmed.version, confirmed.day, confirmed.as_of) == ("drift", "1", DAY, AS_OF)
    assert signals.incidents("fraud") == [FAULT]


def test_a_day_that_is_recorded_again_changes_nothing(url: str) -> None:
    signals = Signals(url)
    signals.record_day("fraud", "1", DAY, AS_OF, [reading()], [ALARM], [FAULT])
    assert not signals.record_day("fraud", "1", DAY, AS_OF + ONE, [reading(state="CONFIRMED")], [ALARM], [FAULT])
    assert [r.state for r in signals.readings("fraud", "1")] == ["OK"]
    assert len(signals.confirmations("fraud")) == len(signals.incidents("fraud")) == 1


def test_a_day_that_cannot_be_written_whole_is_not_written(url: str) -> None:
    signals = Signals(url)
    with pytest.raises(sa.exc.IntegrityError):
        signals.record_day("fraud", "1", DAY, AS_OF, [reading(), reading()], [ALARM], [FAULT])
    assert signals.readings("fraud", "1") == signals.confirmations("fraud") == signals.incidents("fraud") == []


def test_days_come_in_order(url: str) -> None:
    signals = Signals(url)
    signals.record_day("fraud", "1", DAY, AS_OF, [reading()])
    with pytest.raises(ValueError, match="2025-05-01 comes too late"):
        signals.record_day("fraud", "1", DAY - ONE, AS_OF, [reading()])
    with pytest.raises(ValueError, match="no readings of 2025-05-03"):
        signals.record_day("fraud", "1", DAY + ONE, AS_OF, [])


def test_another_champion_has_days_of_its_own_and_shares_the_incidents(url: str) -> None:
    signals = Signals(url)
    for version in ("1", "2"):
        signals.record_day("fraud", version, DAY, AS_OF, [reading()], [ALARM], [FAULT])
    assert len(signals.confirmations("fraud")) == 2
    assert signals.incidents("fraud") == [FAULT]
    assert signals.incidents("fraud", since=DAY + ONE) == []


def test_a_watcher_asks_for_what_came_after_the_last_that_it_has_seen(url: str) -> None:
    signals = Signals(url)
    for number in range(3):
        signals.record_day("fraud", "1", DAY + number * ONE, AS_OF, [reading()], [ALARM])
    first, *later = signals.confirmations("fraud")
    assert signals.confirmations("fraud", after=first.id) == later
    assert signals.confirmations("fraud", after=later[-1].id) == []
    assert signals.confirmations("churn") == []


def message(key: str = "decision 1", **other: object) -> Message:
    told = {
        "model": "fraud",
        "event": "verdict",
        "text": "KEEP version 2",
        "figure": "average precision -0.001",
        "as_of": AS_OF,
    }
    return Message(**(told | {"key": key} | other))


def test_an_event_is_posted_once_and_waits_for_each_channel(url: str) -> None:
    messages = Messages(url)
    for _ in range(2):
        messages.post(message())
    messages.post(message("decision 2"))
    assert [m.key for m in messages.unsent("fraud", "log")] == ["decision 1", "decision 2"]
    for _ in range(2):
        messages.delivered(messages.all("fraud")[0], "log")
    assert [m.key for m in messages.unsent("fraud", "log")] == ["decision 2"]
    assert len(messages.unsent("fraud", "slack alerts")) == 2
    assert messages.unsent("churn", "log") == []
