"""Policies over one history: what the live steps decided, once for all policies, and the same after a stop."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml import pipeline, steps
from ml.__main__ import main
from ml.artifacts import Folder
from ml.config import Config, load
from ml.errors import BadInput
from ml.evaluation.metrics import average_precision
from ml.ledger.ledger import Ledger
from ml.model.model import Model
from ml.monitoring import performance
from ml.monitoring.traffic import midnight
from ml.replay import nights, play
from ml.replay.cache import Cache
from ml.replay.history import History, prepare
from ml.replay.nights import Nights
from ml.replay.oracle import oracle
from ml.replay.policy import Policy
from ml.replay.replay import Replay, replay
from ml.replay.scores import daily, in_office, joined, scored
from ml.simulate.feed import write_until
from ml.training import fit
from tests import deployments
from tests.deployments import FIRST_AS_OF, small_told

DAY = dt.timedelta(days=1)
NIGHTS = 3
LAST = FIRST_AS_OF + (NIGHTS - 1) * DAY
NAMES = ("never", "any")
OWN = ("version", "model_hash", "challenger_hash", "champion_hash", "attribution_drift")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a deployment that trains on new data of two days."""
    told = small_told()
    told["training"]["model"] |= {"iterations": 20}
    told["retraining"] = {"new_data": {"value": 2, "unit": "days", "reason": "a test declares it"}}
    return deployments.write(tmp_path_factory.mktemp("replay"), told)


@pytest.fixture(scope="module")
def live(path: Path) -> Config:
    """The deployment after its nights: an ingest, a look by monitoring, and a training if new data or an alarm ask for it."""
    config = load(path)
    for number in range(NIGHTS):
        night = FIRST_AS_OF + number * DAY
        write_until(config, (night - DAY).date())
        pipeline.run(pipeline.INGEST, config, night, {"run_id": f"ingest {night:%m-%d}"})
        steps.run("monitor", config, night, {"run_id": f"monitor {night:%m-%d}"})
        given = {"run_id": f"train {night:%m-%d}", "trigger": None}
        pipeline.run(pipeline.training(config), config, night, given, explain=False)
    return config


def again(live: Config, names: tuple[str, ...] = NAMES) -> Replay:
    """The policies over what the lake holds now."""
    policies = [Policy.parse(name) for name in names]
    return replay(live, policies, live.home / "replay", None, LAST.date(), lake=True)


@pytest.fixture(scope="module")
def found(live: Config) -> Replay:
    return again(live)


@pytest.fixture(scope="module")
def history(live: Config) -> History:
    return prepare(live, live.home / "replay", None, LAST.date(), lake=True, say=lambda _: None)


def config_of(history: History, name: str) -> Config:
    """The deployment under a policy, in its home."""
    return play.home_of(history, Policy.parse(name), trials=10)


def decided(config: Config) -> list[dict[str, Any]]:
    """All that was decided, except by which run and what names a run's own files."""
    answers = [asdict(decision) for decision in Ledger(config.ledger).decisions.all(config.name)]
    return [_without_runs(answer) for answer in answers]


def _without_runs(answer: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in answer.items() if name != "run_id"}
    evidence = json.loads(json.dumps(told["evidence"], default=str))
    for who in ("challenger", "champion"):
        evidence[who] = {name: value for name, value in evidence[who].items() if name not in OWN}
    kept = {name: value for name, value in evidence.items() if name not in OWN}
    kept["guardrails"] = [check for check in evidence["guardrails"] if check["name"] not in ("latency", "size")]
    return told | {"evidence": kept}


def test_a_replay_gives_exactly_the_decisions_that_the_live_steps_took(live: Config, found: Replay, history: History) -> None:
    """Although the lake, and what was published from it, hold days that each of its nights must not see."""
    replayed = config_of(history, "any")
    assert len(decided(live)) > 1
    assert decided(replayed) == decided(live)
    moves = [
        [
            (move.as_of, move.action, move.from_version, move.to_version)
            for move in Ledger(config.ledger).moves.history(live.name)
        ]
        for config in (live, replayed)
    ]
    assert moves[0] == moves[1] != []


def test_a_replay_sees_the_days_as_monitoring_saw_them(live: Config, found: Replay, history: History) -> None:
    seen = [
        [(r.day, r.signal, r.value, r.state) for r in Ledger(config.ledger).signals.readings(config.name, "1")]
        for config in (live, config_of(history, "any"))
    ]
    assert seen[0] == seen[1] != []


def test_what_triggers_differs_by_policy(found: Replay) -> None:
    trained = {course.policy: course.trainings for course in found.courses}
    assert trained["never"] == 1 < trained["any"]


