"""A released version reaches all traffic if it behaves, and steps back by itself, at the right step, if it does not."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml import pipeline
from ml.__main__ import main
from ml.config import Config, load
from ml.config.release import Release as Plan
from ml.decision import release as releases
from ml.decision.release import Looked
from ml.decision.traffic import seen
from ml.evaluation.release import Check
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.ledger.releases import Course, NoRelease, Release, ReleaseMoved, Releases
from ml.ledger.run import Run
from ml.model import copies
from ml.model.inputs import Columns
from ml.model.version import BrokenVersion, Version
from ml.quality.predictions import load_predictions
from ml.registry.versions import Registry
from ml.serving import challengers
from ml.serving.explore import Exploration
from ml.serving.service import Service
from ml.store.feast import materialize
from tests.deployments import FIRST_AS_OF, MORE_FRAUDS, small_told, write
from tests.monitoring import living
from tests.serving.conftest import events_of, patient

DAY = dt.timedelta(days=1)
EVENTS = 600
PLAN = {
    "steps": [{"share": share, "requests": requests, "hours": 12} for share, requests in ((0, 500), (10, 30), (50, 150))],
    "split": "customer",
    "guardrails": {"latency": {"value": 100, "unit": "milliseconds", "reason": "a busy test machine"}},
}

Change = Callable[[Version, Columns], np.ndarray]


def told() -> dict[str, Any]:
    """A bank with frauds enough that the gate sees how weak the champion is."""
    found = small_told()
    found["feed"] |= MORE_FRAUDS
    return found | {"release": PLAN}


@pytest.fixture(scope="module")
def underway(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A weak champion, and a challenger that the gate has just promoted: its release is open."""
    folder = tmp_path_factory.mktemp("underway")
    config = load(write(folder, told()))
    living.let_pass(config, 0, 0)
    living.crown(config, None, iterations=4)
    materialize(config, FIRST_AS_OF)
    records = pipeline.run(pipeline.training(config), config, FIRST_AS_OF, explain=False)
    assert "released in steps: it answers 0 %" in records["promote"]["note"]
    return config


@pytest.fixture
def config(underway: Config, tmp_path: Path) -> Config:
    """A copy that a test may change."""
    shutil.copytree(underway.home, tmp_path / "home")
    return patient(load(write(tmp_path, told())))


class Changed(Version):
    """A version that scores in another way than it should."""

    change: Change

    def score_few(self, columns: Columns) -> np.ndarray:
        return self.change(self, columns)


def changed(version: Version, change: Change) -> Version:
    made = Changed(version.number, version.sha256, version.model, version.threshold)
    object.__setattr__(made, "change", lambda _self, columns: change(version, columns))
    return made


def serve(config: Config, day: int, change: Change | None = None) -> list[dict[str, Any]]:
    """Score a day's events by a service that is started and stopped, and take its log into the lake; the answers."""
    service = Service(config)
    service.start()
    if change is not None and service.challengers.now is not None:
        now = service.challengers.now
        (contender,) = now.contenders
        assert contender.version is not None
        changed_contender = replace(contender, version=changed(contender.version, change))
        service.challengers.now = replace(now, contenders=[changed_contender])
    events = [event | {"event_time": dt.datetime.fromisoformat(event["event_time"])} for event in events_of(config, EVENTS)]
    events = [e | {"event_id": f"{e['event_id']} {day}", "event_time": e["event_time"] + (day - 1) * DAY} for e in events]

    async def ask() -> list[dict[str, Any]]:
        chunks = [events[start : start + 10] for start in range(0, len(events), 10)]
        return [answer for chunk in chunks for answer in await service.score(chunk)]

    answers = asyncio.run(ask())
    service.stop()
    load_predictions(config, FIRST_AS_OF + (day + 1) * DAY)
    return answers


def look(config: Config, day: int) -> Looked:
    return releases.release(config, FIRST_AS_OF + (day + 1) * DAY)


