"""Rows of one entity belong together, and a row without an entity to no other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ml.config import load
from ml.monitoring import estimate
from ml.monitoring.traffic import SCORE
from ml.training.entities import cluster_codes, entity_codes
from ml.training.weights import row_weights

CONFIG = load("config/demo.yaml")


def test_entities_are_numbered_in_the_order_of_their_keys() -> None:
    rows = pd.DataFrame({"customer_id": ["C2", "C1", "C2", "C9"], "terminal_id": ["T1"] * 4})
    assert cluster_codes(CONFIG, rows).tolist() == [1, 0, 1, 2]
    assert entity_codes(CONFIG, "terminal", rows).tolist() == [0] * 4


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
def test_each_row_without_an_entity_is_one_of_its_own(nothing: object) -> None:
    rows = pd.DataFrame({"customer_id": pd.Series(["C2", nothing, "C1", nothing], dtype=object)})
    assert cluster_codes(CONFIG, rows).tolist() == [1, 2, 0, 3]
    assert cluster_codes(CONFIG, rows[1:2]).tolist() == [0]


def test_rows_without_an_entity_keep_their_weight_under_a_cap_and_those_of_a_flood_do_not() -> None:
    nobody, flood, others = [None] * 50, ["C0"] * 50, [f"C{i}" for i in range(1, 101)]
    rows = pd.DataFrame({"customer_id": [*nobody, *flood, *others], "label": [1] * 200})
    rows["terminal_id"] = [f"T{i}" for i in range(200)]
    rows["event_time"] = pd.Timestamp("2025-03-10", tz="UTC")
    weights = row_weights(CONFIG, rows)
    kept = weights[0]
    assert weights[:50].tolist() == [kept] * 50
    assert weights[100:].tolist() == [kept] * 100
    assert weights[50:100].sum() == pytest.approx(0.05 * weights.sum())


def test_the_estimate_before_labels_counts_each_row_without_an_entity() -> None:
    rows = pd.DataFrame({"customer_id": [None, None, "C1", "C1"], SCORE: [1.0, 1.0, 1.0, 1.0]})
    alerts = CONFIG.training.alerts.value
    assert estimate.estimated(CONFIG, rows)["card precision"] == pytest.approx(3 / alerts)
