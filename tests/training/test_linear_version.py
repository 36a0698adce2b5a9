"""A logistic regression that is selected is registered, exported, explained and made again like any other version."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.config.training import LOGISTIC, OWN, SHALLOW
from ml.explanation.attributions import contributions
from ml.ledger.ledger import Ledger
from ml.model import copies
from ml.model.model import Model
from ml.monitoring.champion import champion_of
from ml.simulate.feed import write_until
from ml.training import dataset, export, fit, reproduce
from tests.conftest import command
from tests.deployments import FIRST_AS_OF, small_told, write

VERSION = "5"


@pytest.fixture(scope="module")
def deployment(four_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of that deployment in a folder of its own, trained on a fifth night with two stumps beside the regression."""
    folder = tmp_path_factory.mktemp("linear")
    shutil.copytree(load(four_versions).home, folder / "home")
    told = small_told()
    told["feed"]["customers"] = 800
    told["training"]["candidates"] = [OWN, SHALLOW, LOGISTIC]
    told["training"]["model"] |= {"iterations": 2, "depth": 3, "learning_rate": 0.1}
    path, as_of = write(folder, told), FIRST_AS_OF + dt.timedelta(days=4)
    write_until(load(path), (as_of - dt.timedelta(days=1)).date())
    command(path, as_of, "ingest")
    command(path, as_of, "train", "--force")
    return path


@pytest.fixture(scope="module")
def config(deployment: Path) -> Config:
    """That deployment."""
    return load(deployment)


@pytest.fixture(scope="module")
def model(config: Config) -> Model:
    """The registered version's folder."""
    return Model(fit.registry(config).fetch(VERSION))


def test_it_is_registered_with_the_figures_of_every_candidate(config: Config, model: Model) -> None:
    fitted = fit.record_of(model.folder)
    assert (fitted.candidate, fitted.trees, set(fitted.candidates)) == (LOGISTIC, 0, {OWN, SHALLOW, LOGISTIC})
    assert fit.registry(config).tags(VERSION)["candidate"] == fitted.selection
    assert fitted.size == f"coefficients of {len(model.inputs.names)} inputs"
    assert sum(fitted.importance.values()) == pytest.approx(100)
    run = fit.registry(config)._client.get_run(fitted.mlflow_run).data
    assert run.tags["candidate"] == LOGISTIC
    assert {"boosted_trees_average_precision", "few_shallow_trees_roc_auc", "challenger_roc_auc"} <= set(run.metrics)
    assert {file.name for file in model.folder.iterdir()} >= {"linear.json", "inputs.json", "model.onnx"}
    assert not (model.folder / "model.cbm").exists()


def test_its_graph_answers_as_it_does_on_the_holdout(config: Config, model: Model) -> None:
    fitted = fit.record_of(model.folder)
    holdout = dataset.read(config, fitted.training_set, (dataset.HOLDOUT,))
    assert export.compare(model, holdout, fitted.threshold, 1e-7, "5").crossed_threshold == 0
    copies.check_copy(model.folder)


def test_its_contributions_add_up_on_the_holdout(config: Config, model: Model) -> None:
    holdout = dataset.read(config, fit.record_of(model.folder).training_set, (dataset.HOLDOUT,))
    told = contributions(model, holdout)
    odds = told.values.sum(axis=1) + told.base
    assert np.abs(1 / (1 + np.exp(-odds)) - model.score(holdout)).max() < 1e-12


def test_it_is_made_again_byte_for_byte(config: Config) -> None:
    told = reproduce.reproduce(config, VERSION)
    assert [check.name for check in told.checks if not check.equal] == []
    assert {"linear.json", "model.onnx", "predictions"} <= {check.name for check in told.checks}


def test_the_verdict_tells_what_the_others_reach_on_the_holdout(config: Config) -> None:
    decision = Ledger(config.ledger).decisions.all(config.name)[-1]
    notes = [note for note in decision.evidence["notes"] if "validation window did not select" in note]
    assert len(notes) == 1
    assert f"{OWN} 0." in notes[0]
    assert f"{SHALLOW} 0." in notes[0]
    assert LOGISTIC not in notes[0]


def test_monitoring_takes_it_as_a_champion(config: Config, model: Model) -> None:
    champion = champion_of(config, VERSION)
    assert champion.model.estimator == model.estimator
    assert champion.fitted.candidate == LOGISTIC


@pytest.mark.parametrize("kind", ["onnx", "pmml", "json"])
def test_the_command_line_hands_it_out(deployment: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    words = ["model", "--version", VERSION, "--format", kind, "--to", str(tmp_path / f"m.{kind}"), "--config", str(deployment)]
    assert main(words) == 0
    assert "checked:" in capsys.readouterr().out
    assert (tmp_path / f"m.{kind}").is_file()
    assert (tmp_path / "m.inputs.json").is_file() == (kind == "json")


def test_the_command_line_refuses_what_it_cannot_be(deployment: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["model", "--version", VERSION, "--format", "cbm", "--to", str(tmp_path / "m.cbm"), "--config", str(deployment)]
    assert main(words) == 3
    assert "linear.json cannot be written as cbm" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_card_reasons_and_lineage_tell_of_it(deployment: Path, config: Config, capsys: pytest.CaptureFixture) -> None:
    fitted = fit.record_of(fit.registry(config).fetch(VERSION))
    event = dataset.read(config, fitted.training_set, (dataset.HOLDOUT,))["event_id"].iloc[0]
    assert main(["reasons", "--version", VERSION, "--event", event, "--config", str(deployment)]) == 0
    assert "base value" in capsys.readouterr().out
    assert main(["card", "--version", VERSION, "--config", str(deployment)]) == 0
    page = Path(capsys.readouterr().out.split()[0])
    assert fitted.size in page.read_text()
    assert "of a logistic regression positive_weight and half_life alone" in page.read_text()


def test_the_file_says_every_coefficient_by_name(model: Model) -> None:
    told = json.loads((model.folder / "linear.json").read_text())
    assert [term["name"] for term in told["terms"]] == model.inputs.names
