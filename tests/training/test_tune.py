"""A search of settings: workers share a study on disk, may be killed, and only a better winner replaces the file's settings."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml import artifacts
from ml.config import Config, load
from ml.replay.policy import REFIT
from ml.training import chosen, trials, tune
from ml.training.chosen import ChosenSettings
from ml.training.tune import CHAMPION, FILE, Plan, choose_settings, plan_tuning, search
from tests.killing import Step, processes
from tests.training import rows
from tests.training.rows import AS_OF, DAY

MOST = 6


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with a frozen training set, and the training set's address."""
    config = rows.deployment(tmp_path_factory.mktemp("frozen"))
    return config.home, rows.frozen(config)


@pytest.fixture
def start(frozen: tuple[Path, str], tmp_path: Path) -> Any:
    """Give a deployment with that training set in a folder of its own; call it with what the tuning says otherwise."""

    def made(**tuning: Any) -> tuple[Config, str]:
        config = rows.deployment(tmp_path, **tuning)
        shutil.copytree(frozen[0], config.home)
        return config, frozen[1]

    return made


def _of(folder: Path) -> Config:
    return load(folder / "deployment.yaml")


def _search(folder: Path, study: str, worker: int) -> None:
    search(_of(folder), AS_OF, study, worker)


def _folder(config: Config, study: str) -> Path:
    return artifacts.local(config).path(chosen.KIND, study)


def _trials(config: Config, study: str) -> list[Any]:
    return trials.open_study(_folder(config, study), study).get_trials()


def _settled(found: list[Any]) -> list[Any]:
    """Trials that came to an end of their own, or were lost and not repeated."""
    repeated = {trial.user_attrs.get(trials.REPEATS) for trial in found}
    return [trial for trial in found if trial.number not in repeated]


