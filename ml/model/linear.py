"""A logistic regression on the matrix of the trees.

A number contributes by its distance from the mean of the training rows, clipped to their range; a missing one contributes a
constant of its own if the training rows have missing and other values. Each input has one contribution to the margin, which is
its SHAP value if inputs are independent (Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017,
corollary 1).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from ml.model.calibration import Platt
from ml.model.estimator import Nodes
from ml.model.inputs import MISSING


@dataclass(frozen=True)
class Term:
    """One input: it contributes weight · (min(max(x, low), high) - mean) + present to the margin, `missing` where x is missing.

    Over the training rows the mean contribution is 0, and the mean absolute contribution is `strength`.
    """

    name: str
    weight: float
    mean: float
    present: float
    missing: float
    low: float
    high: float
    strength: float


@dataclass(frozen=True)
class Linear:
    """A fitted logistic regression, see `ml.model.estimator`. The margin is `base` plus the terms' contributions."""

    FILE: ClassVar[str] = "linear.json"
    FORMATS: ClassVar[tuple[str, ...]] = ("json",)

    base: float
    terms: tuple[Term, ...]
    platt: Platt

    @property
    def trees(self) -> int:
        """Number of trees: 0."""
        return 0

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds of a positive label, shape (n_rows,)."""
        margins: np.ndarray = self._contributions(matrix).sum(axis=1) + self.base
        return margins

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """The contribution of each term, then the base value, shape (n_rows, n_inputs + 1)."""
        return np.column_stack([self._contributions(matrix), np.full(len(matrix), self.base)])

    def _contributions(self, matrix: np.ndarray) -> np.ndarray:
        values = matrix.astype(np.float64, order="C")  # the order of a sum is that of the memory
        distance = np.clip(values, self._field("low"), self._field("high")) - self._field("mean")
        return np.where(values == MISSING, self._field("missing"), distance * self._field("weight") + self._field("present"))

    def _field(self, field: str) -> np.ndarray:
        return np.array([getattr(term, field) for term in self.terms], dtype=np.float64)

    def importance(self) -> np.ndarray:
        """Share of each input in the mean absolute contributions, shape (n_inputs,); sums to 100."""
        strength = self._field("strength")
        return 100 * strength / strength.sum()

    def calibrated(self, scaling: Platt) -> Linear:
        """The model with all terms multiplied by the slope, and the intercept added to the base."""
        slope = scaling.slope
        scaled = ("weight", "present", "missing", "strength")
        terms = tuple(replace(term, **{field: getattr(term, field) * slope for field in scaled}) for term in self.terms)
        return Linear(self.base * slope + scaling.intercept, terms, scaling)

    def to_onnx(self) -> Nodes:
        """The same sum in double precision, so that the graph differs only by the rounding of its output."""
        from onnx import TensorProto, helper, numpy_helper

        constants = {f"_{field}": self._field(field) for field in ("low", "high", "mean", "weight", "present", "missing")}
        constants |= {"_base": np.array(self.base), "_absent": np.array(MISSING), "_input_axis": np.array([1])}
        steps = [
            ("Cast", ["_features"], "_values", {"to": TensorProto.DOUBLE}),
            ("Max", ["_values", "_low"], "_not_below", {}),
            ("Min", ["_not_below", "_high"], "_within", {}),
            ("Sub", ["_within", "_mean"], "_apart", {}),
            ("Mul", ["_apart", "_weight"], "_weighted", {}),
            ("Add", ["_weighted", "_present"], "_told", {}),
            ("Equal", ["_values", "_absent"], "_is_absent", {}),
            ("Where", ["_is_absent", "_missing", "_told"], "_contributions", {}),
            ("ReduceSum", ["_contributions", "_input_axis"], "_sum", {"keepdims": 0}),
            ("Add", ["_sum", "_base"], "_margin", {}),
            ("Sigmoid", ["_margin"], "_precise", {}),
            ("Cast", ["_precise"], "_answer", {"to": TensorProto.FLOAT}),
        ]
        return Nodes(
            [helper.make_node(operator, inputs, [result], **attributes) for operator, inputs, result, attributes in steps],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )

    def save(self, path: Path) -> None:
        """Write all coefficients as JSON, with all digits."""
        path.write_bytes(self.canonical_bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        record = json.loads(path.read_text())
        return cls(record["base"], tuple(Term(**term) for term in record["terms"]), Platt(*record["platt"]))

    def canonical_bytes(self) -> bytes:
        """The content of the file, which has no creation time."""
        return json.dumps(asdict(self), indent=1).encode()
