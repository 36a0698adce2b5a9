"""Learns the inputs of a model from the training rows."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from ml.config import Config
from ml.errors import BadInput
from ml.model.inputs import MISSING, Inputs, filled
from ml.store.feast import feature_names
from ml.training import categories

log = logging.getLogger(__name__)


def learn_inputs(config: Config, train: pd.DataFrame) -> tuple[Inputs, np.ndarray]:
    """Learn the inputs of a deployment; returns them and the matrix to fit on, whose categories are encoded by cross fitting.

    See `learn`; `train` has the numbers too.
    """
    inputs, own_numbers = learn(config, train)
    return inputs, training_matrix(inputs, train, own_numbers)


def learn(config: Config, train: pd.DataFrame) -> tuple[Inputs, list[np.ndarray]]:
    """Learn the inputs of a deployment; returns them and, by category, each training row's own number, shape (n_rows,).

    A count or a sum without a snapshot is 0, as for an entity without events; a mean is missing. A category without a value
    in the training rows is left out, with a warning. All rows of a cluster are in one fold, so that a label does not leak
    through other rows of the same cluster.

    Args:
        train: training rows with label, categories and the cluster's key.
    """
    zero = {name for window in config.windows for name in window.named("count", "sum")}
    numbers = [*config.measures, *feature_names(config)]
    fill = {name: 0.0 if name in zero else MISSING for name in numbers}
    keys = train[config.entities[config.gate.cluster]].astype(object)
    fold = categories.folds(keys.where(keys.notna(), train["event_id"]))
    levels, columns = {}, []
    for name in config.categories:
        encoding, own_numbers = categories.learn(train[name], train["label"].to_numpy(np.int8), fold)
        if not encoding.codes:
            log.warning(
                "%s is left out of the model: none of the %d training rows has a value of this category", name, len(train)
            )
            continue
        levels[name] = encoding
        columns.append(own_numbers)
    inputs = Inputs(fill, levels)
    if not inputs.names:
        raise BadInput("the model has no inputs: no number is declared, and no category has a value in the training window")
    return inputs, columns


def training_matrix(inputs: Inputs, rows: pd.DataFrame, own_numbers: list[np.ndarray]) -> np.ndarray:
    """What a model is fitted on, float32 of shape (n_rows, n_inputs).

    Args:
        rows: training rows with the numbers.
        own_numbers: by category, each of these rows' own number, see `learn`.
    """
    return np.column_stack([*filled(rows, inputs.fill), *own_numbers]).astype(np.float32)
