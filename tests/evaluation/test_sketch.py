"""Curves in few points keep what they say, whatever the number of rows."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from ml.evaluation.metrics import average_precision, curves
from ml.evaluation.sketch import POINTS, Sketch, sketch


@pytest.mark.parametrize("rows", [2, 50, 20_000])
def test_a_few_points_are_points_of_the_curve(rows: int) -> None:
    rng = np.random.default_rng(rows)
    labels = np.r_[1, 0, rng.random(rows - 2) < 0.05].astype(int)
    scores = np.clip(rng.random(rows) * 0.5 + 0.3 * labels, 0, 1)
    found, whole = sketch(labels, scores), curves(labels, scores)
    assert 1 <= len(found.recall) == len(found.precision) <= POINTS
    assert found.recall[-1] == 1
    assert set(np.round(found.precision, 4)) <= set(np.round(whole.precision, 4))
    assert sum(found.bin_rows) == rows
    assert all(low <= rate <= high for low, rate, high in zip(found.bin_low, found.bin_rate, found.bin_high, strict=True))


def test_the_area_under_the_points_is_near_the_average_precision() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(40_000) < 0.02).astype(int)
    scores = np.clip(rng.beta(1, 8, 40_000) + 0.4 * labels * rng.random(40_000), 0, 1)
    found = sketch(labels, scores)
    area = float(np.sum(np.diff([0.0, *found.recall]) * np.array(found.precision)))
    assert area == pytest.approx(average_precision(labels, scores), abs=0.03)


def test_a_record_of_it_is_read_back() -> None:
    found = sketch([0, 1, 0, 1], [0.1, 0.8, 0.3, 0.4])
    read = Sketch(**json.loads(json.dumps(asdict(found))))
    assert list(read.recall) == list(found.recall)
