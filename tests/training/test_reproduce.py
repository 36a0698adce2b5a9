"""Any registered version can be made again from its record: the same features, rows, trees, graph and predictions."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ml.__main__ import main
from ml.config import PROJECT, load
from ml.errors import EXIT_REFUSED
from ml.simulate.feed import write_until
from ml.training import chosen, code, fit, reproduce
from tests.conftest import command
from tests.deployments import FIRST_AS_OF, raw, small_told, write


@pytest.fixture
def deployment(four_versions: Path, tmp_path: Path) -> Path:
    """A copy of what made a model, its lake and its registry, without the training sets, features and models."""
    told = small_told()
    home = load(four_versions).home
    told["mlflow_uri"], told["ledger_uri"] = f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/ledger.db"
    told["lake_folder"] = str(home / "lake")
    shutil.copytree(home / "landing", tmp_path / "home" / "landing")
    return write(tmp_path, told)


@pytest.mark.parametrize("version", ["1", "4"])
def test_a_version_is_made_again_equal(four_versions: Path, version: str) -> None:
    told = reproduce.reproduce(load(four_versions), version)
    assert [check.name for check in told.checks if not check.equal] == []
    assert {"training set", "model.cbm", "model.onnx", "predictions"} <= {check.name for check in told.checks}


def test_lake_and_registry_are_enough(deployment: Path) -> None:
    """The deployment's features, training sets and models are gone, and so are its settings."""
    assert main(["reproduce", "--version", "1", "--config", str(deployment)]) == 0


@pytest.fixture(scope="module")
def tuned(four_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of that deployment in a folder of its own, trained on a fifth night with settings that a search found."""
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copytree(load(four_versions).home, folder / "home")
    told = small_told()
    told["feed"]["customers"] = 800
    told["training"]["model"] |= {"iterations": 20, "depth": 1, "learning_rate": 0.01}
    told["training"]["tuning"] = raw()["training"]["tuning"] | {
        "workers": 1,
        "space": {"learning_rate": {"low": 0.01, "high": 0.3}, "depth": {"low": 1, "high": 4}},
    }
    for name, value in {"folds": 2, "evaluation": 4, "trials": 4}.items():
        told["training"]["tuning"][name]["value"] = value
    path, as_of = write(folder, told), FIRST_AS_OF + dt.timedelta(days=4)
    write_until(load(path), (as_of - dt.timedelta(days=1)).date())
    command(path, as_of, "ingest")
    command(path, as_of, "train", "--force")
    return path


def test_a_tuned_version_says_where_its_settings_came_from(tuned: Path) -> None:
    config = load(tuned)
    fitted = fit.record_of(fit.registry(config).fetch("5"))
    assert fit.registry(config).tags("5")["settings"] == f"search {fitted.settings}"
    assert fit.registry(config).tags("4").get("settings") == "deployment file"
    run = fit.registry(config)._client.get_run(fitted.mlflow_run)
    told = json.loads((fit.folder_of(config, fitted.model) / fit.TUNING).read_text())
    assert {name: run.data.params[name] for name in told["best"]} == {name: str(told["model"][name]) for name in told["best"]}
    assert run.data.tags["settings"] == f"search {fitted.settings}"


def test_a_version_with_tuned_settings_is_made_again_equal_from_its_own_folder(tuned: Path) -> None:
    config = load(tuned)
    folder = fit.registry(config).fetch("5")
    _, deployment = fit.origin_of(folder)
    record = chosen.describe(config, fit.record_of(folder).settings)
    assert record.tuned
    assert deployment.training.model.model_dump() == record.model != config.training.model.model_dump()
    shutil.rmtree(config.home / "tuning")
    assert [check.name for check in reproduce.reproduce(config, "5").checks if not check.equal] == []


def test_another_model_is_found_out(
    four_versions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    select = reproduce.select

    def with_another_seed(config, rows, incumbent):
        settings = config.training.model_copy(update={"model": config.training.model.model_copy(update={"random_seed": 8})})
        return select(config.model_copy(update={"training": settings}), rows, incumbent)

    monkeypatch.setattr(reproduce, "select", with_another_seed)
    assert main(["reproduce", "--version", "1", "--config", str(four_versions)]) == 1
    told = capsys.readouterr().out
    assert "NOT EQUAL" in told
    checks = {check.name: check.equal for check in reproduce.reproduce(load(four_versions), "1").checks}
    assert (checks["training set"], checks["model.cbm"], checks["predictions"]) == (True, False, False)


@pytest.mark.parametrize("what", ["sources", "lock"])
def test_other_code_names_the_commit_to_check_out(four_versions: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = code.code_version()
    monkeypatch.setattr(reproduce, "code_version", lambda: here | {what: "0" * 64, "commit": "f" * 40})
    with pytest.raises(reproduce.CodeChanged) as caught:
        reproduce.reproduce(load(four_versions), "1")
    assert here["commit"] in str(caught.value)
    assert f"differ in {what}" in str(caught.value)
    assert f"git worktree add ../reproduce {here['commit'].removesuffix(code.CHANGED)}" in str(caught.value)


@pytest.mark.parametrize("moved_on", [False, True])
def test_another_checkout_makes_a_version_again_if_its_code_is_the_same(
    four_versions: Path, moved_on: bool, tmp_path: Path
) -> None:
    for name in ("ml", "feature_repo", "expectations", "requirements.txt"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    told = yaml.safe_load(four_versions.read_text()) | {"home": "nowhere"}
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(told))
    # What makes no version may be another one: a page, a check of the feed.
    for name in ["ml/explanation/render.py", "expectations/payments.yaml", *(["ml/training/split.py"] if moved_on else [])]:
        with (tmp_path / name).open("a") as file:
            file.write("# moved on\n")
    words = ["reproduce", "--version", "1", "--config", "deployment.yaml", "--home", str(load(four_versions).home)]
    run = subprocess.run([sys.executable, "-m", "ml", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == (EXIT_REFUSED if moved_on else 0), run.stderr
    assert ("Check that commit out and make it again there" in run.stderr) == moved_on
    assert ("made at commit" in run.stdout) != moved_on


def test_a_version_without_a_record_says_so(four_versions: Path, tmp_path: Path) -> None:
    with pytest.raises(
        fit.NoOrigin, match=r"has no training_set\.json and no deployment\.json: the version was registered before"
    ):
        fit.origin_of(tmp_path)
