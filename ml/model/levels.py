"""Categories as numbers, by the levels that `ml.training.categories` learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Levels:
    """The numbers of the levels in the training rows, of a missing value, and of an unseen level.

    An empty text is a missing value, as in an ONNX graph, whose texts cannot be missing. All numbers are exact in float32.
    """

    codes: dict[str, float]
    missing: float
    unseen: float

    def numbers(self, values: pd.Series) -> Floats:
        """Number of each value, shape (n_rows,)."""
        codes = {**self.codes, "": self.missing}
        names, position = distinct(values)
        return np.array([codes.get(name, self.unseen) for name in names], dtype=np.float32)[position]


def texts(values: pd.Series) -> NDArray[np.object_]:
    """Values as an ONNX graph takes them, shape (n_rows,): text, empty for a missing one."""
    names, position = distinct(values)
    return names[position]


def distinct(values: pd.Series) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The distinct texts, sorted, and the index of each row's text in them."""
    position, uniques = pd.factorize(values, use_na_sentinel=True)
    texts = np.array([str(value) for value in uniques] + [""], dtype=object)
    names, sorted_position = np.unique(texts, return_inverse=True)
    return names, sorted_position[position]
