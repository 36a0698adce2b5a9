"""The forest ranks what is to be ranked, and is the same again with the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.metrics import roc_auc
from ml.model.inputs import Inputs
from ml.training import dataset
from ml.training.baseline import random_forest
from ml.training.inputs import learn_inputs
from ml.training.split import split
from tests.training import rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inputs, pd.DataFrame, pd.DataFrame]:
    """Inputs, training and validation rows of a made-up training set with some values missing."""
    config = rows.deployment(tmp_path_factory.mktemp("baseline"))
    told = rows.made(config, split(config, rows.AS_OF))
    told.loc[told.index % 7 == 0, list(learn_inputs(config, told)[0].fill)[-1]] = np.nan
    train, validation = (told[told[dataset.SPLIT] == part] for part in (dataset.TRAIN, dataset.VALIDATION))
    return learn_inputs(config, train)[0], train, validation


def test_a_forest_ranks_far_better_than_chance(made: tuple[Inputs, pd.DataFrame, pd.DataFrame]) -> None:
    inputs, train, validation = made
    found = random_forest(inputs, train, validation, 0)
    assert found.scores.shape == (len(validation),)
    assert roc_auc(validation["label"].to_numpy(), found.scores) > 0.7


def test_the_seed_alone_decides_what_a_baseline_learns(made: tuple[Inputs, pd.DataFrame, pd.DataFrame]) -> None:
    inputs, train, validation = made
    first, again, other = (random_forest(inputs, train, validation, seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert np.array_equal(first.scores, again.scores)
