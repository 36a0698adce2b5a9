"""Boosted trees by CatBoost: calibrated in their leaves, attributed by SHAP, and converted to part of an ONNX graph."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ml.model.calibration import Platt
from ml.model.estimator import Nodes

if TYPE_CHECKING:
    from catboost import CatBoostClassifier

METADATA = "platt"
CLOCK = ("train_finish_time", "model_guid")


@dataclass(frozen=True, eq=False)
class Trees:
    """Fitted trees; see `ml.model.estimator.Estimator`."""

    FILE: ClassVar[str] = "model.cbm"
    FORMATS: ClassVar[tuple[str, ...]] = ("cbm", "json")

    classifier: CatBoostClassifier

    @property
    def platt(self) -> Platt:
        """The calibration that was folded into the leaves."""
        return Platt(*json.loads(self.classifier.get_metadata()[METADATA]))

    @property
    def trees(self) -> int:
        """Number of trees."""
        return int(self.classifier.tree_count_)

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Log-odds of a positive label, shape (n_rows,)."""
        margins: np.ndarray = self.classifier.predict(matrix, prediction_type="RawFormulaVal")
        return margins

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """SHAP values by CatBoost, then the base value, shape (n_rows, n_inputs + 1)."""
        from catboost import Pool

        values: np.ndarray = self.classifier.get_feature_importance(Pool(matrix), type="ShapValues")
        return values

    def importance(self) -> np.ndarray:
        """Share of each input in the changes of the margins, shape (n_inputs,); sums to 100."""
        return np.asarray(self.classifier.get_feature_importance(), dtype=np.float64)

    def calibrated(self, scaling: Platt) -> Trees:
        """Multiply all leaves by the slope and add the constants to the leaves of the first tree; metadata record both.

        The ONNX export drops CatBoost's own scale and reads its bias wrongly. The trees are changed in place, because CatBoost
        cannot change a copy.
        """
        scale, bias = self.classifier.get_scale_and_bias()
        leaves = np.asarray(self.classifier.get_leaf_values()) * scale * scaling.slope
        leaves[: self.classifier.get_tree_leaf_counts()[0]] += bias * scaling.slope + scaling.intercept
        self.classifier.set_leaf_values(leaves)
        self.classifier.set_scale_and_bias(1.0, 0.0)
        self.classifier.get_metadata()[METADATA] = json.dumps(scaling)
        return self

    def to_onnx(self) -> Nodes:
        """The ONNX operator of tree ensembles, and a selection of the probability of a positive."""
        from onnx import helper, numpy_helper
        from onnxmltools import convert_catboost

        ensemble = convert_catboost(self.classifier, name="trees").graph.node[0]
        ensemble.input[0] = "_features"
        ensemble.output[0], ensemble.output[1] = "_predicted", "_probabilities"
        positive = numpy_helper.from_array(np.array(1, dtype=np.int64), "_positive")
        return Nodes([ensemble, helper.make_node("Gather", ["_probabilities", "_positive"], ["_answer"], axis=1)], [positive])

    def save(self, path: Path) -> None:
        """Write CatBoost's binary file or its JSON, as the suffix says."""
        self.classifier.save_model(str(path), format=path.suffix.removeprefix("."))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read either file."""
        from catboost import CatBoostClassifier

        classifier = CatBoostClassifier()
        classifier.load_model(str(path), format=path.suffix.removeprefix("."))
        return cls(classifier)

    def canonical_bytes(self) -> bytes:
        """The binary file without its creation time and its random guid."""
        copy = self.classifier.copy()
        metadata = copy.get_metadata()
        for name in CLOCK:
            metadata[name] = ""
        return _written(copy, "cbm")

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """CatBoost's JSON, with all digits of the borders."""
        document: dict[str, Any] = json.loads(_written(self.classifier, "json"))
        return document


def _written(classifier: CatBoostClassifier, file_format: str) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"model.{file_format}"
        classifier.save_model(str(path), format=file_format)
        return path.read_bytes()
