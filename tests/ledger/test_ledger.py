"""Admissions, decisions and the champion's moves, alone and in a race."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.ledger.ledger import Ledger
from ml.ledger.moves import ChampionMoved, Move, NothingToRollBackTo, Promotion, refreshed_by_champion, rollback_target
from ml.ledger.trainings import Admission
from tests.decisions import AS_OF, decision

PROJECT = Path(__file__).resolve().parents[2]
SERIES = itertools.count()


def admission(**other: Any) -> Admission:
    request = Admission(
        model="fraud",
        idempotency_key="2025-05-02",
        as_of=AS_OF,
        trigger="schedule",
        requested_by="scheduler",
        reason="every night",
        run_id="run_1",
        watermark="abc",
    )
    return dataclasses.replace(request, **other)


def promote(ledger: Ledger, expected: str | None, version: str, **other: Any) -> Promotion:
    move = Move(
        model="fraud",
        action="promote",
        expected_from=expected,
        to_version=version,
        as_of=AS_OF,
        actor="gate",
        reason="better",
        verdict={"outcome": "PROMOTE"},
        run_id=f"run_{version}",
        hashes={"model.onnx": "ab"},
    )
    return ledger.moves.make(dataclasses.replace(move, **other))


def roll_back(ledger: Ledger, run_id: str, model: str = "fraud") -> Promotion:
    champion = ledger.moves.champion(model)
    target = rollback_target(ledger.moves.history(model))
    return promote(ledger, champion, target, action="rollback", run_id=run_id, model=model)


def test_the_first_request_with_a_key_is_admitted_and_recorded(ledger: Ledger) -> None:
    answer = ledger.trainings.admit(admission())
    assert answer.admitted
    assert ledger.trainings.all("fraud") == [answer.training]
    assert answer.training.as_of == AS_OF
    assert answer.training.recorded_at.tzinfo is dt.UTC


def test_what_is_new_comes_without_the_whole_verdicts(ledger: Ledger) -> None:
    primary = {"name": "average precision", "interval": [0.1, None], "told": "“better”"}
    evidence: list[dict[str, Any]] = [{"primary": primary, "others": [1, 2]}, {"primary": None}, {}]
    for version, each in enumerate(evidence):
        promote(ledger, ledger.moves.champion("fraud"), str(version))
        ledger.decisions.record(decision(challenger_version=str(version), champion_version=None, evidence=each))
    (first, _), *others = ledger.decisions.since("fraud", 0)
    assert [told.evidence["primary"] for _, told in ledger.decisions.since("fraud", 0)] == [primary, None, None]
    assert [told.challenger_version for _, told in ledger.decisions.since("fraud", first)] == ["1", "2"]
    assert ledger.decisions.since("fraud", others[-1][0]) == []
    assert [(move.to_version, move.verdict) for move in ledger.moves.since("fraud", 1)] == [("1", {}), ("2", {})]


def test_a_retry_of_the_admitted_run_is_admitted_again_without_a_second_row(ledger: Ledger) -> None:
    first = ledger.trainings.admit(admission())
    again = ledger.trainings.admit(admission())
    assert again.admitted
    assert again.training == first.training
    assert len(ledger.trainings.all("fraud")) == 1


def test_another_run_with_the_same_key_is_refused_with_the_first_ones_name_and_recorded(ledger: Ledger) -> None:
    ledger.trainings.admit(admission())
    answer = ledger.trainings.admit(admission(run_id="run_2", trigger="drift"))
    assert not answer.admitted
    assert "run_1" in answer.reason
    ledger.trainings.admit(admission(run_id="run_2", trigger="drift"))
    rows = ledger.trainings.all("fraud")
    assert [(row.run_id, row.admitted) for row in rows] == [("run_1", True), ("run_2", False)]
    assert rows[1].outcome_reason == answer.reason


def test_a_key_belongs_to_one_model(ledger: Ledger) -> None:
    assert ledger.trainings.admit(admission()).admitted
    assert ledger.trainings.admit(admission(model="churn", run_id="run_2")).admitted


def test_an_instant_comes_back_as_the_same_instant_in_utc(ledger: Ledger) -> None:
    tokyo = dt.timezone(dt.timedelta(hours=9))
    told = dt.datetime(2025, 5, 2, 8, 30, 0, 123456, tzinfo=tokyo)
    stored = ledger.trainings.admit(admission(as_of=told)).training.as_of
    assert stored == told
    assert stored.tzinfo is dt.UTC


def test_an_instant_without_a_zone_is_refused() -> None:
    naive = AS_OF.replace(tzinfo=None)
    for make in (admission, decision):
        with pytest.raises(ValueError, match="no time zone"):
            make(as_of=naive)


def test_a_decision_comes_back_as_it_was_told(ledger: Ledger) -> None:
    assert ledger.decisions.record(decision()) == decision()
    assert ledger.decisions.all("fraud") == [decision()]


def test_the_first_answer_on_a_challenger_and_a_champion_is_kept(ledger: Ledger) -> None:
    ledger.decisions.record(decision())
    assert ledger.decisions.record(decision(outcome="PROMOTE")) == decision()
    assert len(ledger.decisions.all("fraud")) == 1


@pytest.mark.parametrize("champion", [None, "3"])
def test_a_challenger_that_is_judged_against_another_champion_gets_another_row(ledger: Ledger, champion: str | None) -> None:
    ledger.decisions.record(decision())
    for _ in range(2):
        ledger.decisions.record(decision(champion_version=champion, outcome="PROMOTE"))
    assert [row.outcome for row in ledger.decisions.all("fraud")] == ["KEEP", "PROMOTE"]


def test_a_decision_that_json_cannot_carry_is_refused_and_says_what_to_give() -> None:
    with pytest.raises(ValueError, match="difference is nan; give None"):
        decision(difference=float("nan"))
    with pytest.raises(ValueError, match="evidence is not JSON"):
        decision(evidence={"auc": float("inf")})


def test_words_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="'whim', expected one of"):
        admission(trigger="whim")
    with pytest.raises(ValueError, match="'MAYBE', expected one of"):
        decision(outcome="MAYBE")


def test_moves_are_numbered_from_one_and_name_what_they_replaced(ledger: Ledger) -> None:
    assert ledger.moves.champion("fraud") is None
    promote(ledger, None, "1")
    promote(ledger, "1", "2")
    assert ledger.moves.champion("fraud") == "2"
    assert [(m.sequence, m.from_version, m.to_version) for m in ledger.moves.history("fraud")] == [
        (1, None, "1"),
        (2, "1", "2"),
    ]
    assert ledger.moves.champion("churn") is None


@pytest.mark.parametrize("expected", [None, "2"])
def test_a_move_that_expects_another_champion_moves_nothing_and_says_who_is(ledger: Ledger, expected: str | None) -> None:
    promote(ledger, None, "1")
    with pytest.raises(ChampionMoved, match=r"but version 1 is; .* run the gate again .* version 1") as raised:
        promote(ledger, expected, "3")
    assert (raised.value.expected, raised.value.champion) == (expected, "1")
    assert len(ledger.moves.history("fraud")) == 1


def test_whoever_keeps_a_connection_sees_what_others_moved_since(url: str) -> None:
    kept = Ledger(url, keeps_connection=True)
    assert (kept.moves.count("fraud"), kept.moves.newest("fraud")) == (0, None)
    for number in (1, 2):
        moved = promote(Ledger(url), None if number == 1 else "1", str(number))
        assert (kept.moves.count("fraud"), kept.moves.newest("fraud")) == (number, moved)
    assert kept.moves.count("churn") == 0


def test_the_same_move_by_the_same_run_is_made_once(ledger: Ledger) -> None:
    promote(ledger, None, "1")
    first = promote(ledger, "1", "2")
    assert promote(ledger, "1", "2") == first
    assert len(ledger.moves.history("fraud")) == 2


def test_a_late_retry_does_not_undo_a_rollback(ledger: Ledger) -> None:
    promote(ledger, None, "1")
    promote(ledger, "1", "2")
    roll_back(ledger, "by_hand")
    with pytest.raises(ChampionMoved, match="retry does not undo"):
        promote(ledger, "1", "2")
    assert ledger.moves.champion("fraud") == "1"


def test_a_run_rolls_back_once(ledger: Ledger) -> None:
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        promote(ledger, before, version)
    roll_back(ledger, "by_hand")
    roll_back(ledger, "by_hand")
    assert ledger.moves.champion("fraud") == "2"
    promote(ledger, "2", "4")
    with pytest.raises(ChampionMoved, match="retry does not undo"):
        roll_back(ledger, "by_hand")
    assert ledger.moves.champion("fraud") == "4"


def test_rollbacks_undo_promotions_one_by_one_and_end_at_the_first(ledger: Ledger) -> None:
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        promote(ledger, before, version)
    assert roll_back(ledger, "a").to_version == "2"
    assert roll_back(ledger, "b").to_version == "1"
    with pytest.raises(NothingToRollBackTo, match="version 1 is the first champion, there is nothing before"):
        roll_back(ledger, "c")
    promote(ledger, "1", "4")
    assert roll_back(ledger, "d").to_version == "1"


def test_a_rollback_goes_nowhere_but_to_the_version_before(ledger: Ledger) -> None:
    for version, before in (("1", None), ("2", "1"), ("3", "2")):
        promote(ledger, before, version)
    with pytest.raises(ValueError, match="goes to version 2, not to 1"):
        promote(ledger, "3", "1", action="rollback")
    assert ledger.moves.champion("fraud") == "3"


def test_a_champion_is_a_refresh_of_the_versions_since_the_last_promotion(ledger: Ledger) -> None:
    steps = (("1", None, "promote"), ("2", "1", "promote"), ("3", "2", "refresh"), ("4", "3", "refresh"))
    found = []
    for version, before, action in steps:
        promote(ledger, before, version, action=action)
        found.append(refreshed_by_champion(ledger.moves.history("fraud")))
    roll_back(ledger, "a")
    found.append(refreshed_by_champion(ledger.moves.history("fraud")))
    assert found == [[], [], ["2"], ["3", "2"], ["2"]]


def test_without_a_champion_there_is_nothing_to_roll_back() -> None:
    with pytest.raises(NothingToRollBackTo, match="there is no champion"):
        rollback_target([])


def test_a_version_cannot_replace_itself(ledger: Ledger) -> None:
    promote(ledger, None, "1")
    with pytest.raises(ValueError, match="cannot replace itself"):
        promote(ledger, "1", "1")


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["promote", "promote", "rollback", "retry"]), max_size=12))
def test_any_series_of_moves_is_a_stack_and_its_history_is_a_chain(ledger: Ledger, steps: list[str]) -> None:
    model = f"series_{next(SERIES)}"
    stack: list[str] = []
    moves = 0
    last: Promotion | None = None
    for number, step in enumerate(steps):
        champion = stack[-1] if stack else None
        if step == "promote":
            last = promote(ledger, champion, f"v{number}", model=model)
            stack.append(f"v{number}")
            moves += 1
        elif step == "rollback" and len(stack) >= 2:
            last = roll_back(ledger, f"run_{number}", model)
            stack.pop()
            moves += 1
        elif step == "rollback":
            with pytest.raises(NothingToRollBackTo):
                roll_back(ledger, f"run_{number}", model)
        elif last is not None:
            again = promote(ledger, last.from_version, last.to_version, action=last.action, run_id=last.run_id, model=model)
            assert again == last
        assert ledger.moves.champion(model) == (stack[-1] if stack else None)
    history = ledger.moves.history(model)
    assert [move.sequence for move in history] == list(range(1, moves + 1))
    assert [move.from_version for move in history[1:]] == [move.to_version for move in history[:-1]]


RACE = """
import datetime as dt, json, multiprocessing, sys
from ml.ledger.ledger import Ledger
from ml.ledger.moves import ChampionMoved, Move
from ml.ledger.trainings import Admission

