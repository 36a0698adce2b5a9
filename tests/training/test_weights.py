"""Rows weigh what class and age say, and no entity carries more of a class than its cap."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from ml.config import Config, ModelSettings, load
from ml.model.estimator import Estimator
from ml.model.inputs import MISSING, Inputs
from ml.training.linear import fit_logistic
from ml.training.trees import fit_trees
from ml.training.weights import CapUnreachable, capped, recency_weights, row_weights
from tests.deployments import raw, write

ROWS = st.lists(
    st.tuples(st.floats(1e-3, 1e3), st.integers(0, 12), st.integers(0, 7)),
    min_size=1,
    max_size=80,
)
CAPS = st.fixed_dictionaries({"customer": st.floats(0.02, 1), "terminal": st.floats(0.02, 1)})


def shares(weights: np.ndarray, keys: np.ndarray) -> dict[int, float]:
    """Share of the total weight by entity."""
    return {key: weights[keys == key].sum() / weights.sum() for key in np.unique(keys)}


def raised_as_told(caps: dict[str, float], refused: CapUnreachable) -> dict[str, float]:
    """Caps that could be met, by what a refusal says of those that could not."""
    [times] = re.findall(r"caps ([0-9.]+) times as high could be met", str(refused))
    return {kind: cap * (float(times) + 0.005) for kind, cap in caps.items()}


@settings(max_examples=400, deadline=None)
@given(rows=ROWS, caps=CAPS)
def test_nobody_is_above_a_cap_no_weight_grows_and_who_is_below_keeps_his(rows, caps) -> None:
    before, customers, terminals = (np.array(column) for column in zip(*rows, strict=True))
    entities = {"customer": customers, "terminal": terminals}
    try:
        after = capped(before, entities, caps)
    except CapUnreachable as refused:
        caps = raised_as_told(caps, refused)
        after = capped(before, entities, caps)
    assert (after > 0).all()
    assert (after <= before).all()
    for kind, keys in entities.items():
        assert max(shares(after, keys).values()) <= caps[kind] * (1 + 1e-9)
    total = after.sum()
    could = {kind: np.array([before[keys == key].sum() for key in keys]) for kind, keys in entities.items()}
    kept = np.logical_and.reduce([could[kind] <= caps[kind] * total * (1 - 1e-9) for kind in caps])
    assert (after[kept] == before[kept]).all()


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, cap=st.floats(0.02, 1))
def test_one_kind_can_be_capped_if_and_only_if_enough_entities_are_there(rows, cap) -> None:
    weights, customers, _ = (np.array(column) for column in zip(*rows, strict=True))
    entities = len(np.unique(customers))
    if math.isclose(entities * cap, 1, rel_tol=1e-6):
        return
    if entities * cap < 1:
        with pytest.raises(CapUnreachable, match=rf"customer: {entities} with a cap of .*, caps .* times as high could be met"):
            capped(weights, {"customer": customers}, {"customer": cap})
    else:
        after = capped(weights, {"customer": customers}, {"customer": cap})
        over = [key for key, share in shares(weights, customers).items() if share > cap]
        # Whoever is scaled down ends at the cap itself: nothing more is taken than the cap asks for.
        assert [shares(after, customers)[key] for key in over] == pytest.approx([cap] * len(over))


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, caps=CAPS, random=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_decides_nothing(rows, caps, random) -> None:
    def of(some):
        weights, customers, terminals = (np.array(column) for column in zip(*some, strict=True))
        return capped(weights, {"customer": customers, "terminal": terminals}, caps)

    try:
        straight = of(rows)
    except CapUnreachable:
        return
    order = list(range(len(rows)))
    random.shuffle(order)
    assert of([rows[i] for i in order]) == pytest.approx(straight[order], rel=1e-9)


def test_caps_that_can_just_be_met_make_all_equal() -> None:
    after = capped([8.0, 1.0, 1.0, 4.0], {"customer": [0, 1, 1, 2]}, {"customer": 1 / 3})
    assert after == pytest.approx([2, 1, 1, 2])


def test_weights_halve_with_age_and_the_newest_row_weighs_one() -> None:
    times = pd.Series(pd.to_datetime(["2025-01-01", "2025-01-15", "2025-01-29"], utc=True))
    assert recency_weights(times, 14) == pytest.approx([0.25, 0.5, 1])
    assert recency_weights(times, None).tolist() == [1, 1, 1]


def deployment(tmp_path, caps: dict[str, float], **model: object) -> Config:
    """The demo's deployment with other caps and settings of the model."""
    told = raw()
    told["training"]["caps"] = {
        name: {"value": value, "unit": "share", "reason": "as the test wants it"} for name, value in caps.items()
    }
    told["training"]["model"] |= model
    told["training"]["tuning"] = None
    return load(write(tmp_path, told))


