"""Requests are recorded once however often they are delivered, and answered by one run after the other."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
import sqlalchemy as sa

from ml.ledger.ledger import Ledger
from ml.ledger.requests import Answer, Request, Turn

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)


def request(key: str = "run 1", **other: object) -> Request:
    told = {"model": "fraud", "trigger": "schedule", "as_of": AS_OF, "requested_by": "scheduler", "reason": "nightly"}
    return Request(**(told | {"key": key, "evidence": {}} | other))


def answer(asked: int, verb: str = "started", run_id: str = "r1") -> Answer:
    return Answer(request=asked, answer=verb, reason="because", run_id=run_id, as_of=AS_OF)


def test_a_second_delivery_is_the_first_request(url: str) -> None:
    requests = Ledger(url).requests
    first = requests.submit(request())
    again = requests.submit(request(reason="delivered again", requested_by="somebody else"))
    assert again == first
    assert [r.reason for r in requests.all("fraud")] == ["nightly"]


def test_a_key_belongs_to_one_model(url: str) -> None:
    requests = Ledger(url).requests
    assert requests.submit(request()).id != requests.submit(request(model="churn")).id
    assert len(requests.all("churn")) == 1


def test_a_request_is_open_until_an_answer_closes_it(url: str) -> None:
    requests = Ledger(url).requests
    asked = requests.submit(request())
    assert asked.is_open
    requests.take_turn("fraud", lambda turn: [answer(asked.id, "waits")])
    assert requests.all("fraud")[0].is_open
    requests.take_turn("fraud", lambda turn: [answer(asked.id, "joined", "r2")])
    (closed,) = requests.all("fraud")
    assert not closed.is_open
    assert [(a.answer, a.run_id) for a in closed.answers] == [("waits", "r1"), ("joined", "r2")]
    assert requests.served_by("fraud", "r2") == [closed]
    assert requests.served_by("fraud", "r1") == []


def test_the_same_answer_of_a_run_is_recorded_once(url: str) -> None:
    requests = Ledger(url).requests
    asked = requests.submit(request())
    for _ in range(2):
        requests.take_turn("fraud", lambda turn: [answer(asked.id)])
    assert len(requests.all("fraud")[0].answers) == 1


def test_a_turn_that_fails_records_nothing(url: str) -> None:
    requests = Ledger(url).requests

    def decide(turn: Turn) -> list[Answer]:
        turn.submit(request("run 2"))
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        requests.take_turn("fraud", decide)
    assert requests.all("fraud") == []


def test_of_many_runs_at_once_each_request_is_started_by_one(url: str) -> None:
    for number in range(4):
        Ledger(url).requests.submit(request(f"run {number}"))
    barrier = threading.Barrier(6)

    def run(name: str) -> None:
        def decide(turn: Turn) -> list[Answer]:
            return [answer(r.id, "started", name) for r in turn.all() if r.is_open]

        barrier.wait()
        Ledger(url).requests.take_turn("fraud", decide)

    runs = [threading.Thread(target=run, args=(f"r{number}",)) for number in range(6)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    told = [a for r in Ledger(url).requests.all("fraud") for a in r.answers]
    assert len(told) == 4
    assert len({a.run_id for a in told}) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE requests SET trigger = 'drift'",
        "DELETE FROM requests",
        "UPDATE answers SET answer = 'started'",
        "DELETE FROM answers",
    ],
)
def test_a_stranger_cannot_change_what_was_asked_and_answered(url: str, statement: str) -> None:
    requests = Ledger(url).requests
    asked = requests.submit(request())
    requests.take_turn("fraud", lambda turn: [answer(asked.id, "refused")])
    with pytest.raises(sa.exc.IntegrityError, match="is append-only"), sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql(statement)


def test_words_outside_the_vocabulary_and_instants_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="trigger is 'whim'"):
        request(trigger="whim")
    with pytest.raises(ValueError, match="has no time zone"):
        request(as_of=AS_OF.replace(tzinfo=None))
    with pytest.raises(ValueError, match="evidence is not JSON"):
        request(evidence={"value": float("nan")})
