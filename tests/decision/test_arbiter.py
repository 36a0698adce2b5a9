"""Five triggers, at most one training, and an answer for everybody who asked."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import steps
from ml.__main__ import main
from ml.config import Config
from ml.config.monitoring import Retraining
from ml.decision import arbiter, judge
from ml.decision.admit import join_alarms
from ml.decision.arbiter import Situation
from ml.decision.learnable import Learnable
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.requests import Answer, Recorded
from ml.ledger.run import Run
from ml.ledger.signals import Alarm, Reading
from tests import villages
from tests.decisions import decision

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2025, 5, 30, 2, tzinfo=dt.UTC)
RULES = Retraining()
DRIFTED = dt.date(2025, 5, 20)
PATIENT = RULES.model_copy(update={"positives": RULES.positives.model_copy(update={"value": 40})})


def recorded(trigger: str, number: int = 1, *answers: Answer, version: str | None = "3") -> Recorded:
    return Recorded(
        model="fraud",
        key=f"key {number}",
        trigger=trigger,
        as_of=NOW,
        requested_by="somebody",
        reason="a reason",
        evidence={"version": version, "day": DRIFTED.isoformat()},
        id=number,
        recorded_at=NOW,
        answers=answers,
    )


def situation(**other: Any) -> Situation:
    return Situation(
        **(
            {"as_of": NOW, "run_id": "r1", "champion": "3", "obstacle": None, "decided": [], "alarmed": [], "trained": None}
            | other
        )
    )


def held(trigger: str, **seen: Any) -> tuple[str, str] | None:
    answer = arbiter.held_back(RULES, situation(**seen), recorded(trigger))
    return answer and (answer.answer, answer.reason)


@pytest.mark.parametrize("trigger", arbiter.PRECEDENCE)
def test_nothing_holds_a_first_request_back(trigger: str) -> None:
    assert held(trigger) is None


@pytest.mark.parametrize("trigger", arbiter.ALARMS)
def test_an_alarm_within_the_cooldown_waits_until_it_is_over(trigger: str) -> None:
    started = NOW - 13 * DAY
    told = held(trigger, alarmed=[started])
    assert told is not None
    assert told[0] == "waits"
    assert f"cooldown until {started + 14 * DAY:%Y-%m-%d %H:%M}" in told[1]
    assert held(trigger, alarmed=[NOW - 14 * DAY]) is None


@pytest.mark.parametrize("trigger", arbiter.ALARMS)
def test_an_alarm_beyond_the_budget_waits_until_one_is_free(trigger: str) -> None:
    told = held(trigger, alarmed=[NOW - 29 * DAY, NOW - 15 * DAY])
    assert told is not None
    assert told[0] == "waits"
    assert f"2 trainings in thirty days, the budget, are spent until {NOW + DAY:%Y-%m-%d %H:%M}" in told[1]
    assert held(trigger, alarmed=[NOW - 30 * DAY, NOW - 15 * DAY]) is None


@pytest.mark.parametrize("trigger", ["on_demand", "new_data", "schedule"])
def test_cooldown_and_budget_hold_only_alarms_back(trigger: str) -> None:
    assert held(trigger, alarmed=[NOW - 3 * DAY, NOW - DAY]) is None


def test_new_data_start_a_training_only_so_long_after_the_last_one() -> None:
    weekly = RULES.model_copy(update={"new_data": RULES.new_data.model_copy(update={"value": 7})})
    asked = recorded("new_data")
    early = arbiter.held_back(weekly, situation(trained=NOW - 6 * DAY), asked)
    assert early is not None
    assert early.answer == "refused"
    assert f"no training by new data until {NOW + DAY:%Y-%m-%d %H:%M}" in early.reason
    assert arbiter.held_back(weekly, situation(trained=NOW - 7 * DAY), asked) is None
    assert arbiter.held_back(weekly, situation(trained=NOW - DAY), recorded("schedule")) is None
    assert arbiter.held_back(RULES, situation(trained=NOW), asked) is None


def test_a_persons_request_passes_the_cooldown_and_that_is_recorded() -> None:
    seen = situation(alarmed=[NOW - DAY])
    assert "a person's request passes the cooldown that holds until" in arbiter.passes(RULES, seen, recorded("on_demand"))
    assert arbiter.passes(RULES, seen, recorded("schedule")) == ""
    assert arbiter.passes(RULES, situation(), recorded("on_demand")) == ""


@pytest.mark.parametrize("trigger", arbiter.ALARMS)
def test_an_alarm_on_a_champion_that_was_replaced_is_closed(trigger: str) -> None:
    told = held(trigger, champion="4")
    assert told == ("refused", "it speaks of version 3, and version 4 is champion by now")


def known(night: dt.datetime, a_day: int = 5) -> Learnable:
    """What a refit learns from whose rows have matured for a week, with so many positives a day."""
    return Learnable(night.date(), {night.date() - number * DAY: a_day for number in range(8, 60)}, (0.0,) * 7)


@pytest.mark.parametrize("trigger", arbiter.ALARMS)
def test_an_alarm_starts_the_first_training_that_can_learn_of_it_and_is_told_which_night_that_is(trigger: str) -> None:
    nights = [NOW + number * DAY for number in range(20)]
    answers = [arbiter.held_back(PATIENT, situation(as_of=n, learnable=known(n)), recorded(trigger)) for n in nights]
    first = next(night for night, answer in zip(nights, answers, strict=True) if answer is None)
    assert first.date() == DRIFTED + 8 * DAY + 7 * DAY, "forty of five a day, and a week until the last of them has its label"
    waiting = [answer for night, answer in zip(nights, answers, strict=True) if night < first]
    assert len(waiting) == (first - NOW).days > 1
    for answer in waiting:
        assert answer is not None
        assert answer.answer == "waits"
        assert f"labels on 40 positives since {DRIFTED} are expected on {first.date()}" in answer.reason
    assert not any(answers[len(waiting) :])


def test_without_a_positive_for_two_weeks_none_is_expected() -> None:
    told = arbiter.held_back(PATIENT, situation(learnable=known(NOW, a_day=0)), recorded("drift"))
    assert told is not None
    assert "cannot be expected: none has come for two weeks" in told.reason


def test_an_alarm_survives_a_refresh_that_could_not_learn_of_it() -> None:
    night = NOW + 30 * DAY
    seen = {"as_of": night, "champion": "5", "refreshed": ["4", "3"], "learnable": known(night)}
    young, old = DRIFTED + 15 * DAY, DRIFTED + 14 * DAY
    assert arbiter.held_back(PATIENT, situation(**seen, championed=old), recorded("drift")) is None
    told = arbiter.held_back(PATIENT, situation(**seen, championed=young), recorded("drift"))
    assert told is not None
    assert told.answer == "refused"
    assert told.reason.endswith(f"version 5 is champion by now, fitted on 40 positives since {DRIFTED}")
    other = arbiter.held_back(PATIENT, situation(**seen, championed=old), recorded("drift", version="2"))
    assert other is not None
    assert other.answer == "refused"


def test_an_obstacle_closes_what_comes_again_by_itself_and_lets_alarms_wait() -> None:
    told = {trigger: held(trigger, obstacle="nothing new") for trigger in arbiter.PRECEDENCE}
    assert {trigger: answer and answer[0] for trigger, answer in told.items()} == {
        "performance": "waits",
        "drift": "waits",
        "on_demand": "refused",
        "new_data": "refused",
        "schedule": "refused",
    }


@given(st.lists(st.sampled_from(arbiter.PRECEDENCE), min_size=1, max_size=12))
def test_the_strongest_reason_leads_and_of_equal_ones_the_oldest(triggers: list[str]) -> None:
    asked = [recorded(trigger, number) for number, trigger in enumerate(triggers)]
    leader = arbiter.leading(asked)
    strongest = min(triggers, key=arbiter.PRECEDENCE.index)
    assert leader.trigger == strongest
    assert leader.id == triggers.index(strongest)


@given(st.lists(st.integers(0, 59), max_size=8), st.integers(1, 4), st.integers(0, 30))
def test_alarms_never_start_more_than_the_budget_in_any_thirty_days(nights: list[int], budget: int, cooldown: int) -> None:
    rules = RULES.model_copy(
        update={
            "budget": RULES.budget.model_copy(update={"value": budget}),
            "cooldown": RULES.cooldown.model_copy(update={"value": cooldown}),
        }
    )
    started: list[dt.datetime] = []
    for night in sorted(nights):
        now = NOW + night * DAY
        if arbiter.held_back(rules, situation(as_of=now, alarmed=list(started)), recorded("drift")) is None:
            started.append(now)
    for instant in started:
        assert len([s for s in started if instant - arbiter.MONTH < s <= instant]) <= budget
    assert all(b - a >= cooldown * DAY for a, b in itertools.pairwise(started))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A village whose archive is in the lake."""
    config = villages.village(tmp_path_factory.mktemp("arbiter"))
    villages.live_until(config, villages.ARCHIVE_UNTIL)
    return config


