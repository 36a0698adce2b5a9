"""Boosted trees by CatBoost: fitted, calibrated in their leaves, attributed by SHAP, and as a piece of an ONNX graph."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from ml.config import Config
from ml.training.calibrate import Platt
from ml.training.inputs import Inputs
from ml.training.learned import Nodes
from ml.training.weights import class_weights, row_weights

if TYPE_CHECKING:
    from catboost import CatBoostClassifier, Pool

METADATA = "platt"
CLOCK = ("train_finish_time", "model_guid")


@dataclass(frozen=True, eq=False)
class Trees:
    """Fitted trees; see `ml.training.learned.Learned`."""

    FILE: ClassVar[str] = "model.cbm"
    FORMATS: ClassVar[tuple[str, ...]] = ("cbm", "json")

    classifier: CatBoostClassifier

    @property
    def platt(self) -> Platt:
        """What was folded into the leaves."""
        return Platt(*json.loads(self.classifier.get_metadata()[METADATA]))

    @property
    def trees(self) -> int:
        """How many there are."""
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
        """Share of each input in how much the margins change with it, shape (n_inputs,); sums to 100."""
        return np.asarray(self.classifier.get_feature_importance(), dtype=np.float64)

    def calibrated(self, found: Platt) -> Trees:
        """Every leaf times the slope, the constants into the first tree's leaves; the metadata tell with what.

        CatBoost's own scale does not export to ONNX, and its bias is read wrongly there. These trees are changed themselves,
        CatBoost changes no copy.
        """
        scale, bias = self.classifier.get_scale_and_bias()
        leaves = np.asarray(self.classifier.get_leaf_values()) * scale * found.slope
        leaves[: self.classifier.get_tree_leaf_counts()[0]] += bias * found.slope + found.intercept
        self.classifier.set_leaf_values(leaves)
        self.classifier.set_scale_and_bias(1.0, 0.0)
        self.classifier.get_metadata()[METADATA] = json.dumps(found)
        return self

    def to_onnx(self) -> Nodes:
        """ONNX's own operator of trees, and of its two probabilities the positive's."""
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

    def timeless(self) -> bytes:
        """The binary file without the time at which it was made and its random guid."""
        copy = self.classifier.copy()
        metadata = copy.get_metadata()
        for name in CLOCK:
            metadata[name] = ""
        return _written(copy, "cbm")

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """CatBoost's JSON, which has all digits of a border."""
        told: dict[str, Any] = json.loads(_written(self.classifier, "json"))
        return told


def _written(classifier: CatBoostClassifier, file_format: str) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"model.{file_format}"
        classifier.save_model(str(path), format=file_format)
        return path.read_bytes()


def grow(
    config: Config, inputs: Inputs, matrix: np.ndarray, train: pd.DataFrame, validation: pd.DataFrame | None = None
) -> Trees:
    """Fit CatBoost with the deployment's settings; without a validation window all trees are kept.

    The validation rows have the weights of their classes and no others, so that the loss that stops the trees is the one that
    they were fitted to, on rows that all count as they come.

    Args:
        matrix: of the training rows, as `learn_inputs` gives it.

    Raises:
        CapUnreachable: see `ml.training.weights`.
    """
    from catboost import CatBoostClassifier, Pool

    settings = config.training.model.model_dump(exclude={"early_stopping_rounds", "positive_weight", "half_life"})
    classifier = CatBoostClassifier(
        **settings, bootstrap_type="Bernoulli", loss_function="Logloss", allow_writing_files=False, verbose=100
    )

    def pool(values: np.ndarray, labels: pd.Series, weights: np.ndarray) -> Pool:
        return Pool(values, labels, weight=weights, feature_names=inputs.names)

    fitted = pool(matrix, train["label"], row_weights(config, train))
    if validation is None:
        return Trees(classifier.fit(fitted))
    weights = class_weights(validation["label"], config.training.model.positive_weight)
    judged = pool(inputs.matrix(validation), validation["label"], weights)
    patience = config.training.model.early_stopping_rounds
    return Trees(classifier.fit(fitted, eval_set=judged, early_stopping_rounds=patience, use_best_model=True))
