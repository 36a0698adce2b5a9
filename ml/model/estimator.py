"""The protocol of a fitted candidate, which is all that the rest of the code uses of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

import numpy as np

from ml.model.calibration import Platt

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto


class Nodes(NamedTuple):
    """Part of an ONNX graph: its nodes in order, and its constants."""

    nodes: list[NodeProto]
    constants: list[TensorProto]


class Estimator(Protocol):
    """A fitted candidate over the matrix of its `Inputs`, shape (n_rows, n_inputs), float32.

    A margin is a score in log-odds; the probability is its logistic function.

    Attributes:
        FILE: name of its file in a model folder.
        FORMATS: native file formats; the first one is that of `FILE`.
    """

    FILE: ClassVar[str]
    FORMATS: ClassVar[tuple[str, ...]]

    @property
    def platt(self) -> Platt:
        """The calibration that its margins include."""

    @property
    def trees(self) -> int:
        """How many trees it has; 0 for a linear model."""

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds of a positive label, shape (n_rows,)."""

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """SHAP values in log-odds, then the base value, shape (n_rows, n_inputs + 1); a row's sum is its margin."""

    def importance(self) -> np.ndarray:
        """Relative importance of each input, shape (n_inputs,); sums to 100."""

    def calibrated(self, scaling: Platt) -> Self:
        """The model with calibrated margins, in every format; do not use the uncalibrated one any more."""

    def to_onnx(self) -> Nodes:
        """From `_features`, the matrix, to `_answer`, float32 of shape (n_rows,)."""

    def save(self, path: Path) -> None:
        """Write a file in the format that its suffix names, one of `FORMATS`."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""

    def canonical_bytes(self) -> bytes:
        """Its file as bytes, without creation time and random ids."""
