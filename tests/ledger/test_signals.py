"""A day of a champion is recorded whole and once; alarms can be asked for by what came after."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.signals import Alarm, Incident, Reading

DAY = dt.date(2025, 5, 2)
AS_OF = dt.datetime(2025, 5, 3, 2, tzinfo=dt.UTC)
ONE = dt.timedelta(days=1)


def reading(signal: str = "amount: location", state: str = "OK") -> Reading:
    return Reading(signal=signal, kind="drift", value=0.1, threshold=4.2, state=state, details={"windows": [False]})


ALARM = Alarm(trigger="drift", reason="amount has moved", evidence={"severity": 0.4})
FAULT = Incident(day=DAY, fault="volume", subject="events", reason="half of the rows are missing", evidence={"rows": 10})


def test_a_day_is_recorded_with_everything_that_was_seen(url: str) -> None:
    signals = Ledger(url).signals
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
    signals = Ledger(url).signals
    signals.record_day("fraud", "1", DAY, AS_OF, [reading()], [ALARM], [FAULT])
    assert not signals.record_day("fraud", "1", DAY, AS_OF + ONE, [reading(state="CONFIRMED")], [ALARM], [FAULT])
    assert [r.state for r in signals.readings("fraud", "1")] == ["OK"]
    assert len(signals.confirmations("fraud")) == len(signals.incidents("fraud")) == 1


def test_a_day_that_cannot_be_written_whole_is_not_written(url: str) -> None:
    signals = Ledger(url).signals
    with pytest.raises(sa.exc.IntegrityError):
        signals.record_day("fraud", "1", DAY, AS_OF, [reading(), reading()], [ALARM], [FAULT])
    assert signals.readings("fraud", "1") == signals.confirmations("fraud") == signals.incidents("fraud") == []


def test_days_come_in_order(url: str) -> None:
    signals = Ledger(url).signals
    signals.record_day("fraud", "1", DAY, AS_OF, [reading()])
    with pytest.raises(ValueError, match="2025-05-01 comes too late"):
        signals.record_day("fraud", "1", DAY - ONE, AS_OF, [reading()])
    with pytest.raises(ValueError, match="no readings of 2025-05-03"):
        signals.record_day("fraud", "1", DAY + ONE, AS_OF, [])


def test_another_champion_has_days_of_its_own_and_shares_the_incidents(url: str) -> None:
    signals = Ledger(url).signals
    for version in ("1", "2"):
        signals.record_day("fraud", version, DAY, AS_OF, [reading()], [ALARM], [FAULT])
    assert len(signals.confirmations("fraud")) == 2
    assert signals.incidents("fraud") == [FAULT]
    assert signals.incidents("fraud", since=DAY + ONE) == []


def test_an_alarm_is_recorded_together_with_its_request(url: str) -> None:
    ledger = Ledger(url)
    for number in range(3):
        for _ in range(2):
            ledger.signals.record_day("fraud", "1", DAY + number * ONE, AS_OF, [reading()], [ALARM])
    requests = ledger.requests.all("fraud")
    assert [request.id for request in requests] == [alarm.request for alarm in ledger.signals.confirmations("fraud")]
    assert [request.key for request in requests] == [f"{ALARM.trigger} of version 1 on {DAY + n * ONE}" for n in range(3)]
    assert {(r.trigger, r.reason, r.requested_by, r.as_of) for r in requests} == {
        (ALARM.trigger, ALARM.reason, "monitor", AS_OF)
    }
    assert requests[0].evidence == {**ALARM.evidence, "version": "1", "day": str(DAY)}
    assert ledger.requests.unanswered("fraud", ALARM.trigger) == requests
    assert ledger.requests.unanswered("fraud", "on_demand") == []
    assert ledger.signals.confirmations("churn") == []


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
    messages = Ledger(url).messages
    for _ in range(2):
        messages.post(message())
    messages.post(message("decision 2"))
    for channel in ("log", "slack alerts"):
        messages.subscribe("fraud", channel, ["verdict"])
    assert [m.key for m in messages.unsent("fraud", "log", ["verdict"])] == ["decision 1", "decision 2"]
    for _ in range(2):
        messages.delivered(messages.all("fraud")[0], "log")
    assert [m.key for m in messages.unsent("fraud", "log", ["verdict"])] == ["decision 2"]
    assert len(messages.unsent("fraud", "slack alerts", ["verdict"])) == 2
    assert messages.unsent("churn", "log", ["verdict"]) == []
