"""Any registered version can be made again from its record: the same features, rows, trees, graph and predictions."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ml.__main__ import main
from ml.config import PROJECT, load
from ml.training import code, fit, reproduce
from tests.deployments import small_told, write


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


def test_another_model_is_found_out(
    four_versions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    grow = reproduce.learn

    def with_another_seed(config, rows):
        settings = config.training.model_copy(update={"model": config.training.model.model_copy(update={"random_seed": 8})})
        return grow(config.model_copy(update={"training": settings}), rows)

    monkeypatch.setattr(reproduce, "learn", with_another_seed)
    assert main(["reproduce", "--version", "1", "--config", str(four_versions)]) == 1
    told = capsys.readouterr().out
    assert "NOT EQUAL" in told
    checks = {check.name: check.equal for check in reproduce.reproduce(load(four_versions), "1").checks}
    assert (checks["training set"], checks["model.cbm"], checks["predictions"]) == (True, False, False)


@pytest.mark.parametrize("what", ["sources", "lock"])
def test_other_code_names_the_commit_to_check_out(four_versions: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = code.code_version()
    monkeypatch.setattr(reproduce, "code_version", lambda: here | {what: "0" * 64, "commit": "f" * 40})
    with pytest.raises(reproduce.CodeMovedOn) as caught:
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
    if moved_on:
        with (tmp_path / "ml" / "training" / "split.py").open("a") as file:
            file.write("# moved on\n")
    words = ["reproduce", "--version", "1", "--config", "deployment.yaml", "--home", str(load(four_versions).home)]
    run = subprocess.run([sys.executable, "-m", "ml", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == int(moved_on), run.stderr
    assert ("CodeMovedOn" in run.stderr) == moved_on
    assert ("made at commit" in run.stdout) != moved_on


def test_a_version_without_a_record_says_so(four_versions: Path, tmp_path: Path) -> None:
    with pytest.raises(
        fit.NoOrigin, match=r"has no training_set\.json and no deployment\.json: the version was registered before"
    ):
        fit.origin_of(tmp_path)