def checks(config: Config, as_of: dt.datetime) -> list[Check]:
    """What a look would find."""
    course = Ledger(config.ledger).releases.open(config.name)
    assert course is not None
    plan = Plan.model_validate(course.release.plan)
    return seen(config, as_of, course).checks(plan, course.step, course.release.expected["log_odds"])


def champion(config: Config) -> str | None:
    return Ledger(config.ledger).moves.champion(config.name)


def course(config: Config) -> Course:
    return Ledger(config.ledger).releases.all(config.name)[-1]


def release_again(config: Config, **plan: Any) -> None:
    """Release the version of the last release by another verdict, with changes to its plan."""
    last = {field.name: getattr(course(config).release, field.name) for field in fields(Release)}
    last |= {"judgement": "another", "plan": last["plan"] | plan}
    Ledger(config.ledger).releases.begin(Release(**last))


def predictions(config: Config) -> pd.DataFrame:
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        return connection.execute("SELECT * FROM predictions").df()


def test_a_good_version_reaches_all_traffic_step_by_step(config: Config) -> None:
    steps = []
    for day in (1, 2, 3):
        answers = serve(config, day)
        assert champion(config) == "1"
        steps.append(({answer["role"] for answer in answers}, look(config, day)))
    assert [found.note for _, found in steps][-1].startswith("version 2 finished"), steps
    assert [roles for roles, _ in steps] == [{"champion"}, {"champion", "canary"}, {"champion", "canary"}]
    assert [(found.word, found.share) for _, found in steps] == [("advanced", 10), ("advanced", 50), ("finished", 100)]
    assert champion(config) == "2"
    assert {answer["version"] for answer in serve(config, 4)} == {"2"}
    assert look(config, 4).note == "no version is being released"
    rows = predictions(config)
    of_release = rows[rows["release"].notna()]
    assert of_release.groupby("event_id")["version"].apply(set).eq({"1", "2"}).all(), "each event has both scores"
    said = [message.text for message in Ledger(config.ledger).messages.all(config.name) if message.event == "release"]
    assert [text.split(":")[0] for text in said] == [
        "Release of version 2 advanced at 10 % of the traffic",
        "Release of version 2 advanced at 50 % of the traffic",
        "Release of version 2 finished at 100 % of the traffic",
    ]


def test_a_key_is_answered_by_one_version_and_the_split_is_as_large_as_it_says(config: Config) -> None:
    serve(config, 1)
    look(config, 1)
    serve(config, 2)
    look(config, 2)
    serve(config, 3)
    rows = predictions(config)
    answered = rows[(rows["role"] != "shadow") & (rows["share"] == 0.5)]
    assert answered.groupby("key")["version"].nunique().max() == 1
    assert 0.35 < (answered.groupby("key")["arm"].first() == "canary").mean() < 0.65
    assert set(answered["arm"]) == {"canary", "control"}
    small = rows[(rows["role"] == "canary") & (rows["share"] == 0.1)]
    assert set(small["key"]) <= set(answered.loc[answered["arm"] == "canary", "key"]), "who was in the canary stays in it"


def test_too_few_requests_or_hours_are_no_success(config: Config) -> None:
    serve(config, 1)
    early = releases.release(config, FIRST_AS_OF + dt.timedelta(hours=11))
    assert (early.word, early.share) == ("held", 0)
    assert "inconclusive: 0 of 500 requests in 11.0 of 12 hours" in early.note
    assert look(config, 1).word == "advanced"
    again = releases.release(config, FIRST_AS_OF + 2 * DAY + dt.timedelta(hours=13))
    assert (again.word, again.share) == ("held", 10)
    assert "inconclusive: 0 of 30 requests in 13.0 of 12 hours" in again.note
    late = releases.release(config, FIRST_AS_OF + 40 * DAY)
    assert (late.word, champion(config)) == ("expired", "1")


def slow(version: Version, columns: Columns) -> np.ndarray:
    time.sleep(0.12)
    return version.score_few(columns)


def raising(version: Version, columns: Columns) -> np.ndarray:
    raise RuntimeError("an input is missing")


