"""What a candidate is after it was fitted, whatever its kind: the rest of the code asks no more of a model than this."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

import numpy as np

from ml.training.calibrate import Platt

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto


class Nodes(NamedTuple):
    """A piece of an ONNX graph: its nodes in order, and its constants."""

    nodes: list[NodeProto]
    constants: list[TensorProto]


class Learned(Protocol):
    """A fitted candidate over the matrix of its `Inputs`, shape (n_rows, n_inputs), float32.

    A margin is a score in log-odds; the probability is its logistic function.

    Attributes:
        FILE: its file's name in a model folder.
        FORMATS: file formats of its own kind, the first that of `FILE`.
    """

    FILE: ClassVar[str]
    FORMATS: ClassVar[tuple[str, ...]]

    @property
    def platt(self) -> Platt:
        """The calibration that its margins hold."""

    @property
    def trees(self) -> int:
        """How many trees it has; 0 for a linear model."""

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds of a positive label, shape (n_rows,)."""

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """SHAP values in log-odds, then the base value, shape (n_rows, n_inputs + 1); a row's sum is its margin."""

    def importance(self) -> np.ndarray:
        """Share of each input in what the model tells, shape (n_inputs,); sums to 100."""

    def calibrated(self, found: Platt) -> Self:
        """The model with calibrated margins, in every format that is made of it; the one that was asked is used up."""

    def to_onnx(self) -> Nodes:
        """From `_features`, the matrix, to `_answer`, float32 of shape (n_rows,)."""

    def save(self, path: Path) -> None:
        """Write a file in the format that its suffix names, one of `FORMATS`."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""

    def timeless(self) -> bytes:
        """Its file, without what tells when it was made."""
