"""Platt scaling: a logistic regression of the label on a model's margin, folded into the model itself.

Source: Platt, Probabilistic Outputs for Support Vector Machines (1999); Lin, Lin, Weng, A Note on Platt's Probabilistic Outputs
for Support Vector Machines (2007).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ml.errors import Refused
from ml.evaluation.metrics import checked
from ml.model.calibration import Platt


class RanksNothing(Refused, ValueError):
    """The margin does not rank positives above negatives; calibration cannot mend such a model."""


def platt(margins: ArrayLike, labels: ArrayLike) -> Platt:
    """Fit by maximum likelihood with Platt's targets, (p + 1) / (p + 2) for each of p positives and 1 / (n + 2) for each of n
    negatives, so that few positives, or separable classes, do not send the slope to infinity.

    Args:
        margins: shape (n_rows,), log-odds of the model.
        labels: shape (n_rows,), 0 or 1.

    Raises:
        ValueError: lengths differ, a value is not finite, or one class is missing.
        RanksNothing: the slope is not above 0.
    """
    y, margin = checked(labels, margins)
    positives, negatives = int(y.sum()), int((1 - y).sum())
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = float(margin.mean()), float(margin.std())
    slope, intercept = (0.0, 0.0) if spread == 0 else _newton((margin - centre) / spread, target)
    if not slope > 0:
        raise RanksNothing(
            f"the calibration's slope on {positives:,} positives and {negatives:,} negatives is {slope:g}, expected above 0: "
            "the model does not rank positives above negatives there and is not kept; look at the labels, and at drift between "
            "the training and the validation window"
        )
    return Platt(slope / spread, intercept - slope * centre / spread)


def _newton(x: np.ndarray, target: np.ndarray, steps: int = 100) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of `target` on `x`; each step is halved until the loss falls."""
    design = np.column_stack([x, np.ones(len(x))])
    rate = float(target.mean())
    at = np.array([0.0, np.log(rate / (1 - rate))])

    def loss(parameters: np.ndarray) -> float:
        margin = design @ parameters
        return float(np.logaddexp(0, margin).sum() - target @ margin)

    for _ in range(steps):
        probability = 1 / (1 + np.exp(-np.clip(design @ at, -500, 500)))
        curvature = design.T @ (design * (probability * (1 - probability))[:, None])
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), design.T @ (target - probability))
        while loss(at + step) > loss(at) and np.abs(step).max() > 1e-12:
            step /= 2
        at = at + step
        if np.abs(step).max() < 1e-10:
            break
    return float(at[0]), float(at[1])