def village(terminals: int = 40, each: int = 50) -> pd.DataFrame:
    """Rows of some terminals, the first half of each one's with a large amount that is fraud in nine of ten."""
    rng = np.random.default_rng(11)
    size = terminals * each
    large = np.tile(np.arange(each) < each // 2, terminals)
    return pd.DataFrame(
        {
            "event_time": pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 30 * 86_400, size), unit="s"),
            "customer_id": [f"C{i:03d}" for i in rng.integers(0, 300, size)],
            "terminal_id": [f"T{i // each:03d}" for i in range(size)],
            "amount": np.where(large, rng.uniform(200, 300, size), rng.uniform(1, 100, size)),
            "label": (large & (rng.random(size) < 0.9)).astype(int),
        }
    )


def test_classes_ages_and_caps_come_together(tmp_path) -> None:
    train = village()
    weights = row_weights(deployment(tmp_path, {"terminal": 0.04}, positive_weight=5, half_life=10), train)
    for label in (0, 1):
        rows = (train["label"] == label).to_numpy()
        assert max(shares(weights[rows], train["terminal_id"].to_numpy()[rows]).values()) <= 0.04 * (1 + 1e-9)
    plain = row_weights(deployment(tmp_path, {}), train)
    assert set(plain) == {1.0}


def test_too_few_entities_of_a_class_are_told_with_the_cap_that_could_be_met(tmp_path) -> None:
    train = village(terminals=5)
    with pytest.raises(
        CapUnreachable,
        match=r"training\.caps cannot be met by the positives: .*terminal: 5 with a cap of 0\.1\), caps 2\.00 times as high",
    ):
        row_weights(deployment(tmp_path, {"terminal": 0.1}), train)


def boosted(config: Config, inputs: Inputs, train: pd.DataFrame) -> Estimator:
    """Trees of a deployment."""
    return fit_trees(config, inputs, inputs.matrix(train), train)


def linear(config: Config, inputs: Inputs, train: pd.DataFrame) -> Estimator:
    """The logistic regression of a deployment."""
    return fit_logistic(config, inputs.names, inputs.matrix(train), train)


@pytest.mark.parametrize("learns", [boosted, linear])
def test_a_cap_bounds_what_a_poisoned_terminal_does_to_scores_elsewhere(tmp_path, learns) -> None:
    """One terminal sends thousands of large payments that are labelled genuine, so that large ones look harmless."""
    honest, elsewhere = village(), village().query("amount > 200")
    flood = pd.DataFrame(
        {
            "event_time": pd.Timestamp("2025-01-20", tz="UTC"),
            "customer_id": [f"C{i:03d}" for i in range(300)] * 20,
            "terminal_id": "T666",
            "amount": np.random.default_rng(1).uniform(200, 300, 6000),
            "label": 0,
        }
    )
    poisoned = pd.concat([honest, flood], ignore_index=True)
    inputs = Inputs({"amount": MISSING}, {})
    small = {"iterations": 60, "depth": 3, "learning_rate": 0.2}

    def mean_score(train: pd.DataFrame, caps: dict[str, float]) -> float:
        found = learns(deployment(tmp_path, caps, **small), inputs, train)
        return float(expit(found.margins(inputs.matrix(elsewhere))).mean())

    clean = mean_score(honest, {"terminal": 0.05})
    assert clean == pytest.approx(0.9, abs=0.03)
    assert mean_score(poisoned, {}) < 0.2
    assert mean_score(poisoned, {"terminal": 0.05}) > 0.8


@pytest.mark.parametrize("learns", [boosted, linear])
def test_a_terminal_of_false_frauds_is_bounded_too(tmp_path, learns) -> None:
    """One terminal reports thousands of small payments as fraud, so that alerts drown in honest ones."""
    honest, elsewhere = village(), village().query("amount <= 100")
    flood = honest.sample(4000, replace=True, random_state=3).assign(
        terminal_id="T666", amount=np.random.default_rng(2).uniform(1, 100, 4000), label=1
    )
    poisoned = pd.concat([honest, flood], ignore_index=True)
    inputs = Inputs({"amount": MISSING}, {})
    small = {"iterations": 60, "depth": 3, "learning_rate": 0.2}

    def mean_score(caps: dict[str, float]) -> float:
        found = learns(deployment(tmp_path, caps, **small), inputs, poisoned)
        return float(expit(found.margins(inputs.matrix(elsewhere))).mean())

    assert mean_score({}) > 0.7
    assert mean_score({"terminal": 0.05}) < 0.1


def test_a_half_life_below_a_week_is_refused() -> None:
    with pytest.raises(ValueError, match="half_life"):
        ModelSettings(iterations=1, learning_rate=0.1, depth=1, half_life=1)
