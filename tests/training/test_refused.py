"""A training that cannot be fitted, tuned or exported is a refused night, as one whose data or verdict are refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import ModuleType

import pytest

from ml.config import load
from ml.ledger.ledger import Ledger
from ml.ledger.run import Run
from ml.training import export, fit, tune
from ml.training.calibrate import RanksNothing
from ml.training.folds import NoFold
from ml.training.weights import CapUnreachable
from tests.deployments import small_file, small_told, write

AS_OF = dt.datetime(2025, 3, 12, 2, tzinfo=dt.UTC)
RUN = Run(id="nightly")


def _fails(patch: pytest.MonkeyPatch, module: ModuleType, name: str, error: type[Exception]) -> None:
    def refuse(*_: object) -> None:
        raise error("these rows say nothing")

    patch.setattr(module, name, refuse)


@pytest.mark.parametrize("error", [RanksNothing, CapUnreachable])
def test_a_fit_that_is_refused_is_a_refused_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    config = load(small_file(tmp_path))
    _fails(monkeypatch, fit, "_fit_once", error)
    with pytest.raises(error):
        fit.fit(config, AS_OF, "set", run=RUN)
    (refusal,) = Ledger(config.ledger).refusals.streak(config.name)
    assert (refusal.step, refusal.run_id, refusal.reason) == ("fit", "nightly", "these rows say nothing")


def test_an_export_that_answers_otherwise_is_a_refused_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(small_file(tmp_path))
    _fails(monkeypatch, export, "_fill", export.ParityError)
    with pytest.raises(export.ParityError):
        export.export_graph(config, AS_OF, "model", RUN)
    assert [refusal.step for refusal in Ledger(config.ledger).refusals.streak(config.name)] == ["export_graph"]


def test_a_search_without_folds_is_a_refused_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = small_told()
    told["training"]["tuning"] = {
        "budget": {"value": 1, "unit": "minutes", "reason": "a test declares it"},
        "workers": 1,
        "trials": {"value": 2, "unit": "trials", "reason": "a test declares it"},
        "folds": {"value": 2, "unit": "folds", "reason": "a test declares it"},
        "evaluation": {"value": 3, "unit": "days", "reason": "a test declares it"},
        "negatives": {"value": 0.5, "unit": "share", "reason": "a test declares it"},
        "space": {"depth": {"low": 2, "high": 6}},
    }
    config = load(write(tmp_path, told))
    _fails(monkeypatch, tune, "_folds", NoFold)
    monkeypatch.setattr(tune, "_name", lambda *_: "0" * 64)
    with pytest.raises(NoFold):
        tune.plan_tuning(config, AS_OF, "set", RUN)
    assert [refusal.step for refusal in Ledger(config.ledger).refusals.streak(config.name)] == ["plan_tuning"]
