"""Registered versions are explained by their own records: in the loop, by commands, and in MLflow."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ml import artifacts, steps
from ml.__main__ import main
from ml.commands import loop
from ml.config import Config, load
from ml.explanation import attributions, card, exploration
from ml.ledger.ledger import Ledger
from ml.model.model import Model
from ml.registry.versions import Registry
from ml.training import dataset, fit
from tests.deployments import small_told, write
from tests.explanation import pages


@pytest.fixture(scope="module")
def config(four_versions: Path) -> Config:
    """The deployment of four nights."""
    return load(four_versions)


def logged(config: Config, version: str, folder: str) -> set[str]:
    """Names of a version's artifacts in a folder of its MLflow run."""
    from mlflow import MlflowClient

    run = fit.record_of(fit.registry(config).fetch(version)).mlflow_run
    return {Path(file.path).name for file in MlflowClient(tracking_uri=config.tracking).list_artifacts(run, folder)}


@pytest.mark.parametrize("version", ["1", "4"])
def test_every_version_has_its_card_and_attributions_in_mlflow(config: Config, version: str) -> None:
    assert {f"{version}.html", f"{version}.md", f"{version}.json"} <= logged(config, version, "card")
    training_set = fit.record_of(fit.registry(config).fetch(version)).training_set
    assert logged(config, version, "exploration") == {f"{training_set}.html"}
    assert logged(config, version, "explanation") == {attributions.RECORD, attributions.SUMMARY, attributions.SLICES}


def test_figures_on_a_card_are_those_of_its_training_set(config: Config) -> None:
    frozen, _ = fit.origin_of(fit.registry(config).fetch("2"))
    for tables in (
        pages.of_html((artifacts.of(config).path(card.KIND) / "2.html").read_text()),
        pages.of_markdown((artifacts.of(config).path(card.KIND) / "2.md").read_text()),
    ):
        windows = pages.under(tables, "window")
        for part in ("train", "validation", "holdout"):
            assert windows[part][2] == f"{getattr(frozen, f'{part}_rows'):,}"
            assert windows[part][3] == f"{frozen.positives[part]:,}"


def test_the_record_beside_a_card_names_what_it_was_made_from(config: Config) -> None:
    told = json.loads((artifacts.of(config).path(card.KIND) / "1.json").read_text())
    assert told["training_set"]["training_set"] == fit.origin_of(fit.registry(config).fetch("1"))[0].training_set
    assert told["decision"]["challenger_version"] == told["version"] == "1"


def test_a_challenger_is_compared_with_the_champion_that_it_was_judged_against(config: Config) -> None:
    for decision in Ledger(config.ledger).decisions.all(config.name):
        fitted = fit.record_of(fit.registry(config).fetch(decision.challenger_version))
        folder = attributions.folder_of(config, attributions.address(fitted.model, decision.champion_version))
        record = attributions.record_of(folder)
        assert (record.drift is None) == (decision.champion_version is None)
        again = attributions.explain(config, decision.as_of, fitted.model)
        assert again.explanation == record.explanation


def test_training_sets_are_compared_night_by_night(config: Config) -> None:
    sets = sorted(
        dataset.all_records(config),
        key=lambda told: told.as_of,
    )
    told = [json.loads(exploration.path_of(config, s.training_set).with_suffix(".json").read_text()) for s in sets]
    assert [each["exploration"]["previous"] for each in told] == [None, *[s.training_set for s in sets[:-1]]]


def test_a_card_as_of_an_earlier_instant_knows_nothing_later(config: Config) -> None:
    (first, *_) = Ledger(config.ledger).decisions.all(config.name)
    told = card.gather(config, first.as_of - dt.timedelta(seconds=1), "1")
    assert (told.decision, told.moves, told.champion) == (None, (), None)


