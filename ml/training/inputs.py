"""The inputs of a model: how raw columns become the matrix of numbers that a candidate learns from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config
from ml.store.feast import feature_names
from ml.training import categories
from ml.training.categories import Levels

MISSING = -1e9
"""Stands for a missing number in a matrix; exact in float32."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The columns of a model, in order: numbers with what stands for a missing one, then categories with their levels."""

    fill: dict[str, float]
    categories: dict[str, Levels]

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Inputs:
        """Rebuild what `dataclasses.asdict` made plain.

        Versions of before levels had numbers list them by rank; a champion is scored as long as it is one.
        """

        def levels(of: dict[str, Any] | list[str]) -> Levels:
            return Levels({name: float(rank) for rank, name in enumerate(of)}, -1, -1) if isinstance(of, list) else Levels(**of)

        return cls(told["fill"], {name: levels(of) for name, of in told["categories"].items()})

    @property
    def answer(self) -> str:
        """Name of an exported model's answer: `probability`, or `_probability` where a column is named so."""
        return "_probability" if "probability" in self.names else "probability"

    @property
    def names(self) -> list[str]:
        """All columns, in the order of the matrix."""
        return [*self.fill, *self.categories]

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """Raw columns as float32, shape (n_rows, n_inputs).

        Raises:
            KeyError: a column that the model needs is not there.
        """
        missing = [name for name in self.names if name not in frame]
        if missing:
            raise KeyError(f"the model needs columns {missing}, which are not there; published features changed since")
        columns = filled(frame, self.fill)
        columns += [levels.numbers(frame[name]) for name, levels in self.categories.items()]
        return np.column_stack(columns).astype(np.float32)


def filled(frame: pd.DataFrame, fill: dict[str, float]) -> list[np.ndarray]:
    """Columns of numbers, shape (n_rows,) each, with what stands for a missing one."""
    return [frame[name].astype("float64").fillna(value).to_numpy() for name, value in fill.items()]


def learn_inputs(config: Config, train: pd.DataFrame) -> tuple[Inputs, np.ndarray]:
    """The inputs of a deployment, and the matrix to fit on: a row's categories have numbers that its label is not in.

    A count or a sum without a snapshot is zero, as it is in a snapshot of an entity that did nothing; a mean is missing. A
    category that no training row has a value of is left out, with a warning. Rows of one cluster are in one fold, so that a
    label does not reach its number by way of others of the same card.
    """
    zero = {w.feature(a, d) for w in config.windows for d in w.days for a in w.aggregates if a in ("count", "sum")}
    numbers = [*config.measures, *feature_names(config)]
    fill = {name: 0.0 if name in zero else MISSING for name in numbers}
    keys = train[config.entities[config.gate.cluster]]
    fold = categories.folds(keys.where(keys.notna(), train["event_id"]))
    levels, columns = {}, filled(train, fill)
    for name in config.categories:
        learned, own = categories.learn(train[name], train["label"].to_numpy(np.int8), fold)
        if not learned.codes:
            log.warning(
                "%s is left out of the model: none of the %d training rows has a value of this category", name, len(train)
            )
            continue
        levels[name] = learned
        columns.append(own)
    inputs = Inputs(fill, levels)
    if not inputs.names:
        raise ValueError("the model has no inputs: no number is declared, and no category has a value in the training window")
    return inputs, np.column_stack(columns).astype(np.float32)


def onnx_feeds(inputs: Inputs, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """One input a column, shape (n_rows,): numbers as float32 with NaN for a missing one, categories as text."""
    feeds = {name: frame[name].astype("float64").to_numpy(np.float32) for name in inputs.fill}
    feeds |= {name: categories.texts(frame[name]) for name in inputs.categories}
    return feeds
