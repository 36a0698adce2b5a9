"""A holdout decides as often as the deployment file allows, whoever asks and however."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ml import steps
from ml.__main__ import main
from ml.config import Config, load
from ml.decision import judge, judgements
from ml.decision.case import BASE_RATE
from ml.evaluation.gate import GateError
from ml.ledger.ledger import Ledger
from ml.model.model import Model
from ml.replay.policy import REFIT
from ml.simulate.feed import write_until
from ml.training import dataset, export, fit, golden
from tests.deployments import FIRST_AS_OF, small_told, write

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that needs three fresh days and reserves events for a golden set; its champion was decided on yesterday."""
    told = small_told()
    told["gate"]["fresh"]["value"] = 3
    told["gate"]["golden"] = {
        "share": {"value": 0.15, "unit": "share", "reason": "some hundred frauds decide here"},
        "drop": {"value": 0.5, "unit": "average precision", "reason": "few frauds show only large losses"},
    }
    told["categories"], told["attributes"] = ["merchant_category", "channel"], ["country"]
    told["gate"]["fairness"]["gap"] = {"value": 0.9, "unit": "share", "reason": "few frauds show only large gaps"}
    path = write(tmp_path_factory.mktemp("budget"), told)
    for night in range(2):
        as_of = FIRST_AS_OF + night * DAY
        write_until(load(path), (as_of - DAY).date())
        assert main(["ingest", "--config", str(path), "--as-of", as_of.isoformat()]) == 0
        if night == 0:
            assert main(["train", "--config", str(path), "--as-of", as_of.isoformat()]) == 0
    assert Ledger(load(path).ledger).moves.champion("card_fraud") == "1"
    return path


@pytest.fixture(scope="module")
def config(deployment: Path) -> Config:
    """That deployment."""
    return load(deployment)


def _challenger(config: Config, as_of: dt.datetime, seed: int) -> str:
    """Address of a model that nobody has judged yet."""
    model = config.training.model.model_copy(update={"random_seed": seed, "iterations": 20})
    changed = config.model_copy(update={"training": config.training.model_copy(update={"model": model})})
    made = dataset.build_training_set(config, as_of)
    fitted = fit.fit(changed, as_of, made.training_set)
    export.export_graph(changed, as_of, fitted.model)
    return fitted.model


def test_the_next_night_is_held_back_with_the_night_on_which_a_decision_can_fall(config: Config) -> None:
    for force in ("False", "True"):
        told = steps.run("admit", config, FIRST_AS_OF + DAY, {"run_id": f"nightly {force}", "force": force})
        assert not told["admitted"]
        night = (FIRST_AS_OF + 3 * DAY).date()
        assert "the holdout of 14 days holds 1 that no decision has used, 3 are needed" in told["reason"]
        assert f"the next decision can fall on the night of {night}" in told["reason"]


