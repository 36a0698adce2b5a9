"""Of the candidates of a training the one that is best on the validation window goes before the gate."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from ml.config import Config, load
from ml.evaluation.metrics import average_precision
from ml.training import dataset, fit, learn
from ml.training.calibrate import RanksNothing
from ml.training.learn import OWN, SHALLOW, select
from ml.training.split import split
from tests.training import rows as made_up


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, pd.DataFrame]:
    """A deployment of deep trees, and rows."""
    raw = made_up.deployments.small_told()
    raw["training"]["caps"] = {}
    raw["training"]["model"] |= {"iterations": 60, "depth": 6, "learning_rate": 0.1}
    config = load(made_up.deployments.write(tmp_path_factory.mktemp("candidates"), raw))
    return config, made_up.made(config, split(config, made_up.AS_OF))


def worst(monkeypatch: pytest.MonkeyPatch, deep: bool) -> None:
    """One of the candidates learns from shuffled labels."""
    honest = learn.learn

    def spoilt(config: Config, rows: pd.DataFrame) -> tuple:
        if (config.training.model.depth > learn.SHALLOW_DEPTH) is deep:
            mixed = np.random.default_rng(0).permutation(rows["label"].to_numpy())
            trees, inputs = honest(config, rows.assign(label=np.where(rows["split"] == dataset.TRAIN, mixed, rows["label"])))
            return trees, inputs
        return honest(config, rows)

    monkeypatch.setattr(learn, "learn", spoilt)


def test_each_candidate_has_its_figure_and_the_best_is_taken(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    found = select(config, rows)
    assert set(found.figures) == {OWN, SHALLOW}
    assert found.figures[found.candidate] == max(found.figures.values())
    validation = rows[rows["split"] == dataset.VALIDATION]
    scores = found.trees.predict_proba(found.inputs.matrix(validation))[:, 1]
    assert average_precision(validation["label"].to_numpy(), scores) == pytest.approx(found.figures[found.candidate])


@pytest.mark.parametrize("deep", [True, False])
def test_the_candidate_that_learned_nothing_is_left(
    told: tuple[Config, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    worst(monkeypatch, deep)
    try:
        found = select(*told)
    except RanksNothing:
        pytest.fail("the other candidate ranks")
    assert found.candidate == (SHALLOW if deep else OWN)


def test_one_that_ranks_nothing_is_no_candidate_and_without_any_nothing_is_fitted(
    told: tuple[Config, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    honest = learn.learn

    def refuses(config: Config, rows: pd.DataFrame) -> tuple:
        if config.training.model.depth > learn.SHALLOW_DEPTH:
            raise RanksNothing("it ranks nothing")
        return honest(config, rows)

    monkeypatch.setattr(learn, "learn", refuses)
    with caplog.at_level(logging.WARNING):
        found = select(*told)
    assert (found.candidate, set(found.figures)) == (SHALLOW, {SHALLOW})
    assert "boosted trees are no candidate: it ranks nothing" in caplog.text

    def refuses_all(config: Config, rows: pd.DataFrame) -> tuple:
        raise RanksNothing("it ranks nothing")

    monkeypatch.setattr(learn, "learn", refuses_all)
    with pytest.raises(RanksNothing):
        select(*told)


def test_the_cheapest_is_taken_where_money_decides(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    gate = config.gate.model_copy(update={"metric": "expected cost"})
    found = select(config.model_copy(update={"gate": gate}), rows)
    assert found.metric == "expected cost"
    assert found.figures[found.candidate] == min(found.figures.values())


def test_shallow_trees_are_never_more_or_deeper_than_the_deployments_own(told: tuple[Config, pd.DataFrame]) -> None:
    config, _ = told
    small = config.training.model.model_copy(update={"iterations": 3, "depth": 1})
    fewer = learn._shallow(learn.chosen.with_model(config, small)).training.model
    assert (fewer.iterations, fewer.depth) == (3, 1)


def test_a_record_says_which_candidate_it_is_and_what_the_others_reached() -> None:
    told = fit.Fit.selection.fget  # the property alone, a record has many other fields
    record = type("Record", (), {"candidates": {OWN: 0.5, SHALLOW: 0.25}, "candidate": OWN, "selected_by": "average precision"})
    words = "boosted trees, selected by average precision on the validation window: boosted trees 0.5, few shallow trees 0.25"
    assert told is not None
    assert told(record()) == words


def test_shallow_settings_are_fitted_once(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    small = config.training.model.model_copy(update={"iterations": 3, "depth": 1})
    assert set(select(learn.chosen.with_model(config, small), rows).figures) == {OWN}
