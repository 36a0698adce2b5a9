"""Any registered version can be made again from its record: the same features, rows, trees, graph and predictions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ml.__main__ import main
from ml.config import load
from ml.training import code, reproduce
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
