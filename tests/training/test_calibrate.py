"""Calibrated trees answer with probabilities that fit, rank as before, and carry it into every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from ml.evaluation.metrics import average_precision, calibration_error
from ml.model.calibration import Platt
from ml.model.graph import to_onnx
from ml.model.inputs import MISSING, Inputs
from ml.model.model import ONNX, Model, save
from ml.model.trees import Trees
from ml.training.calibrate import RanksNothing, platt

INPUTS = Inputs({"signal": MISSING, "noise": MISSING}, {})


def stream(rows: int, seed: int) -> pd.DataFrame:
    """Rows with a positive rate of a few per cent that follows one column."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"signal": rng.normal(size=rows), "noise": rng.normal(size=rows)})
    return frame.assign(label=(rng.random(rows) < 1 / (1 + np.exp(5 - 2 * frame["signal"]))).astype(int))


def grown(positive_weight: float) -> Trees:
    """Trees of a fit in which positives weigh more."""
    train = stream(20_000, 1)
    trees = CatBoostClassifier(
        iterations=150, depth=3, learning_rate=0.1, thread_count=2, random_seed=1, verbose=0, allow_writing_files=False
    )
    weights = np.where(train["label"] == 1, positive_weight, 1.0)
    return Trees(trees.fit(INPUTS.matrix(train), train["label"], sample_weight=weights))


def margin(trees: Trees, rows: pd.DataFrame) -> np.ndarray:
    """The trees' log-odds, shape (n_rows,)."""
    return trees.margins(INPUTS.matrix(rows))


def test_equals_scikit_learn_where_positives_are_many() -> None:
    """Platt's targets make no difference there, nor does scikit-learn's faint ridge."""
    rng = np.random.default_rng(4)
    margins = rng.normal(-3, 2, 200_000)
    labels = (rng.random(200_000) < 1 / (1 + np.exp(-(0.5 * margins - 1)))).astype(int)
    theirs = LogisticRegression(C=1e9, tol=1e-10).fit(margins[:, None], labels)
    assert platt(margins, labels) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), abs=2e-3)
    assert platt(margins, labels) == pytest.approx((0.5, -1), abs=0.05)


@settings(max_examples=150, deadline=None)
@given(
    margins=st.lists(st.floats(-30, 30), min_size=4, max_size=40, unique=True),
    positives=st.integers(1, 3),
)
def test_few_positives_and_classes_that_a_margin_parts_give_a_finite_slope(margins: list[float], positives: int) -> None:
    rising = np.sort(margins)
    labels = (np.arange(len(rising)) >= len(rising) - positives).astype(int)
    if np.ptp(rising) < 1e-6:
        return
    slope, intercept = platt(rising, labels)
    assert 0 < slope < np.inf
    calibrated = 1 / (1 + np.exp(-(slope * rising + intercept)))
    # The likelihood's own condition: the targets' sum is met.
    expected = positives * (positives + 1) / (positives + 2) + (len(rising) - positives) / (len(rising) - positives + 2)
    assert calibrated.sum() == pytest.approx(expected, rel=1e-6)


def test_a_model_that_ranks_nothing_is_refused() -> None:
    labels = [0, 1, 0, 1]
    with pytest.raises(RanksNothing, match="slope on 2 positives and 2 negatives is 0, expected above 0"):
        platt([1.0, 1.0, 1.0, 1.0], labels)
    with pytest.raises(RanksNothing, match="does not rank positives above negatives there and is not kept"):
        platt([2.0, 1.0, 2.0, 1.5], labels)
    with pytest.raises(ValueError, match="no positive among 2 labels"):
        platt([1.0, 2.0], [0, 0])


@pytest.mark.parametrize("positive_weight", [1.0, 20.0])
def test_probabilities_fit_on_rows_that_nobody_has_seen_whatever_a_positive_weighed(positive_weight: float) -> None:
    trees, validation, later = grown(positive_weight), stream(40_000, 2), stream(40_000, 3)
    raw = expit(margin(trees, later))
    calibrated = trees.calibrated(platt(margin(trees, validation), validation["label"]))
    after = expit(margin(calibrated, later))
    assert calibration_error(later["label"], after) < 0.15
    if positive_weight > 1:
        assert calibration_error(later["label"], raw) > 1
    assert calibrated.platt.inverted(after) == pytest.approx(raw, abs=1e-9)


def test_the_ranking_stays_as_it_was() -> None:
    trees, rows = grown(20.0), stream(20_000, 2)
    before = margin(trees, rows)
    after = margin(trees.calibrated(Platt(0.37, -2.5)), rows)
    assert after == pytest.approx(0.37 * before - 2.5, abs=1e-9)
    assert average_precision(rows["label"], after) == pytest.approx(average_precision(rows["label"], before), abs=1e-12)


def test_every_format_carries_it(tmp_path: Path) -> None:
    trees, rows = grown(20.0), stream(5000, 2)
    expected = 1 / (1 + np.exp(-(0.37 * margin(trees, rows) - 2.5)))
    trees = trees.calibrated(Platt(0.37, -2.5))
    save(tmp_path, trees, INPUTS)
    onnx.save(to_onnx(trees, INPUTS), tmp_path / ONNX)
    model = Model(tmp_path)
    assert model.score(rows) == pytest.approx(expected, abs=1e-12)
    assert model.score_onnx(rows) == pytest.approx(expected, abs=1e-6)
    assert model.estimator.platt == Platt(0.37, -2.5)
    trees.save(tmp_path / "model.json")
    again = CatBoostClassifier()
    again.load_model(str(tmp_path / "model.json"), format="json")
    assert again.predict_proba(INPUTS.matrix(rows))[:, 1] == pytest.approx(expected, abs=1e-9)
    assert json.loads((tmp_path / "model.json").read_text())["scale_and_bias"] == [1, [0]]


def test_a_bias_that_boosting_started_from_is_calibrated_too() -> None:
    train, rows = stream(8000, 1), stream(500, 2)
    trees = CatBoostClassifier(
        iterations=5, depth=3, boost_from_average=True, thread_count=2, verbose=0, allow_writing_files=False
    )
    found = Trees(trees.fit(INPUTS.matrix(train), train["label"]))
    before = margin(found, rows)
    assert margin(found.calibrated(Platt(2.0, 1.0)), rows) == pytest.approx(2 * before + 1, abs=1e-9)