@pytest.fixture
def config(ingested: Config, tmp_path: Path) -> Config:
    """That village with a ledger of its own, in which version 3 is champion."""
    told = ingested.model_copy(update={"ledger_uri": f"sqlite:///{tmp_path}/ledger.db"})
    move = Move(
        model=told.name,
        action="promote",
        expected_from=None,
        to_version="3",
        as_of=AS_OF - 20 * DAY,
        actor="gate",
        reason="better",
        verdict={},
        run_id="long ago",
        hashes={},
    )
    Ledger(told.ledger).moves.make(move)
    return told


AS_OF = villages.ARCHIVE_UNTIL


def admit(config: Config, run_id: str, trigger: str, **other: Any) -> dict[str, Any]:
    return steps.run("admit", config, other.pop("as_of", AS_OF), {"run_id": run_id, "trigger": trigger, **other})


def alarm(config: Config, day: dt.date, trigger: str = "drift", version: str = "3") -> None:
    """Monitoring confirms an alarm, which makes a request."""
    seen = Reading(signal="amount: location", kind="drift", value=9.0, threshold=4.0, state="CONFIRMED", details={})
    told = Alarm(trigger=trigger, reason=f"{trigger} on {day}", evidence={"severity": 0.3})
    Ledger(config.ledger).signals.record_day(config.name, version, day, AS_OF, [seen], [told])


