"""Read models tell what ledger and lake hold, with None for what has not happened, and become JSON whole."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.__main__ import main
from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move, Promotion
from ml.ledger.requests import Answer
from ml.ledger.signals import Alarm, Incident, Reading
from ml.monitoring.words import ESTIMATE, PERFORMANCE, SEVERITY
from ml.overview.alarms import alarms
from ml.overview.decisions import decisions, judged
from ml.overview.signals import signals
from ml.overview.status import status
from ml.records import to_record
from tests import deployments
from tests.decisions import decision

ONE = dt.timedelta(days=1)
DAY = dt.date(2025, 5, 4)
AS_OF = dt.datetime(2025, 5, 5, 2, tzinfo=dt.UTC)
EVIDENCE = {"primary": {"champion": 0.5, "challenger": 0.6}}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(deployments.small_file(tmp_path))


@pytest.fixture
def ledger(config: Config) -> Ledger:
    return Ledger(config.ledger)


def _champion(ledger: Ledger, model: str, version: str, as_of: dt.datetime, run_id: str) -> None:
    move = Move(
        model=model,
        action="promote",
        expected_from=ledger.moves.champion(model),
        to_version=version,
        as_of=as_of,
        actor="scheduler",
        reason="better",
        verdict={},
        run_id=run_id,
        hashes={},
    )
    ledger.moves.make(move)


def _reading(signal: str, kind: str = "drift", state: str = "OK", value: float | None = 1.0, **details: object) -> Reading:
    return Reading(signal=signal, kind=kind, value=value, threshold=4.0, state=state, details=details)  # type: ignore[arg-type]


def test_a_deployment_of_which_nothing_has_happened_has_no_figure(config: Config) -> None:
    seen = status(config)
    assert seen == dataclasses.replace(seen, model=config.name, open_quarantine=0, ignored_files=())
    assert {value for name, value in vars(seen).items() if name not in ("model", "open_quarantine", "ignored_files")} == {None}
    assert (decisions(config), alarms(config), signals(config, 14)) == ([], [], None)


def test_each_decision_says_who_was_champion_after_it(config: Config, ledger: Ledger) -> None:
    nights = [AS_OF + n * ONE for n in range(4)]
    for n, (night, outcome) in enumerate(zip(nights, ("KEEP", "PROMOTE", "KEEP", "INCONCLUSIVE"), strict=True), start=1):
        ledger.decisions.record(
            decision(
                model=config.name,
                as_of=night,
                run_id=f"run_{n}",
                outcome=outcome,
                challenger_version=str(n),
                champion_version=None,
                evidence=EVIDENCE if outcome != "INCONCLUSIVE" else {},
            )
        )
        if outcome == "PROMOTE":
            _champion(ledger, config.name, str(n), night, f"run_{n}")
    seen = decisions(config)
    assert [verdict.champion_after for verdict in seen] == [None, "2", "2", "2"]
    assert [verdict.challenger_value for verdict in seen] == [0.6, 0.6, 0.6, None]
    last = status(config)
    assert last.last_verdict == seen[-1]
    assert last.champion is not None
    assert (last.champion.version, last.champion.days, last.as_of) == ("2", 2, nights[-1])
    assert last.next_decision is not None
    assert last.next_decision.night >= nights[-1].date()


@given(st.lists(st.integers(0, 6), max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_the_champion_after_a_verdict_is_that_of_its_run_or_of_the_last_move_before(
    nights: list[int], night: int, run: int
) -> None:
    moves = [
        Promotion(
            model="fraud",
            sequence=n + 1,
            action="promote",
            from_version=None,
            to_version=str(n),
            as_of=AS_OF + each * ONE,
            actor="gate",
            reason="better",
            verdict={},
            run_id=f"run_{n}",
            hashes={},
            recorded_at=AS_OF,
        )
        for n, each in enumerate(nights)
    ]
    answer = decision(as_of=AS_OF + night * ONE, run_id=f"run_{run}")
    before = [move.to_version for move in moves if move.as_of < answer.as_of or move.run_id == answer.run_id]
    (told,) = judged([answer], moves)
    assert told.champion_after == (before[-1] if before else None)


def test_an_alarm_is_told_with_its_request_its_answer_and_the_performance_before_and_after(
    config: Config, ledger: Ledger
) -> None:
    _champion(ledger, config.name, "1", AS_OF - 20 * ONE, "run_0")
    for n in range(6):
        day = DAY - (5 - n) * ONE
        told = {"day": (day - 7 * ONE).isoformat(), "measured": 0.6 if n < 5 else 0.3}
        found = [Alarm(trigger="drift", reason="amount has moved", evidence={"day": str(DAY - 7 * ONE)})] if n == 5 else []
        ap = _reading(f"{PERFORMANCE}average precision", "performance", **told)
        ledger.signals.record_day(config.name, "1", day, AS_OF, [ap], found)
    (open_one,) = alarms(config)
    assert (open_one.answer, open_one.verdict) == (None, None)
    assert [(s.name, s.days) for s in open_one.performance] == [("before", 4), ("since", 2)]
    answer = Answer(request=open_one.request, answer="started", reason="drift", run_id="run_1", as_of=AS_OF)
    ledger.requests.take_turn(config.name, lambda turn: [answer])
    ledger.decisions.record(decision(model=config.name, as_of=AS_OF, evidence=EVIDENCE))
    _champion(ledger, config.name, "2", AS_OF + ONE, "run_2")
    (answered,) = alarms(config)
    assert answered.answer == answer
    assert answered.verdict is not None
    assert (answered.verdict.run_id, answered.verdict.outcome) == ("run_1", "KEEP")
    before, since, renewed = answered.performance
    assert (before.mean, before.answers_from) == (pytest.approx(0.6), None)
    assert (since.mean, since.end) == (pytest.approx(0.45), (AS_OF + ONE).date())
    assert (renewed.mean, renewed.first) == (None, (AS_OF + ONE).date())
    assert renewed.answers_from == renewed.first + 8 * ONE


def test_signals_come_worst_first_and_performance_by_day(config: Config, ledger: Ledger) -> None:
    _champion(ledger, config.name, "1", AS_OF - 20 * ONE, "run_0")
    assert signals(config, 14) is not None
    seen = [
        _reading("a: location", value=2.0),
        _reading("b: location", state="WARN", value=4.1),
        _reading("c: location", state="CONFIRMED", value=5.0),
        _reading("d: location", value=3.0),
        _reading("e: location", value=None),
        _reading(SEVERITY, value=0.5),
        _reading(f"{PERFORMANCE}average precision", "performance", value=None, day="2025-04-26", of_day=0.4, rate=0.01),
        _reading(f"{ESTIMATE}average precision", "estimate", value=0.45, trust={"error": 0.05, "days": 3}),
    ]
    fault = Incident(day=DAY, fault="volume", subject="events", reason="half of the rows are missing", evidence={})
    ledger.signals.record_day(config.name, "1", DAY, AS_OF, seen, [], [fault])
    found = signals(config, 14)
    assert found is not None
    assert [r.signal[0] for r in found.judged[:4]] == ["c", "b", "d", "a"]
    assert (found.newest, found.incidents, found.alarms) == (DAY, (fault,), ())
    assert found.severity is not None
    assert found.not_judged == 2
    first, last = found.performance
    assert (first.day, first.rate, first.measured, first.estimated) == (
        dt.date(2025, 4, 26),
        0.01,
        {"average precision": 0.4},
        {},
    )
    assert (last.day, last.measured, last.estimated) == (DAY, {}, {"average precision": 0.45})
    assert "off by 0.05" in found.estimate_errors[0]


@pytest.mark.parametrize("word", ["status", "signals", "history", "requests"])
def test_what_is_printed_is_also_json(word: str, config: Config, ledger: Ledger, tmp_path: Path, capsys) -> None:
    _champion(ledger, config.name, "1", AS_OF, "run_0")
    ledger.signals.record_day(
        config.name,
        "1",
        DAY,
        AS_OF,
        [_reading("a: location")],
        [Alarm(trigger="drift", reason="moved", evidence={"day": str(DAY)})],
    )
    assert main([word, "--json", "--config", str(tmp_path / "deployment.yaml")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told if isinstance(told, list) else told.keys()
    if word == "signals":
        assert told == json.loads(json.dumps(to_record(signals(config, 14))))
        assert told["newest"] == "2025-05-04"