def test_a_card_reads_how_the_settings_were_found(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a search is registered with the model."""
    copy = shutil.copytree(fit.registry(config).fetch("1"), tmp_path / "1")
    (copy / fit.TUNING).write_text(json.dumps({"note": "depth 4 beat depth 6"}))
    monkeypatch.setattr(Registry, "fetch", lambda registry, version: copy)
    assert card.gather(config, card.newest(config, "1"), "1").tuning == {"note": "depth 4 beat depth 6"}


def test_the_command_writes_a_card_again(four_versions: Path, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    page = artifacts.of(config).path(card.KIND) / "3.html"
    before = page.read_text()
    page.unlink()
    assert main(["card", "--version", "3", "--config", str(four_versions)]) == 0
    assert str(page) in capsys.readouterr().out
    assert [rows for rows in pages.of_html(before) if rows[0][0] == "window"] == [
        rows for rows in pages.of_html(page.read_text()) if rows[0][0] == "window"
    ]


@pytest.mark.parametrize("version", ["../1", "1/../../x", "one", "²"])
def test_a_version_is_a_number(four_versions: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["card"], ["reasons", "--event", "x"], ["model", "--format", "onnx", "--to", "x"]):
        assert main([*words, "--version", version, "--config", str(four_versions)]) == 3
        assert "expected a number or 'champion'" in capsys.readouterr().err


def test_reasons_of_an_event_add_up_to_its_score(
    four_versions: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fit.registry(config).fetch("2")
    rows = dataset.read(config, fit.record_of(folder).training_set, (dataset.HOLDOUT,)).head(1)
    event = str(rows["event_id"].iloc[0])
    assert main(["reasons", "--version", "2", "--event", event, "--config", str(four_versions)]) == 0
    told = capsys.readouterr().out
    assert f"event {event}: probability {Model(folder).score(rows)[0]:.6f}" in told
    assert "base value" in told


def test_an_event_outside_of_the_training_set_is_joined_from_the_lake(config: Config) -> None:
    from ml.explanation.reasons import of_event

    folder = fit.registry(config).fetch("2")
    rows = dataset.read(config, fit.record_of(folder).training_set)
    row = rows[rows[dataset.SPLIT] == dataset.HOLDOUT].tail(1)
    event = str(row["event_id"].iloc[0])
    frozen = of_event(config, "2", event, 3)
    hidden = dataset.path_of(config, fit.record_of(folder).training_set)
    aside = hidden.rename(hidden.with_suffix(".aside"))
    try:
        joined = of_event(config, "2", event, 3)
    finally:
        aside.rename(hidden)
    assert joined == frozen


@pytest.mark.parametrize("event", ["nobody", "' OR 1=1 --"])
def test_an_event_that_does_not_exist_is_named(four_versions: Path, event: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reasons", "--version", "1", "--event", event, "--config", str(four_versions)]) == 3
    assert "in the version's training set or in the lake" in capsys.readouterr().err


def test_an_explanation_that_fails_is_reported_after_the_promotion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = small_told()
    told["training"].pop("tuning", None)
    done: list[str] = []
    records: dict[str, dict[str, Any]] = {
        "admit": {"admitted": True, "trigger": "on_demand"},
        "build_training_set": {"training_set": "s"},
        "validate_training_set": {"note": "", "training_set": "s"},
        "fit": {"model": "m"},
        "export_graph": {"model": "m"},
        "judge": {"judgement": "j"},
        "register": {"version": "1"},
        "promote": {"note": "promoted", "version": "1"},
    }

    def run(step: str, *_: object) -> dict[str, Any]:
        if step == "explain":
            raise attributions.AttributionError("does not add up")
        done.append(step)
        return records.get(step, {})

    monkeypatch.setattr(steps, "run", run)
    asked = argparse.Namespace(as_of=dt.datetime(2025, 3, 12, tzinfo=dt.UTC), reason="", force=False, trigger="on_demand")
    with pytest.raises(attributions.AttributionError, match="does not add up"):
        loop.train(load(write(tmp_path, told)), asked)
    assert done[-2:] == ["promote", "explore"]
    assert "promoted" in capsys.readouterr().out
