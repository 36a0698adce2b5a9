"""The inputs of a model: raw columns as a matrix of numbers, or as the feeds of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from ml.errors import NotThere
from ml.model.levels import Levels, texts

Columns = Mapping[str, np.ndarray]

MISSING = -1e9
"""The value of a missing number in a matrix; exact in float32."""


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
        # By columns, as CatBoost reads them without a copy.
        matrix = np.empty((len(frame), len(self.names)), dtype=np.float32, order="F")
        columns = chain(filled(frame, self.fill), (levels.numbers(frame[name]) for name, levels in self.categories.items()))
        for place, column in enumerate(columns):
            matrix[:, place] = column
        return matrix


def filled(frame: pd.DataFrame, fill: dict[str, float]) -> Iterator[np.ndarray]:
    """Columns of numbers as float32, shape (n_rows,) each, with missing values filled."""
    for name, value in fill.items():
        numbers = frame[name].astype("float64", copy=False).to_numpy().astype(np.float32)
        np.copyto(numbers, value, where=np.isnan(numbers))
        yield numbers


def onnx_feeds(inputs: Inputs, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Inputs of the ONNX graph by column, shape (n_rows,) each; see `feeds`."""
    columns: dict[str, np.ndarray] = {name: frame[name].astype("float64").to_numpy() for name in inputs.fill}
    return feeds(inputs, columns | {name: texts(frame[name]) for name in inputs.categories})


def feeds(inputs: Inputs, columns: Columns) -> dict[str, np.ndarray]:
    """Inputs of the ONNX graph by column, shape (n_rows,) each: numbers as float32, categories as they are.

    Args:
        columns: numbers as float64, NaN if missing; categories as text, empty if missing.

    Raises:
        NotThere: a column of the model is missing.
    """
    missing = [name for name in inputs.names if name not in columns]
    if missing:
        raise NotThere(f"the model needs columns {missing}, which are not there; published features changed since")
    numbers = {name: columns[name].astype(np.float32) for name in inputs.fill}
    return numbers | {name: columns[name] for name in inputs.categories}