def decide(config: Config, run_id: str) -> None:
    """The training of a run comes to a decision."""
    kept = decision(model=config.name, as_of=AS_OF, run_id=run_id, champion_version="3", challenger_version=f"of {run_id}")
    Ledger(config.ledger).decisions.record(kept)


def answers(config: Config) -> list[tuple[str, str, str]]:
    asked = Ledger(config.ledger).requests.all(config.name)
    return [(r.trigger, r.last.answer, r.last.run_id) if r.last else (r.trigger, "open", "") for r in asked]


@pytest.mark.parametrize(("days_ago", "answer"), [(0, "waits"), (25, "started")])
def test_an_alarm_waits_for_labels_that_are_in_the_lake(config: Config, days_ago: int, answer: str) -> None:
    """Two positives of the village were fitted on in the second half of January, and none later."""
    two = PATIENT.model_copy(update={"positives": PATIENT.positives.model_copy(update={"value": 2})})
    patient = config.model_copy(update={"retraining": two})
    day = AS_OF.date() - days_ago * DAY
    alarm(patient, day)
    assert admit(patient, "nightly", "")["admitted"] == (answer == "started")
    assert answers(patient) == [("drift", answer, "nightly")]
    told = Ledger(patient.ledger).requests.all(patient.name)[0].last
    assert told is not None
    assert (f"labels on 2 positives since {day} are expected on" in told.reason) == (answer == "waits")


def test_requests_coalesce_into_the_strongest(config: Config) -> None:
    steps.run("request_for_new_data", config, AS_OF, {"run_id": "ingest 1", "accepted": 7})
    alarm(config, AS_OF.date())
    told = admit(config, "nightly", "schedule")
    assert (told["admitted"], told["trigger"]) == (True, "drift")
    assert told["reason"].endswith("drift on 2025-02-07; 2 other requests joined")
    assert answers(config) == [
        ("new_data", "joined", "nightly"),
        ("drift", "started", "nightly"),
        ("schedule", "joined", "nightly"),
    ]


def test_a_request_that_is_delivered_again_is_one_request(config: Config) -> None:
    for _ in range(2):
        steps.run("request_for_new_data", config, AS_OF, {"run_id": "ingest 1", "accepted": 7})
    assert admit(config, "rung", "")["admitted"]
    again = admit(config, "rung again", "")
    assert not again["admitted"]
    assert "no request is open" in again["reason"]
    assert answers(config) == [("new_data", "started", "rung")]


def test_a_retry_of_the_run_is_admitted_again_and_takes_in_what_came_since(config: Config) -> None:
    assert admit(config, "nightly", "schedule")["admitted"]
    alarm(config, AS_OF.date())
    again = admit(config, "nightly", "schedule")
    assert (again["admitted"], again["trigger"]) == (True, "drift")
    assert {run for _, _, run in answers(config)} == {"nightly"}


def test_who_comes_while_the_same_data_are_in_hand_joins_that_run(config: Config) -> None:
    assert admit(config, "nightly", "schedule")["admitted"]
    alarm(config, AS_OF.date())
    second = admit(config, "by hand", "on_demand", actor="ann")
    assert not second["admitted"]
    assert "run nightly was admitted" in second["reason"]
    assert [(answer, run) for _, answer, run in answers(config)] == [("started", "nightly")] + [("joined", "nightly")] * 2
    assert arbiter.leading(Ledger(config.ledger).requests.served_by(config.name, "nightly")).trigger == "drift"