def test_one_training_serves_all_policies_and_each_has_a_registry_of_its_own(found: Replay, history: History) -> None:
    shared = Folder(history.folder / "shared").list(fit.KIND)
    fitted = {name: set(Folder(config_of(history, name).home).list(fit.KIND)) for name in NAMES}
    assert fitted["never"] < fitted["any"] == set(shared)
    (first,) = fitted["never"]
    own, other = (fit.describe(config_of(history, name), first) for name in NAMES)
    assert own.mlflow_run != other.mlflow_run
    assert asdict(own) | {"mlflow_run": ""} == asdict(other) | {"mlflow_run": ""}
    folders = [fit.folder_of(config_of(history, name), first) for name in NAMES]
    assert Model(folders[0]).estimator.canonical_bytes() == Model(folders[1]).estimator.canonical_bytes()


def test_days_are_scored_by_the_champion_in_office_once_their_answers_are_in(history: History) -> None:
    """As if the first champion had been in office before: days of the archive have all their answers."""
    config, first = config_of(history, "never"), (FIRST_AS_OF - 11 * DAY).date()
    champions = {FIRST_AS_OF - 20 * DAY: "1"}
    figures = daily(history, first, lambda rows: scored(config, champions, rows))
    newest = (LAST - history.config.label_delay - 2 * DAY).date()
    assert (min(figures), max(figures)) == (first, newest)
    rows = joined(config, midnight(newest), midnight(newest + DAY))
    answered = performance.answers(config, LAST, [newest])
    labels = answered.reindex(rows["event_id"]).fillna(0).to_numpy(np.int64)
    assert figures[newest] == average_precision(labels, Model(fit.registry(config).fetch("1")).score(rows))


def test_the_oracle_learns_from_the_true_labels_of_all_events_before_its_night(history: History) -> None:
    night = FIRST_AS_OF - 11 * DAY
    earlier = dataclasses.replace(history, nights=tuple(night + number * DAY for number in range(14)))
    bound = oracle(earlier, night.date())
    newest = (LAST - history.config.label_delay - 2 * DAY).date()
    assert (min(bound), max(bound)) == (night.date(), newest)
    assert np.mean([value for value in bound.values() if value is not None]) > 0.1, "the base rate is .01"


def test_an_event_at_the_instant_of_a_move_is_scored_by_the_new_champion() -> None:
    champions = {FIRST_AS_OF: "1", FIRST_AS_OF + DAY: "2"}
    times = pd.Series(pd.to_datetime([FIRST_AS_OF, FIRST_AS_OF + DAY * 0.99, FIRST_AS_OF + DAY, FIRST_AS_OF + 9 * DAY]))
    assert list(in_office(champions, times)) == ["1", "1", "2", "2"]


def test_a_replay_that_was_stopped_goes_on_and_comes_to_the_same(
    live: Config, found: Replay, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of its first training, and again when a night was decided and not noted yet."""
    stopped = "any:own:retraining.budget=3"
    policy, write = Policy.parse(stopped), Nights.write

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for place, name in ((Cache, "_fitted"), (nights.Nights, "write")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, dies)
            with pytest.raises(KeyboardInterrupt):
                play.play(history, policy, 10, lambda _: None)
    assert Nights.write is write
    config = play.play(history, policy, 10, lambda _: None)
    assert decided(config) == decided(config_of(history, "any"))
    assert Nights.read(config.home).champions == Nights.read(config_of(history, "any").home).champions


def test_what_was_replayed_is_not_replayed_again(live: Config, found: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nights, "train", lambda *_: pytest.fail("a night was played again"))
    assert again(live) == found


def test_the_command_prints_the_courses(path: Path, live: Config, found: Replay, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["replay", "--config", str(path), "--policies", "never,any", "--to", str(LAST.date()), "--lake"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [course["policy"] for course in told["courses"]] == list(NAMES)
    assert told["courses"][1]["trainings"] == found.courses[1].trainings
    assert main(words) == 0
    assert "0 matured days" in capfd.readouterr().out


def test_nights_that_the_history_does_not_have_are_refused(live: Config, tmp_path: Path) -> None:
    asked = {"lake": True, "say": lambda _: None}
    with pytest.raises(BadInput, match=r"holds what came until .* ingest, or end earlier"):
        prepare(live, tmp_path, None, (LAST + 9 * DAY).date(), **asked)
    with pytest.raises(BadInput, match="give days in their order"):
        prepare(live, tmp_path, LAST.date(), (LAST - DAY).date(), **asked)
    with pytest.raises(BadInput, match="the live feed begins on"):
        prepare(live, tmp_path, (FIRST_AS_OF - DAY).date(), LAST.date(), lake=False, say=lambda _: None)