def shifted(version: Version, columns: Columns) -> np.ndarray:
    scores = version.score_few(columns).astype(np.float64)
    odds = scores / (1 - scores) * np.exp(1.5)
    return odds / (1 + odds)


def alerting(version: Version, columns: Columns) -> np.ndarray:
    """A third of the events are alerts, whatever they are."""
    is_drawn = np.round(columns["amount"] * 100) % 3 == 0
    return np.where(is_drawn, 0.99, version.score_few(columns))


FAULTS = {"latency": slow, "errors": raising, "scores": shifted, "alerts": alerting}


@pytest.mark.parametrize("check", FAULTS)
@pytest.mark.parametrize("step", [0, 1])
def test_a_fault_steps_back_at_its_step_and_no_request_fails(config: Config, check: str, step: int) -> None:
    for day in range(1, step + 1):
        serve(config, day)
        assert look(config, day).word == "advanced"
    answers = serve(config, step + 1, FAULTS[check])
    assert len(answers) == EVENTS
    found = look(config, step + 1)
    if step and check != "scores":
        # Of sixty events in each arm some more days are needed to be certain.
        for day in range(step + 2, step + 12):
            if found.word != "held":
                break
            serve(config, day, FAULTS[check])
            found = look(config, day)
    assert (found.word, found.share) == ("stepped back", 0), found.note
    assert f"{check}: " in found.note
    assert champion(config) == "1"
    assert {answer["role"] for answer in serve(config, 20)} == {"champion"}


def test_a_version_that_cannot_be_opened_steps_back(config: Config) -> None:
    (course,) = Ledger(config.ledger).releases.all(config.name)
    from ml.model.version import KIND, hash_of

    file = config.home / KIND / hash_of(course.release.hashes) / "model.onnx"
    file.write_bytes(file.read_bytes() + b" ")
    assert {answer["version"] for answer in serve(config, 1)} == {"1"}
    found = look(config, 1)
    assert found.word == "stepped back"
    assert "errors: 600 of 600 events could not be scored" in found.note


def test_a_version_that_is_worse_on_matured_labels_steps_back(config: Config) -> None:
    serve(config, 1)
    assert look(config, 1).word == "advanced"
    rows = predictions(config).pivot(index="event_id", columns="version", values="score")
    gone = (rows["1"].rank() - rows["2"].rank()).sort_values(ascending=False).index[:60]
    known = FIRST_AS_OF + 3 * DAY
    answers = [
        {"event_id": event, "label": int(event in set(gone)), "reported_at": known, "known_at": known, "batch_id": "answers"}
        for event in rows.index
    ]
    Lake(config.lake).append_batches(schema.LABELS, pa.Table.from_pylist(answers, schema.LABELS_SCHEMA))
    before = releases.release(config, FIRST_AS_OF + config.label_delay)
    assert before.word == "held", "nothing has matured"
    found = releases.release(config, FIRST_AS_OF + config.label_delay + 2 * DAY)
    assert (found.word, champion(config)) == ("stepped back", "1")
    assert "labels: average precision" in found.note


def test_a_version_that_lets_frauds_pass_steps_back_before_labels_have_matured(config: Config) -> None:
    for day in (1, 2):
        serve(config, day)
        assert look(config, day).word == "advanced"
    for day in (3, 4, 5):
        serve(config, day)
    rows = predictions(config)
    passed = rows[(rows["role"] == "canary") & (rows["share"] == 0.5) & (rows["decision"] == "pass")]
    known = FIRST_AS_OF + 5 * DAY + dt.timedelta(hours=1)
    answers = [
        {"event_id": event, "label": 1, "reported_at": known, "known_at": known, "batch_id": "answers"}
        for event in passed.groupby(passed["event_time"].dt.date).head(20)["event_id"]
    ]
    assert known < FIRST_AS_OF + config.label_delay, "nothing has matured"
    Lake(config.lake).append_batches(schema.LABELS, pa.Table.from_pylist(answers, schema.LABELS_SCHEMA))
    assert all(check.is_clear for check in checks(config, known - dt.timedelta(minutes=1)))
    found = releases.release(config, known)
    assert (found.word, champion(config)) == ("stepped back", "1")
    assert f"early: {len(answers)} positives among" in found.note


