"""A fitted model in a folder: its estimator, and the inputs that convert raw columns to the estimator's matrix."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from ml.model.estimator import Estimator
from ml.model.inputs import Inputs, onnx_feeds
from ml.model.linear import Linear
from ml.model.trees import Trees

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

KINDS: tuple[type[Estimator], ...] = (Trees, Linear)
INPUTS, ONNX = "inputs.json", "model.onnx"


@dataclass(frozen=True)
class Model:
    """A model folder; many rows are scored by the estimator itself, single rows by the ONNX graph."""

    folder: Path

    @cached_property
    def inputs(self) -> Inputs:
        """The conversion of raw columns to numbers."""
        return Inputs.from_dict(json.loads((self.folder / INPUTS).read_text()))

    @cached_property
    def estimator(self) -> Estimator:
        """The fitted estimator.

        Raises:
            FileNotFoundError: the folder has no model of any kind.
        """
        for kind in KINDS:
            if (self.folder / kind.FILE).is_file():
                return kind.load(self.folder / kind.FILE)
        raise FileNotFoundError(f"{self.folder} holds no model: expected one of {', '.join(kind.FILE for kind in KINDS)}")

    def score(self, frame: pd.DataFrame) -> np.ndarray:
        """Probability of a positive label, shape (n_rows,)."""
        probabilities: np.ndarray = expit(self.estimator.margins(self.inputs.matrix(frame)))
        return probabilities

    def score_onnx(self, frame: pd.DataFrame) -> np.ndarray:
        """The same by the exported graph, shape (n_rows,)."""
        probabilities: np.ndarray = self.session().run(None, onnx_feeds(self.inputs, frame))[0]
        return probabilities

    def session(self) -> InferenceSession:
        """An ONNX session of the exported graph, with one thread."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self.folder / ONNX), options, providers=["CPUExecutionProvider"])


def save(folder: Path, estimator: Estimator, inputs: Inputs) -> None:
    """Write a model's files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    estimator.save(folder / estimator.FILE)
    (folder / INPUTS).write_text(json.dumps(asdict(inputs), indent=1))


def threshold_for(scores: np.ndarray, days: int, alerts_per_day: float) -> float:
    """Score that lets through about `alerts_per_day` rows a day, halfway between two scores that occur.

    Args:
        scores: shape (n_rows,), of rows of `days` whole days.
    """
    distinct = np.unique(np.sort(scores)[::-1][: int(alerts_per_day * max(days, 1)) + 1])
    return float((distinct[0] + distinct[min(1, len(distinct) - 1)]) / 2)


def importance(model: Model) -> dict[str, float]:
    """Relative importance of each input, largest first; sums to 100."""
    values = map(float, model.estimator.importance())
    return dict(sorted(zip(model.inputs.names, values, strict=True), key=lambda item: -item[1]))