def test_an_alarm_that_is_raised_while_a_run_is_on_its_way_joins_it_before_it_is_judged(config: Config) -> None:
    assert admit(config, "nightly", "schedule")["admitted"]
    alarm(config, AS_OF.date())
    assert join_alarms(config, AS_OF, "nightly") == "drift"
    assert answers(config) == [("schedule", "started", "nightly"), ("drift", "joined", "nightly")]
    assert join_alarms(config, AS_OF, "nightly") == "drift"
    decide(config, "nightly")
    assert "no request is open" in admit(config, "rung", "")["reason"]
    assert answers(config) == [("schedule", "started", "nightly"), ("drift", "joined", "nightly")]


def test_an_alarm_joins_no_run_within_its_cooldown_and_none_that_nobody_admitted(config: Config) -> None:
    alarm(config, AS_OF.date() - DAY)
    assert admit(config, "first", "")["trigger"] == "drift"
    decide(config, "first")
    assert admit(config, "second", "on_demand", force=True)["trigger"] == "on_demand"
    alarm(config, AS_OF.date(), "performance")
    assert join_alarms(config, AS_OF, "second") == "on_demand"
    assert join_alarms(config, AS_OF, "a stranger") is None
    assert answers(config)[-1][1] == "open"


def test_an_alarm_that_waits_is_served_by_the_next_training_after_its_cooldown(config: Config) -> None:
    alarm(config, AS_OF.date() - DAY)
    assert admit(config, "first", "")["trigger"] == "drift"
    decide(config, "first")
    alarm(config, AS_OF.date(), "performance")
    soon = AS_OF + 2 * DAY
    assert admit(config, "second", "schedule", as_of=soon, force=True)["trigger"] == "schedule"
    assert answers(config)[1] == ("performance", "waits", "second")
    seen = Ledger(config.ledger).requests.all(config.name)[1]
    assert seen.last is not None
    assert "cooldown until 2025-02-21" in seen.last.reason


def test_an_alarm_whose_training_failed_asks_again_and_is_in_no_cooldown(config: Config) -> None:
    alarm(config, AS_OF.date())
    steps.run("request_for_new_data", config, AS_OF, {"run_id": "ingest 1", "accepted": 7})
    assert admit(config, "first", "")["trigger"] == "drift"
    next_night = admit(config, "second", "schedule", as_of=AS_OF + DAY, force=True)
    assert (next_night["admitted"], next_night["trigger"]) == (True, "drift")
    assert answers(config) == [
        ("drift", "started", "second"),
        ("new_data", "joined", "first"),
        ("schedule", "joined", "second"),
    ]
    # The first one is cleared, and comes to a decision in the end: the alarm is served.
    assert admit(config, "first", "")["trigger"] == "drift"
    decide(config, "first")
    assert admit(config, "third", "schedule", as_of=AS_OF + 2 * DAY, force=True)["trigger"] == "schedule"


def test_an_alarm_whose_training_failed_is_not_answered_again_while_nothing_is_new(config: Config) -> None:
    alarm(config, AS_OF.date())
    assert admit(config, "first", "")["admitted"]
    assert "run first was admitted" in admit(config, "by hand", "on_demand")["reason"]
    assert answers(config) == [("drift", "started", "first"), ("on_demand", "joined", "first")]


def test_a_run_that_is_refused_and_cleared_asks_again(config: Config) -> None:
    late = AS_OF + 10 * DAY
    assert "look at the feed" in admit(config, "nightly", "schedule", as_of=late)["reason"]
    assert answers(config) == [("schedule", "refused", "nightly")]
    assert admit(config, "nightly", "schedule")["admitted"]
    assert answers(config) == [("schedule", "started", "nightly")]


def test_nothing_new_leaves_an_alarm_waiting(config: Config) -> None:
    alarm(config, AS_OF.date())
    assert "look at the feed" in admit(config, "rung", "", as_of=AS_OF + 10 * DAY)["reason"]
    assert answers(config) == [("drift", "waits", "rung")]
    assert admit(config, "nightly", "schedule")["trigger"] == "drift"


def test_no_rows_are_no_new_data(config: Config) -> None:
    assert steps.run("request_for_new_data", config, AS_OF, {"run_id": "ingest 1", "accepted": 0})["requests"] == 0
    assert answers(config) == []


def test_saying_drift_relaxes_nothing(config: Config) -> None:
    with pytest.raises(ValueError, match="run r1 serves no request by drift"):
        judge.judge(config, AS_OF, "a model", run=Run(id="r1", trigger="drift"))


def test_the_list_of_requests_says_who_asked_and_how_each_was_answered(
    config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(config, "nightly", "schedule", actor="[bold]ann\x1b[2J")
    monkeypatch.setattr("ml.__main__.load", lambda path: config)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["requests"]) == 0
    told = capsys.readouterr().out
    assert "schedule" in told
    assert "started" in told
    assert "[bold]ann" in told
    assert "\x1b" not in told
    assert main(["requests", "--json"]) == 0
    assert '"answer": "started"' in capsys.readouterr().out
