"""Of the candidates of a training the one that is best on the validation window goes before the gate."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from ml.config import Config, load
from ml.config.training import LOGISTIC, OWN, SHALLOW
from ml.evaluation.metrics import average_precision
from ml.model.estimator import Estimator
from ml.training import candidates, chosen, dataset, fit
from ml.training.calibrate import RanksNothing
from ml.training.candidates import FitWindows, candidate_names, select
from ml.training.split import split
from tests.training import rows as made_up

ALL = [OWN, SHALLOW, LOGISTIC]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, pd.DataFrame]:
    """A deployment of deep trees, and rows whose label two inputs tell together, which is for trees."""
    raw = made_up.deployments.small_told()
    raw["training"]["caps"] = {}
    raw["training"]["candidates"] = ALL
    raw["training"]["model"] |= {"iterations": 60, "depth": 6, "learning_rate": 0.1}
    config = load(made_up.deployments.write(tmp_path_factory.mktemp("candidates"), raw))
    return config, made_up.made(config, split(config, made_up.AS_OF))


def spoil(monkeypatch: pytest.MonkeyPatch, *spoilt: str) -> None:
    """Some of the candidates learn from shuffled labels."""
    honest = candidates.fit_candidate

    def fit_candidate(config: Config, name: str, windows: FitWindows) -> Estimator:
        if name not in spoilt:
            return honest(config, name, windows)
        mixed = np.random.default_rng(0).permutation(windows.train["label"].to_numpy())
        return honest(config, name, FitWindows(windows.train.assign(label=mixed), *_but_train(windows)))

    monkeypatch.setattr(candidates, "fit_candidate", fit_candidate)


def _but_train(windows: FitWindows) -> tuple:
    return windows.validation, windows.inputs, windows.matrix


def linear_label(config: Config, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose label's log-odds are a weighted sum of the numbers."""
    numbers = [name for name in rows if name in {*config.measures, *candidates.FitWindows.of(config, rows).inputs.fill}]
    margin = rows[numbers] @ np.linspace(-0.8, 0.8, len(numbers)) - 2.5
    dice = np.random.default_rng(4)
    return rows.assign(label=(dice.random(len(rows)) < 1 / (1 + np.exp(-margin))).astype("int8"))