def test_the_status_says_when_the_next_decision_can_fall(deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", str(deployment)]) == 0
    night = (FIRST_AS_OF + 3 * DAY).date()
    assert f"next decision on the night of {night} at the earliest: 1 of 3 fresh days are there" in capsys.readouterr().out


def test_the_run_that_used_the_days_is_admitted_again(config: Config) -> None:
    (use,) = Ledger(config.ledger).holdouts.all(config.name)
    assert steps.run("admit", config, FIRST_AS_OF, {"run_id": use.run_id})["admitted"]


def test_a_challenger_that_comes_in_another_way_is_not_judged_either(config: Config) -> None:
    uses = Ledger(config.ledger).holdouts.all(config.name)
    model = _challenger(config, FIRST_AS_OF + DAY, seed=1)
    with pytest.raises(judge.HoldoutSpent, match="the next decision can fall on the night of"):
        judge.judge(config, FIRST_AS_OF + DAY, model)
    assert not list((config.home / "judgements").glob(".private-*"))
    assert Ledger(config.ledger).holdouts.all(config.name) == uses


def test_a_refresh_needs_no_fresh_days_and_uses_none(config: Config) -> None:
    """The champion is a day old, and its holdout has decided on all but one of the days."""
    for refresh, admitted in ((2.0, False), (1.0, True)):
        old_enough = REFIT.refresh.model_copy(update={"value": refresh})
        refit = REFIT.model_copy(update={"refresh": old_enough})
        asked = config.model_copy(update={"training": config.training.model_copy(update={"refit": refit})})
        told = steps.run("admit", asked, FIRST_AS_OF + DAY, {"run_id": f"refresh {refresh}", "trigger": "new_data"})
        assert told["admitted"] == admitted
    uses = Ledger(config.ledger).holdouts.all(config.name)
    model = _challenger(asked, FIRST_AS_OF + DAY, seed=2)
    judged = judge.judge(asked, FIRST_AS_OF + DAY, model)
    verdict = judgements.verdict_of(asked, judged.judgement)
    assert Ledger(config.ledger).holdouts.all(config.name) == uses
    (check,) = [check for check in verdict["guardrails"] if check["name"] == "fresh days"]
    assert check["status"] == "unknown"
    assert "only a refresh can follow" in check["sentence"]
    assert judged.outcome != "PROMOTE"
    assert not judged.refresh, "it has another recipe than the champion"


def test_judging_again_is_the_same_use(config: Config) -> None:
    decided = Ledger(config.ledger).decisions.all(config.name)[-1]
    assert decided.evidence["holdout"]["start"] == Ledger(config.ledger).holdouts.all(config.name)[0].start.isoformat()
    assert len(Ledger(config.ledger).holdouts.all(config.name)) == 1


def test_reserved_events_are_in_no_fitted_row_and_make_the_golden_set(config: Config) -> None:
    version = golden.newest(config)
    assert version is not None
    assert (version.version, version.actor) == (1, "judge")
    frozen = golden.read(config, version)
    rows = dataset.read(config, dataset.build_training_set(config, FIRST_AS_OF).training_set)
    fitted = rows[rows[dataset.SPLIT] != dataset.HOLDOUT]
    assert not set(frozen["event_id"]) & set(fitted["event_id"])
    assert 0.1 < len(frozen) / (len(fitted) / 0.85 + (rows[dataset.SPLIT] == dataset.HOLDOUT).sum()) < 0.2
    assert frozen["label"].sum() == version.positives > 30
    told = Ledger(config.ledger).decisions.all(config.name)[-1].evidence
    (guard,) = [check for check in told["guardrails"] if check["name"] == "golden set (version 1)"]
    assert guard["status"] == "passed"
    assert guard["challenger"] is not None


def test_a_protected_attribute_is_judged_and_never_learned_from(config: Config) -> None:
    decision = Ledger(config.ledger).decisions.all(config.name)[-1]
    inputs = Model(fit.registry(config).fetch(decision.challenger_version)).inputs
    assert "channel" in inputs.names
    assert "country" not in inputs.names
    groups = {(told["model"], told["group"]) for told in decision.evidence["fairness"]}
    assert {model for model, _ in groups} == {BASE_RATE, decision.evidence["challenger"]["name"]}
    assert len({group for _, group in groups}) > 3
    (guard,) = [check for check in decision.evidence["guardrails"] if check["name"] == "fairness"]
    assert guard["status"] == "passed"


def test_a_golden_set_that_was_changed_judges_nobody(config: Config) -> None:
    version = golden.newest(config)
    assert version is not None
    (file,) = (config.home / "golden").glob("*.parquet")
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    try:
        with pytest.raises(golden.GoldenSetBroken, match="restore the file, or freeze a new version"):
            golden.read(config, version)
    finally:
        file.write_bytes(content)


def test_freezing_the_same_rows_again_is_the_version_that_is_there(config: Config) -> None:
    first = golden.newest(config)
    assert golden.freeze(config, FIRST_AS_OF, "ann", "again") == first
    later = golden.freeze(config, FIRST_AS_OF + DAY, "ann", "a day more")
    assert (later.version, later.actor, later.reason) == (2, "ann", "a day more")
    assert golden.newest(config) == later


def test_a_champion_whose_features_are_gone_is_told_how_to_judge_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _challenger(config, FIRST_AS_OF + DAY, seed=2)
    matrix = Model.score

    def gone(self: Model, frame: object) -> object:
        if "mlartifacts" in str(self.folder):
            raise KeyError("the model needs columns ['customer_amount_mean_7d'], which are not there")
        return matrix(self, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "score", gone)
    with pytest.raises(GateError, match="keep their windows in the deployment file until a successor is promoted"):
        judge.judge(config, FIRST_AS_OF + DAY, model)