def test_a_search_finds_better_settings_than_poor_ones_and_says_why_they_won(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    assert plan.workers == [0, 1]
    told = search(config, AS_OF, plan.study, 0)
    assert (told.complete + told.pruned, told.failed) == (MOST, 0)
    assert search(config, AS_OF, plan.study, 1).complete == 0, "the study had all its trials"
    record = choose_settings(config, AS_OF, plan.study)
    assert record.tuned
    assert record.value > record.file_value
    assert record.value == pytest.approx(sum(fold.chosen for fold in record.folds) / 2)
    assert record.file_value == pytest.approx(sum(fold.file for fold in record.folds) / 2)
    assert record.model == config.training.model.model_dump() | record.best
    assert record.trials == {"complete": told.complete, "pruned": told.pruned, "failed": 0}
    assert set(record.importance) == {"learning_rate", "depth"}
    assert record.note.startswith(f"**TUNED** in {MOST} trials")
    assert f"learning_rate 0.01 → {record.best['learning_rate']:.4g}" in record.note
    assert json.loads((_folder(config, plan.study) / chosen.CHOSEN).read_text()) == dataclasses.asdict(record)


def test_every_step_of_a_search_does_nothing_the_second_time(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    assert plan_tuning(config, AS_OF, training_set) == plan
    search(config, AS_OF, plan.study, 0)
    record = choose_settings(config, AS_OF, plan.study)
    journal = _folder(config, plan.study) / trials.JOURNAL
    before = [trial.number for trial in _trials(config, plan.study)]
    assert search(config, AS_OF, plan.study, 0).complete == record.trials["complete"]
    assert choose_settings(config, AS_OF, plan.study) == record
    assert [trial.number for trial in _trials(config, plan.study)] == before
    assert all(json.loads(line) for line in journal.read_text().splitlines()), "lines of JSON and nothing that is pickled"


def test_one_worker_with_a_fixed_number_of_trials_finds_the_same_again(start: Any, tmp_path: Path) -> None:
    config, training_set = start()
    elsewhere = rows.deployment(tmp_path / "elsewhere")
    shutil.copytree(config.home, elsewhere.home)
    found = []
    for here in (config, elsewhere):
        plan = plan_tuning(here, AS_OF, training_set)
        search(here, AS_OF, plan.study, 0)
        record = choose_settings(here, AS_OF, plan.study)
        found.append([(trial.params, trial.values, trial.state) for trial in _trials(here, plan.study)])
        found.append((record.model, record.value, record.folds, record.trials, record.importance))
    assert found[:2] == found[2:]


def test_workers_at_once_lose_and_double_no_trial(start: Any) -> None:
    config, training_set = start(trials=rows.trials(16), workers=3)
    plan = plan_tuning(config, AS_OF, training_set)
    workers = [processes.Process(target=_search, args=(config.home.parent, plan.study, worker)) for worker in plan.workers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    found = _trials(config, plan.study)
    assert len(found) == 16
    lost = [t for t in found if t.state.name not in ("COMPLETE", "PRUNED") and trials.ERROR not in t.user_attrs]
    assert lost == [], "a trial ends, or says why it could not be fitted"
    assert len({json.dumps(trial.params, sort_keys=True) for trial in found}) == 16, "no two draws were the same"
    told = [search(config, AS_OF, plan.study, worker) for worker in plan.workers]
    assert sum(worker.complete + worker.pruned + worker.failed for worker in told) == 16
    assert choose_settings(config, AS_OF, plan.study).trials["complete"] == sum(worker.complete for worker in told)


def test_a_killed_worker_goes_on_and_what_it_left_is_run_again(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    untouched = config.home.parent / "untouched"
    shutil.copytree(config.home, untouched)
    step = Step(_search, config.home.parent, plan.study, 0)
    seconds, lines = step.measure()
    dice = random.Random(f"search {os.getpid()}")  # noqa: S311
    kills = 0
    while kills < 10:
        shutil.rmtree(config.home)
        shutil.copytree(untouched, config.home)
        for _ in range(dice.randint(1, 3)):
            kills += step.kill(dice, seconds, lines)
        step.run()
        found = _trials(config, plan.study)
        assert {trial.state.name for trial in found} <= {"COMPLETE", "PRUNED", "FAIL"}, f"seed {os.getpid()}"
        assert len(_settled(found)) == MOST, f"seed {os.getpid()}"
        assert [t.state.name for t in _settled(found) if t.user_attrs.get(trials.ORIGIN) == FILE] == ["COMPLETE"]
        assert choose_settings(config, AS_OF, plan.study).file_value is not None


def test_settings_that_were_running_twice_when_their_worker_died_are_not_tried_again(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    folder = _folder(config, plan.study)
    space = trials.distributions(config.training.tuning, config.training.model)
    drawn = []
    for _ in range(4):
        shared = trials.open_study(folder, plan.study, (1,))
        trials.reclaim(shared, folder, 0, len(space))
        trial = trials.draw(shared, folder, 0, space, MOST)
        drawn.append((trial.user_attrs.get(trials.ORIGIN), trial.params))
    assert [origin for origin, _ in drawn] == [FILE] * 4, "the file's settings are repeated as often as it takes"
    trials.open_study(folder, plan.study).tell(trial.number, 0.5)
    lost = []
    for attempt in range(3):
        shared = trials.open_study(folder, plan.study, (attempt,))
        trials.reclaim(shared, folder, 0, len(space))
        lost.append(trials.draw(shared, folder, 0, space, MOST).params)
    assert lost[0] == lost[1] != lost[2]


def test_trials_of_another_worker_are_left_alone(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    folder = _folder(config, plan.study)
    space = trials.distributions(config.training.tuning, config.training.model)
    theirs = trials.draw(trials.open_study(folder, plan.study), folder, 1, space, MOST)
    search(config, AS_OF, plan.study, 0)
    assert _trials(config, plan.study)[theirs.number].state.name == "RUNNING"


def test_a_line_that_was_half_written_is_cut_off(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    journal = _folder(config, plan.study) / trials.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines()[-1][:40])
    assert search(config, AS_OF, plan.study, 0).failed == 0
    assert journal.read_bytes().startswith(whole + b"{")
    assert len(_trials(config, plan.study)) == MOST


def test_no_trial_begins_after_the_budget_is_spent_and_a_retry_has_no_budget_of_its_own(start: Any) -> None:
    config, training_set = start(budget={"value": 0.01, "unit": "minutes", "reason": "over before the second trial"})
    plan = plan_tuning(config, AS_OF, training_set)
    folder = _folder(config, plan.study)
    shared = trials.open_study(folder, plan.study)
    trial = trials.draw(shared, folder, 0, trials.distributions(config.training.tuning, config.training.model), MOST)
    trial.set_user_attr(trials.SECONDS, 1.0)
    told = search(config, AS_OF, plan.study, 0)
    assert (told.complete, told.failed, told.seconds) == (0, 1, 1.0)
    assert len(_trials(config, plan.study)) == 2, "what the killed worker ran waits for another worker"


def test_the_files_settings_are_evaluated_to_the_end_whatever_the_budget(start: Any) -> None:
    config, training_set = start(budget={"value": 0.01, "unit": "minutes", "reason": "over during the first trial"})
    plan = plan_tuning(config, AS_OF, training_set)
    search(config, AS_OF, plan.study, 0)
    record = choose_settings(config, AS_OF, plan.study)
    assert record.file_value is not None
    assert len(record.folds) == 2


def test_the_files_settings_are_kept_when_nothing_is_better(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    shared = trials.open_study(_folder(config, plan.study), plan.study)
    for value in (0.9, 0.5, 0.9):
        trial = shared.ask(fixed_distributions=trials.distributions(config.training.tuning, config.training.model))
        trial.set_user_attr(trials.FOLDS, [value, value])
        shared.tell(trial, value)
    record = choose_settings(config, AS_OF, plan.study)
    assert not record.tuned
    assert record.model == config.training.model.model_dump()
    assert record.note.startswith("**FILE'S SETTINGS** kept: none of 3 trials")


def test_the_files_settings_are_kept_when_they_have_no_value_to_compare_with(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    record = choose_settings(config, AS_OF, plan.study)
    assert (record.tuned, record.value, record.folds, record.best) == (False, None, [], {})
    assert record.model == config.training.model.model_dump()
    assert "raise training.tuning.budget" in record.note


def test_a_search_starts_from_what_the_last_one_found_best(start: Any) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    assert list(plan.warm_starts) == [FILE]
    search(config, AS_OF, plan.study, 0)
    last = choose_settings(config, AS_OF, plan.study)
    later = plan_tuning(config, AS_OF + DAY, rows.frozen(config, AS_OF + DAY))
    assert later.warm_starts[f"search as of {AS_OF.isoformat()}"] == last.best
    search(config, AS_OF + DAY, later.study, 0)
    first, second = _trials(config, later.study)[:2]
    assert (first.params, second.params) == (later.warm_starts[FILE], last.best)


def test_a_search_knows_nothing_of_one_that_came_after_its_instant(start: Any) -> None:
    config, training_set = start()
    later = plan_tuning(config, AS_OF + DAY, rows.frozen(config, AS_OF + DAY))
    search(config, AS_OF + DAY, later.study, 0)
    choose_settings(config, AS_OF + DAY, later.study)
    assert list(plan_tuning(config, AS_OF, training_set).warm_starts) == [FILE]


def test_a_winner_that_left_the_space_is_moved_to_its_edge(start: Any) -> None:
    config, _ = start()
    tuning, model = config.training.tuning, config.training.model
    assert trials.nearest(tuning, model, {"learning_rate": 0.9, "depth": 9, "subsample": 0.3}) == {
        "learning_rate": 0.5,
        "depth": 4,
    }
    assert trials.nearest(tuning, model, {}) == {"learning_rate": 0.01, "depth": 1}


def test_settings_that_cannot_be_fitted_fail_their_trial_and_all_of_them_the_search(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catboost import CatBoostError

    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    fit_own_trees, calls = tune.fit_own_trees, []

    def refuses_the_second(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise CatBoostError("too deep")
        return fit_own_trees(*given)

    monkeypatch.setattr(tune, "fit_own_trees", refuses_the_second)
    assert search(config, AS_OF, plan.study, 0).failed == 1
    again = rows.deployment(config.home.parent / "again")
    shutil.copytree(config.home / "training_sets", again.home / "training_sets")
    plan = plan_tuning(again, AS_OF, training_set)

    def refuses(*_: Any) -> Any:
        raise CatBoostError("too deep")

    monkeypatch.setattr(tune, "fit_own_trees", refuses)
    with pytest.raises(tune.SearchFailed, match=r"3 trials could not be fitted and none has worked.*too deep"):
        search(again, AS_OF, plan.study, 0)


def test_a_study_of_another_deployment_file_is_not_searched(start: Any, tmp_path: Path) -> None:
    config, training_set = start()
    plan = plan_tuning(config, AS_OF, training_set)
    other = rows.deployment(tmp_path, trials=rows.trials(7))
    for step in (lambda: search(other, AS_OF, plan.study, 0), lambda: choose_settings(other, AS_OF, plan.study)):
        with pytest.raises(tune.StudyMismatch, match="run `plan_tuning` again"):
            step()


@pytest.mark.parametrize("name", ["../../etc", "", "0" * 63, "G" * 64])
def test_a_name_that_is_no_study_is_no_path(start: Any, name: str) -> None:
    config, _ = start()
    with pytest.raises(chosen.NoStudy, match="expected 64 hexadecimal digits"):
        search(config, AS_OF, name, 0)
    with pytest.raises(chosen.NoStudy, match="expected 64 hexadecimal digits"):
        chosen.describe(config, name)


def test_without_the_section_nothing_is_searched(start: Any) -> None:
    config, training_set = start()
    off = config.model_copy(update={"training": config.training.model_copy(update={"tuning": None})})
    with pytest.raises(tune.TuningOff, match=r"no section training\.tuning"):
        plan_tuning(off, AS_OF, training_set)


@pytest.fixture
def refreshed(start: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Config, Plan]:
    """A planned search of a deployment that refits, whose champion has other settings than the file."""
    config, training_set = start()
    asked = config.model_copy(update={"training": config.training.model_copy(update={"refit": REFIT})})
    champions = config.training.model.model_dump() | {"learning_rate": 0.3, "depth": 3}
    monkeypatch.setattr(tune, "_settings_of_champion", lambda _: champions)
    return asked, plan_tuning(asked, AS_OF, training_set)


def _told(config: Config, plan: Plan, values: dict[str, float]) -> ChosenSettings:
    """What is chosen if the trials of these origins came to these values, and of any other origin to that of `""`."""
    shared = trials.open_study(_folder(config, plan.study), plan.study)
    for _ in range(len(plan.warm_starts) + 1):
        trial = shared.ask(fixed_distributions=trials.distributions(config.training.tuning, config.training.model))
        value = values[trial.user_attrs.get(trials.ORIGIN, "")]
        trial.set_user_attr(trials.FOLDS, [value, value])
        shared.tell(trial, value)
    return choose_settings(config, AS_OF, plan.study)


def test_the_champions_settings_are_kept_unless_others_are_better_by_what_is_worth_a_change(
    refreshed: tuple[Config, Plan],
) -> None:
    config, plan = refreshed
    assert plan.warm_starts[CHAMPION] == {"learning_rate": 0.3, "depth": 3}
    record = _told(config, plan, {FILE: 0.4, CHAMPION: 0.5, "": 0.519})
    assert {name: record.model[name] for name in plan.warm_starts[CHAMPION]} == plan.warm_starts[CHAMPION]
    assert (record.value, record.file_value) == (0.5, 0.4)
    assert record.note.startswith("**CHAMPION'S SETTINGS** kept: none of 3 trials")
    assert record.best != plan.warm_starts[CHAMPION], "the next search starts from the best all the same"


@pytest.mark.parametrize(
    ("values", "origin"), [({FILE: 0.4, CHAMPION: 0.5, "": 0.521}, ""), ({FILE: 0.6, CHAMPION: 0.5, "": 0.5}, FILE)]
)
def test_settings_that_are_worth_a_change_replace_the_champions(
    refreshed: tuple[Config, Plan], values: dict[str, float], origin: str
) -> None:
    config, plan = refreshed
    record = _told(config, plan, values)
    assert record.value == values[origin]
    assert "CHAMPION" not in record.note


def test_the_champions_settings_are_evaluated_to_the_end(refreshed: tuple[Config, Plan]) -> None:
    config, plan = refreshed
    search(config, AS_OF, plan.study, 0)
    (trial,) = [t for t in _trials(config, plan.study) if t.user_attrs.get(trials.ORIGIN) == CHAMPION]
    assert trial.state.name == "COMPLETE"
    assert trial.params == plan.warm_starts[CHAMPION]


def test_champions_that_have_the_files_settings_are_tried_once(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config, training_set = start()
    asked = config.model_copy(update={"training": config.training.model_copy(update={"refit": REFIT})})
    monkeypatch.setattr(tune, "_settings_of_champion", lambda _: config.training.model.model_dump())
    plan = plan_tuning(asked, AS_OF, training_set)
    assert len(_trials(asked, plan.study)) == 1
    shared = trials.open_study(_folder(asked, plan.study), plan.study)
    for value in (0.5, 0.51):
        trial = shared.ask(fixed_distributions=trials.distributions(asked.training.tuning, asked.training.model))
        trial.set_user_attr(trials.FOLDS, [value, value])
        shared.tell(trial, value)
    record = choose_settings(asked, AS_OF, plan.study)
    assert record.model == asked.training.model.model_dump()
    assert record.note.startswith("**CHAMPION'S SETTINGS** kept")
