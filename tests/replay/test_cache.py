"""A search and a fit are made once, whichever policy asks first; the others take them over under runs of their own."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml import steps
from ml.config import Config
from ml.replay.cache import Cache
from ml.replay.play import by_trials
from ml.training import chosen, fit, trials, tune
from tests.training import rows
from tests.training.rows import AS_OF

MOST = 4


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Config], str]:
    """Two policies' deployments with one frozen training set, and its address."""
    folder = tmp_path_factory.mktemp("cache")
    first, second = (by_trials(rows.deployment(folder / name), MOST) for name in ("first", "second"))
    training_set = rows.frozen(first)
    shutil.copytree(first.home, second.home)
    return [first, second], training_set


def train(cache: Cache, config: Config, training_set: str) -> dict[str, Any]:
    """The steps from the search to the fit; the record of the fit."""
    study = cache.run("plan_tuning", config, AS_OF, {"training_set": training_set})["study"]
    cache.run("search", config, AS_OF, {"study": study, "worker": 0})
    settings = cache.run("choose_settings", config, AS_OF, {"study": study})["settings"]
    return dict(cache.run("fit", config, AS_OF, {"training_set": training_set, "settings": settings}))


@pytest.fixture(scope="module")
def fitted(homes: tuple[list[Config], str], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The first policy makes what the second takes over: there no trial is run, and nothing is fitted."""
    configs, training_set = homes
    cache = Cache(tmp_path_factory.mktemp("shared"))
    first = train(cache, configs[0], training_set)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "_run", lambda *_: pytest.fail("a trial was run again"))
        patch.setattr(fit, "_fit", lambda *_: pytest.fail("a model was fitted again"))
        return [first, train(cache, configs[1], training_set)]


def test_a_model_is_taken_over_under_a_run_of_its_own(homes: tuple[list[Config], str], fitted: list[dict[str, Any]]) -> None:
    from mlflow import MlflowClient

    first, second = fitted
    assert first["mlflow_run"] != second["mlflow_run"]
    assert first | {"mlflow_run": ""} == second | {"mlflow_run": ""}
    for config, record in zip(homes[0], fitted, strict=True):
        run = MlflowClient(tracking_uri=config.tracking).get_run(record["mlflow_run"])
        assert run.data.params["depth"] == str(chosen.describe(config, record["settings"]).model["depth"])
        assert (fit.folder_of(config, record["model"]) / fit.TUNING).is_file()
        assert dataclasses.asdict(fit.describe(config, record["model"])) == record


def test_what_a_search_chose_is_what_the_other_policy_starts_from_too(
    homes: tuple[list[Config], str], fitted: list[dict[str, Any]]
) -> None:
    first, second = (chosen.describe(config, fitted[0]["settings"]) for config in homes[0])
    assert first == second
    assert sum(first.trials.values()) == MOST


def test_a_search_that_was_stopped_begins_anew_with_the_same_trials(
    homes: tuple[list[Config], str], fitted: list[dict[str, Any]], tmp_path: Path
) -> None:
    config, training_set = by_trials(rows.deployment(tmp_path), MOST), homes[1]
    shutil.copytree(homes[0][0].home / "training_sets", config.home / "training_sets")
    cache, study = Cache(tmp_path / "shared"), fitted[0]["settings"]
    folder = tune._journal_folder(config, study)

    def tried() -> list[Any]:
        return [(trial.params, trial.values) for trial in trials.open_study(folder, study).get_trials()]

    found = []
    for _ in range(2):
        cache.run("plan_tuning", config, AS_OF, {"training_set": training_set})
        steps.run("search", config, AS_OF, {"study": study, "worker": 0})
        found.append(tried())
    assert found[0] == found[1]
    assert len(found[0]) == MOST