def test_alerts_that_are_let_through_count_as_alerts_of_whoever_answered(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here all of them are; the version that only scores lets nothing through."""
    serve(config, 1)
    assert look(config, 1).word == "advanced"
    monkeypatch.setattr(Exploration, "lets_through", lambda *_: True)
    answers = serve(config, 2, lambda version, columns: np.ones(len(version.score_few(columns))))
    canary = [answer for answer in answers if answer["role"] == "canary"]
    assert {(answer["decision"], answer["explored"]) for answer in canary} == {("pass", True)}
    assert "alert" not in {answer["decision"] for answer in answers}
    course = Ledger(config.ledger).releases.open(config.name)
    assert course is not None
    rows = seen(config, FIRST_AS_OF + 3 * DAY, course).rows
    rows = rows[rows["share"] == 0.1]
    assert set(rows["new_decision"]) == {"alert"}
    scored = predictions(config)
    assert scored.loc[scored["role"] == "shadow", "explored"].isna().all()
    assert scored.loc[scored["explored"].eq(True), "role"].isin(["canary", "champion"]).all()


def test_another_champion_meanwhile_ends_the_release(config: Config) -> None:
    third = living.crown(config, "1", iterations=6)
    assert {answer["version"] for answer in serve(config, 1)} == {third}
    found = look(config, 1)
    assert (found.word, champion(config)) == ("superseded", third)


def finishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look finds that the new version has shown enough."""
    monkeypatch.setattr(releases, "decide", lambda *seen: ("finished", "it has shown enough"))


def dies(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_look_that_is_cut_off_before_its_promotion_has_moved_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    finishes(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(copies, "check_copy", dies)
        with pytest.raises(KeyboardInterrupt):
            look(config, 1)
    assert (champion(config), course(config).is_open) == ("1", True)
    assert look(config, 2).word == "finished"
    assert champion(config) == "2"


def test_a_look_that_is_cut_off_after_its_promotion_has_finished(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    finishes(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "set_stage_tag", dies)
        with pytest.raises(KeyboardInterrupt):
            look(config, 1)
    assert (champion(config), course(config).moves[-1].word) == ("2", "finished")
    assert look(config, 2).note == "no version is being released"
    assert [move.to_version for move in Ledger(config.ledger).moves.history(config.name)] == ["1", "2"]


def test_a_version_that_became_champion_in_another_way_has_finished(config: Config) -> None:
    living.move(config, "1", "2")
    assert (look(config, 1).word, champion(config)) == ("finished", "2")
    assert len(Ledger(config.ledger).moves.history(config.name)) == 2


def stop(config: Config, day: int) -> Looked:
    return releases.end(config, FIRST_AS_OF + day * DAY, "stopped", "complaints", Run(actor="ann"))


def test_a_stop_just_before_the_promotion_wins(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    finishes(monkeypatch)
    check = copies.check_copy
    monkeypatch.setattr(copies, "check_copy", lambda folder: (stop(config, 1), check(folder)))
    found = look(config, 1)
    assert (found.word, found.share) == ("stopped", 0)
    assert (champion(config), course(config).moves[-1].actor) == ("1", "ann")
    assert len(Ledger(config.ledger).moves.history(config.name)) == 1


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens once between the reading of the release and what is recorded of it."""
    newest, left = Releases.newest, [happens]

    def read(self: Releases, model: str) -> Course | None:
        found = newest(self, model)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(Releases, "newest", read)


def test_a_stop_just_after_the_promotion_is_told_that_it_came_too_late(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    finishes(monkeypatch)
    meanwhile(monkeypatch, lambda: look(config, 1))
    with pytest.raises(NoRelease, match=r"version 2 finished at 100 % .*rollback"):
        stop(config, 1)
    assert (champion(config), course(config).moves[-1].word) == ("2", "finished")


def test_a_stop_and_a_look_that_holds_at_once_stop_the_release(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: look(config, 1))
    assert stop(config, 1).word == "stopped"
    assert [move.word for move in course(config).moves] == ["held", "stopped"]


def test_who_agrees_to_a_step_has_not_agreed_to_the_next_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(releases, "decide", lambda *seen: ("advanced", "somebody else agreed"))
        meanwhile(patch, lambda: look(config, 1))
        with pytest.raises(ReleaseMoved, match="its release was moved at the same time"):
            releases.end(config, FIRST_AS_OF + DAY, "approved", "I looked at it", Run(actor="ann"))
    assert not course(config).approved


def test_a_run_that_says_its_word_again_says_it_once(config: Config) -> None:
    run = Run("approve 1", "ann")
    for word in ("approved", "approved", "stopped", "stopped"):
        assert releases.end(config, FIRST_AS_OF + DAY, word, "by the form", run).version == "2"  # type: ignore[arg-type]
    assert [move.word for move in course(config).moves] == ["approved", "stopped"]
    told = [(message.process, message.run_id) for message in Ledger(config.ledger).messages.all(config.name)]
    assert told[-2:] == [("approve", "approve 1")] * 2


def test_a_word_about_a_release_that_has_ended_says_nothing_about_the_next_one(config: Config) -> None:
    ended = course(config).release
    stop(config, 1)
    release_again(config)
    for word in ("approved", "stopped"):
        with pytest.raises(NoRelease, match="that release has ended; version 2 was released since"):
            releases.end(config, FIRST_AS_OF + DAY, word, "by the form", Run("a form", "ann"), str(ended.id))  # type: ignore[arg-type]
    assert course(config).moves == ()


def test_a_broken_version_is_opened_less_and_less_often_and_keeps_its_share(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, tried = [0.0], list[float]()

    def fails(*_: Any) -> None:
        tried.append(seconds[0])
        raise BrokenVersion("its files are others")

    monkeypatch.setattr(challengers, "opened", fails)
    follows = challengers.Challengers(config, clock=lambda: seconds[0])

    def follow(*at: float) -> challengers.Underway:
        for seconds[0] in at:
            follows.look()
        assert follows.now is not None
        return follows.now

    assert follow(0, 0.9, 1, 2.9).share == 0
    monkeypatch.setattr(releases, "decide", lambda *seen: ("advanced", "it has shown enough"))
    look(config, 1)
    now = follow(2.95, 3, 6.9)
    (contender,) = now.contenders
    assert (now.share, contender.version, contender.broken) == (0.1, None, "BrokenVersion: its files are others")
    assert tried == [0, 1, 3]
    stop(config, 2)
    release_again(config)
    follow(6.95, 7.9, 7.95)
    assert tried[3:] == [6.95, 7.95], "another release is tried at once"


def test_a_person_agrees_before_a_step_and_stops_a_release(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    path, releases_of = str(config.home.parent / "deployment.yaml"), Ledger(config.ledger).releases

    def say(word: str, day: int) -> None:
        as_of = (FIRST_AS_OF + day * DAY).isoformat()
        who = ["--as-of", as_of, "--actor", "ann", "--reason", "I looked at it"]
        assert main(["releases", word, "--config", path, *who]) == 0

    say("stop", 1)
    (stopped,) = releases_of.all(config.name)
    assert (stopped.is_open, stopped.moves[-1].actor) == (False, "ann")
    release_again(config, approval=10)
    serve(config, 1)
    assert look(config, 1).waits
    assert look(config, 2).word == "waits"
    say("approve", 3)
    advanced = look(config, 3)
    assert (advanced.word, advanced.share, advanced.waits) == ("advanced", 10, False)
    capsys.readouterr()
    assert main(["releases", "list", "--config", path]) == 0
    listed = capsys.readouterr().out
    assert "in place of version 1" in listed
    assert listed.index("at 10 %") < listed.index("stopped")
    told = [message.text for message in Ledger(config.ledger).messages.all(config.name) if message.event == "release"]
    assert [sum(word in text for text in told) for word in ("stopped", "waits", "approved", "advanced")] == [1, 1, 1, 1]