AS_OF = dt.datetime(2025, 5, 2, tzinfo=dt.UTC)

def race(url, me, start, answers):
    expected = None
    for lap in range(6):
        start.wait()
        ledger = Ledger(url)
        admission = Admission(model="fraud", idempotency_key=str(lap), as_of=AS_OF, trigger="drift", requested_by=me,
                              reason="race", run_id=me, watermark="")
        move = Move(model="fraud", action="promote", expected_from=expected, to_version=f"{lap}.{me}", as_of=AS_OF,
                    actor=me, reason="race", verdict={}, run_id=me, hashes={})
        admitted = ledger.trainings.admit(admission).admitted
        try:
            expected = ledger.moves.make(move).to_version
            moved = True
        except ChampionMoved as error:
            expected = error.champion
            moved = False
        answers.put((lap, admitted, moved, expected))

fork = multiprocessing.get_context("fork")
start, answers = fork.Barrier(8), fork.Queue()
racers = [fork.Process(target=race, args=(sys.argv[1], str(me), start, answers)) for me in range(8)]
for racer in racers:
    racer.start()
print(json.dumps([answers.get(timeout=60) for _ in range(8 * 6)]))
for racer in racers:
    racer.join()
"""


def test_of_eight_processes_that_start_together_one_is_admitted_and_one_moves_the_champion(url: str) -> None:
    """Six laps over one database, in which the first lap also has to make the tables."""
    raced = subprocess.run(
        [sys.executable, "-c", RACE, url], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120
    )
    assert raced.returncode == 0, raced.stderr
    history = Ledger(url).moves.history("fraud")
    assert [move.sequence for move in history] == [1, 2, 3, 4, 5, 6]
    answers = json.loads(raced.stdout)
    for lap, move in enumerate(history):
        of_lap = [answer for answer in answers if answer[0] == lap]
        assert sum(admitted for _, admitted, _, _ in of_lap) == 1
        assert sum(moved for _, _, moved, _ in of_lap) == 1
        assert {champion for _, _, _, champion in of_lap} == {move.to_version}
