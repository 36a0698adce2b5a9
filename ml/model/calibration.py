"""Platt scaling of a model's margins; `ml.training.calibrate` fits it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Platt(NamedTuple):
    """The calibrated margin is `slope` · margin + `intercept`, the probability its logistic function; `slope` is above 0."""

    slope: float
    intercept: float

    def inverted(self, probabilities: np.ndarray) -> np.ndarray:
        """The probabilities before calibration."""
        margins = np.log(probabilities) - np.log1p(-probabilities)
        return 1 / (1 + np.exp(-(margins - self.intercept) / self.slope))