def test_each_candidate_has_its_figure_and_the_best_is_taken(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    found = select(config, rows)
    assert list(found.figures) == ALL
    assert found.figures[found.candidate] == max(found.figures.values())
    validation = rows[rows[dataset.SPLIT] == dataset.VALIDATION]
    for name, estimator in {found.candidate: found.estimator, **found.others}.items():
        margins = estimator.margins(found.inputs.matrix(validation))
        assert average_precision(validation["label"].to_numpy(), margins) == pytest.approx(found.figures[name]), name


def test_trees_win_where_inputs_act_together_and_the_regression_where_they_add_up(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    together, apart = select(config, rows), select(config, linear_label(config, rows))
    assert together.estimator.trees > 0
    assert together.figures[LOGISTIC] < together.figures[together.candidate] - 0.05
    assert (apart.candidate, apart.estimator.trees) == (LOGISTIC, 0)
    assert apart.figures[LOGISTIC] > apart.figures[OWN] + 0.01


def test_all_trees_are_kept_where_nothing_stops_early(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    without = config.training.model.model_copy(update={"early_stopping_rounds": None})
    own, _ = candidates.fit_own_trees(chosen.with_model(config, without), rows)
    stopped, _ = candidates.fit_own_trees(config, rows)
    assert own.trees == config.training.model.iterations > stopped.trees


@pytest.mark.parametrize("left", ALL)
def test_candidates_that_learned_nothing_are_left(
    told: tuple[Config, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    spoil(monkeypatch, *(name for name in ALL if name != left))
    assert select(*told).candidate == left


def test_one_that_ranks_nothing_is_no_candidate_and_without_any_nothing_is_fitted(
    told: tuple[Config, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    honest = candidates.fit_candidate

    def refuses(config: Config, name: str, windows: FitWindows) -> Estimator:
        if name != SHALLOW:
            raise RanksNothing("it ranks nothing")
        return honest(config, name, windows)

    monkeypatch.setattr(candidates, "fit_candidate", refuses)
    with caplog.at_level(logging.WARNING):
        found = select(*told)
    assert (found.candidate, set(found.figures), found.others) == (SHALLOW, {SHALLOW}, {})
    assert "boosted trees: no candidate, it ranks nothing" in caplog.text
    assert "logistic regression: no candidate, it ranks nothing" in caplog.text

    def refuses_all(config: Config, name: str, windows: FitWindows) -> Estimator:
        raise RanksNothing("it ranks nothing")

    monkeypatch.setattr(candidates, "fit_candidate", refuses_all)
    with pytest.raises(RanksNothing):
        select(*told)


def test_of_equal_candidates_the_deployments_own_is_taken(
    told: tuple[Config, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_figure", lambda *_: 0.5)
    assert select(*told).candidate == OWN


def test_the_champions_candidate_stays_unless_another_is_better_beyond_chance(
    told: tuple[Config, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees are far better than the regression on these rows; a figure that says otherwise is not believed."""
    config, rows = told
    assert select(config, rows, LOGISTIC).candidate != LOGISTIC
    assert select(config, rows, "no candidate any more").candidate != LOGISTIC
    said = {OWN: 0.5, SHALLOW: 0.4, LOGISTIC: 0.6}
    for incumbent, expected in (("", LOGISTIC), (OWN, OWN), (LOGISTIC, LOGISTIC)):
        figures = iter(said.values())
        monkeypatch.setattr(candidates, "_figure", lambda *_, figures=figures: next(figures))
        assert select(config, rows, incumbent).candidate == expected


def test_the_cheapest_is_taken_where_money_decides(told: tuple[Config, pd.DataFrame]) -> None:
    config, rows = told
    gate = config.gate.model_copy(update={"metric": "expected cost"})
    found = select(config.model_copy(update={"gate": gate}), rows)
    assert found.metric == "expected cost"
    assert found.figures[found.candidate] == min(found.figures.values())


def test_shallow_trees_are_never_more_or_deeper_than_the_deployments_own(told: tuple[Config, pd.DataFrame]) -> None:
    config, _ = told
    small = config.training.model.model_copy(update={"iterations": 3, "depth": 1})
    fewer = candidates._shallow(candidates.chosen.with_model(config, small)).training.model
    assert (fewer.iterations, fewer.depth) == (3, 1)


def test_a_record_says_which_candidate_it_is_and_what_the_others_reached() -> None:
    told = fit.Fit.selection.fget  # the property alone, a record has many other fields
    record = type(
        "Record",
        (),
        {"candidates": {OWN: 0.5, SHALLOW: 0.25}, "candidate": OWN, "selected_by": "average precision", "incumbent": ""},
    )
    words = "boosted trees, selected by average precision on the validation window: boosted trees 0.5, few shallow trees 0.25"
    assert told is not None
    assert told(record()) == words


def test_shallow_settings_are_fitted_once(told: tuple[Config, pd.DataFrame]) -> None:
    config, _ = told
    small = candidates.chosen.with_model(config, config.training.model.model_copy(update={"iterations": 3, "depth": 1}))
    assert candidate_names(small) == [OWN, LOGISTIC]
    alone = small.model_copy(update={"training": small.training.model_copy(update={"candidates": [SHALLOW]})})
    assert candidate_names(alone) == [SHALLOW]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ([], "at least 1 item"),
        (["linear"], "'boosted trees', 'few shallow trees' or 'logistic regression'"),
        ([LOGISTIC, OWN, LOGISTIC], "logistic regression is given more than once; give each candidate once"),
    ],
)
def test_candidates_that_cannot_be_are_refused_on_load(tmp_path, given: list[str], refused: str) -> None:
    raw = made_up.deployments.small_told()
    raw["training"]["candidates"] = given
    with pytest.raises(ValueError, match=refused):
        load(made_up.deployments.write(tmp_path, raw))


def test_a_deployment_may_name_its_candidates(told: tuple[Config, pd.DataFrame], tmp_path) -> None:
    _, rows = told
    raw = made_up.deployments.small_told()
    raw["training"]["caps"] = {}
    raw["training"]["candidates"] = [LOGISTIC]
    found = select(load(made_up.deployments.write(tmp_path, raw)), rows)
    assert (found.candidate, set(found.figures), found.others) == (LOGISTIC, {LOGISTIC}, {})
