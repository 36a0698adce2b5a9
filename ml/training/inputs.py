"""The inputs of a model: converts raw columns to the matrix of numbers that candidates are fitted on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config
from ml.errors import BadInput, NotThere
from ml.store.feast import feature_names
from ml.training import categories
from ml.training.categories import Levels

MISSING = -1e9
"""The value of a missing number in a matrix; exact in float32."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The columns of a model, in order: numbers with their fill values, then categories with their levels."""

    fill: dict[str, float]
    categories: dict[str, Levels]

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Inputs:
        """Inputs from the dictionary that `dataclasses.asdict` made.

        Older versions list levels by rank instead of mapping them to numbers; they must stay readable, as one may be champion.
        """

        def levels(listed: dict[str, Any] | list[str]) -> Levels:
            return (
                Levels({name: float(rank) for rank, name in enumerate(listed)}, -1, -1)
                if isinstance(listed, list)
                else Levels(**listed)
            )

        return cls(plain["fill"], {name: levels(listed) for name, listed in plain["categories"].items()})

    @property
    def answer(self) -> str:
        """Name of the output of an exported model: `probability`, or `_probability` if a column has that name."""
        return "_probability" if "probability" in self.names else "probability"

    @property
    def names(self) -> list[str]:
        """All columns, in the order of the matrix."""
        return [*self.fill, *self.categories]

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Raw columns as float32, shape (n_rows, n_inputs).

        Raises:
            KeyError: a column of the model is missing.
        """
        missing = [name for name in self.names if name not in frame]
        if missing:
            raise NotThere(f"the model needs columns {missing}, which are not there; published features changed since")
        columns = filled(frame, self.fill)
        columns += [levels.numbers(frame[name]) for name, levels in self.categories.items()]
        return np.column_stack(columns).astype(np.float32)


def filled(frame: pd.DataFrame, fill: dict[str, float]) -> list[np.ndarray]:
    """Columns of numbers, shape (n_rows,) each, with missing values filled."""
    return [frame[name].astype("float64").fillna(value).to_numpy() for name, value in fill.items()]


def learn_inputs(config: Config, train: pd.DataFrame) -> tuple[Inputs, np.ndarray]:
    """Learn the inputs of a deployment; returns them and the matrix to fit on, whose categories are encoded by cross fitting.

    A count or a sum without a snapshot is 0, as for an entity without events; a mean is missing. A category without a value
    in the training rows is left out, with a warning. All rows of a cluster are in one fold, so that a label does not leak
    through other rows of the same cluster.
    """
    zero = {w.feature(a, d) for w in config.windows for d in w.days for a in w.aggregates if a in ("count", "sum")}
    numbers = [*config.measures, *feature_names(config)]
    fill = {name: 0.0 if name in zero else MISSING for name in numbers}
    keys = train[config.entities[config.gate.cluster]]
    fold = categories.folds(keys.where(keys.notna(), train["event_id"]))
    levels, columns = {}, filled(train, fill)
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
    return inputs, np.column_stack(columns).astype(np.float32)


def onnx_feeds(inputs: Inputs, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Inputs of the ONNX graph by column, shape (n_rows,) each: numbers as float32, NaN if missing, categories as text."""
    feeds = {name: frame[name].astype("float64").to_numpy(np.float32) for name in inputs.fill}
    feeds |= {name: categories.texts(frame[name]) for name in inputs.categories}
    return feeds
