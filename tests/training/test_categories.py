"""Categories become numbers that a row's own label is not in, and every runtime gives a value the same number."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config, load
from ml.evaluation.metrics import average_precision
from ml.model.graph import to_onnx
from ml.model.inputs import MISSING, Inputs
from ml.model.levels import Levels
from ml.model.model import Model
from ml.training import categories
from ml.training.candidates import fit_own_trees
from ml.training.categories import FOLDS, PRIOR, RARE
from ml.training.inputs import learn_inputs
from ml.training.split import split
from tests.models import fitted, payments
from tests.training import rows as made_up


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment without a search whose trees are worth looking at."""
    told = made_up.deployments.small_told()
    told["training"]["caps"] = {}
    return load(made_up.deployments.write(tmp_path_factory.mktemp("categories"), told))


@pytest.fixture
def rows(config: Config) -> pd.DataFrame:
    """Training and validation rows that can be spoilt."""
    return made_up.made(config, split(config, made_up.AS_OF))


def labelled(size: int, rate: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and folds of rows that have nothing to do with each other."""
    dice = np.random.default_rng(seed)
    return (dice.random(size) < rate).astype(np.int8), dice.integers(0, FOLDS, size)


def test_a_rows_own_label_does_not_move_its_number() -> None:
    labels, fold = labelled(3000)
    values = pd.Series(np.random.default_rng(1).choice(["a", "b", "c", None], 3000))
    _, before = categories.learn(values, labels, fold)
    for row in range(0, 3000, 500):
        # Another row of the same fold takes the label over, so that the base rate stays.
        other = np.flatnonzero((fold == fold[row]) & (labels != labels[row]))[0]
        swapped = labels.copy()
        swapped[[row, other]] = labels[[other, row]]
        _, after = categories.learn(values, swapped, fold)
        assert after[row] == before[row]


def test_a_level_that_says_nothing_does_not_rank_the_rows_that_are_fitted() -> None:
    """Ranked by their own rows, these levels had a ROC AUC of .9."""
    found = []
    for seed in range(20):
        labels, fold = labelled(20_000, seed=seed)
        values = pd.Series(np.random.default_rng(seed + 100).integers(0, 800, 20_000).astype(str))
        _, own = categories.learn(values, labels, fold)
        found.append(average_precision(labels, own.astype(np.float64)))
    assert np.mean(found) == pytest.approx(0.1, abs=0.005)


def test_a_level_is_drawn_to_the_base_rate_by_as_many_positives_as_documented() -> None:
    fold = np.arange(10_000) % FOLDS
    labels = np.zeros(10_000, np.int8)
    labels[:1000] = 1
    values = pd.Series(["rich"] * 1000 + ["poor"] * 9000)
    told, _ = categories.learn(values, labels, fold)
    base = 1000.5 / 10_001
    prior = PRIOR / base
    rate = (1000 + prior * base) / (1000 + prior)
    assert told.codes["rich"] == pytest.approx(np.log(rate / (1 - rate)), rel=1e-6)
    assert told.unseen == pytest.approx(np.log(base / (1 - base)), rel=1e-6)


def test_rare_levels_share_a_number_and_missing_and_unseen_have_their_own() -> None:
    labels, fold = labelled(3000, 0.3)
    values = ["common"] * (3000 - 200 - 2 * (RARE - 1)) + [None] * 150 + [""] * 50 + ["r1"] * (RARE - 1) + ["r2"] * (RARE - 1)
    told, _ = categories.learn(pd.Series(values), labels, fold)
    assert told.codes["r1"] == told.codes["r2"]
    assert len({told.codes["common"], told.codes["r1"], told.missing, told.unseen}) == 4
    numbers = told.numbers(pd.Series(["r2", None, "", float("nan"), "never"]))
    assert numbers.tolist() == [told.codes["r1"], told.missing, told.missing, told.missing, told.unseen]


def test_folds_do_not_depend_on_the_order_of_the_rows() -> None:
    keys = pd.Series([f"C{i % 700}" for i in range(5000)])
    fold = categories.folds(keys)
    assert (categories.folds(keys[::-1])[::-1] == fold).all()
    assert pd.Series(fold).groupby(keys).nunique().max() == 1
    assert np.bincount(fold, minlength=FOLDS).min() > 800


def test_thousands_of_levels_that_say_nothing_cost_nothing(config: Config, rows: pd.DataFrame) -> None:
    name = config.categories[0]

    def precision(levels: int) -> float:
        told = rows.assign(**{name: np.random.default_rng(3).integers(0, levels, len(rows)).astype(str)})
        trees, inputs = fit_own_trees(config, told)
        later = made_up.made(config, split(config, made_up.AS_OF), seed=9)
        scores = trees.margins(inputs.matrix(later.assign(**{name: "0"})))
        return average_precision(later["label"].to_numpy(), scores)

    few = precision(4)
    assert precision(len(rows) // 10) > few - 0.03
    assert precision(len(rows)) > few - 0.03


def test_a_category_without_any_value_is_left_out_and_named(
    config: Config, rows: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    name = config.categories[0]
    with caplog.at_level(logging.WARNING):
        trees, inputs = fit_own_trees(config, rows.assign(**{name: None}))
    assert name not in inputs.names
    assert f"{name} is left out of the model" in caplog.text
    to_onnx(trees, inputs)


def test_without_any_category_there_is_still_a_model(config: Config, rows: pd.DataFrame) -> None:
    trees, inputs = fit_own_trees(config, rows.assign(**dict.fromkeys(config.categories, None)))
    assert inputs.categories == {}
    to_onnx(trees, inputs)


def test_one_level_is_a_constant(config: Config, rows: pd.DataFrame) -> None:
    trees, inputs = fit_own_trees(config, rows.assign(**dict.fromkeys(config.categories, "only")))
    assert {len(levels.codes) for levels in inputs.categories.values()} == {1}
    to_onnx(trees, inputs)


def test_rows_without_a_cluster_are_spread_over_the_folds(config: Config, rows: pd.DataFrame) -> None:
    key = config.entities[config.gate.cluster]
    _, matrix = learn_inputs(config, rows.assign(**{key: None}))
    assert len(np.unique(matrix[rows[config.categories[-1]] == "a"][:, -1])) == FOLDS


ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["nan", "None", "NULL", "", " ", "0"])


@settings(max_examples=15, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=40, unique=True), st.integers(0, 2**32 - 1))
def test_the_graph_gives_any_text_the_number_that_training_gave(tmp_path_factory, names: list[str], seed: int) -> None:
    dice = np.random.default_rng(seed)
    told = payments(400).assign(channel=dice.choice(np.array([*names, None], dtype=object), 400))
    levels = Levels({n: float(np.float32(dice.normal())) for n in names[::2] if n}, missing=0.25, unseen=-0.5)
    folder: Path = tmp_path_factory.mktemp("odd")
    model: Model = fitted(folder, made_up.deployments.small(folder), told, Inputs({"amount": MISSING}, {"channel": levels}))
    assert model.score_onnx(told) == pytest.approx(model.score(told), abs=1e-6)
    assert Model(folder).inputs == model.inputs
