"""Attributions add up to the scores, stand for the population, and tell what moved since the champion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config
from ml.explanation import attributions, pictures
from ml.explanation.attributions import by_slice, contributions, sample, summarize
from ml.model.inputs import MISSING, Inputs
from ml.model.model import Model
from tests.models import HOSTILE, fitted, levels


def test_contributions_add_up_to_the_score_of_every_row(model: Model, rows: pd.DataFrame) -> None:
    found = contributions(model, rows)
    log_odds = found.values.sum(axis=1) + found.base
    assert np.abs(1 / (1 + np.exp(-log_odds)) - model.score(rows)).max() < 1e-9
    assert found.names == ("amount", "customer_amount_mean_7d", "channel")


def test_trees_that_were_scaled_afterwards_are_not_explained_wrongly(model: Model, rows: pd.DataFrame) -> None:
    """CatBoost attributes a shifted bias; what it cannot attribute it refuses itself."""
    other = Model(model.folder)
    other.estimator.classifier.set_scale_and_bias(1.0, -1.5)
    found = contributions(other, rows.head(50))
    assert found.values.sum(axis=1) + found.base == pytest.approx(_raw(other, rows.head(50)))
    other.estimator.classifier.set_scale_and_bias(1.3, 0.0)
    with pytest.raises(Exception, match="Scale"):
        contributions(other, rows.head(50))


def _raw(model: Model, rows: pd.DataFrame) -> np.ndarray:
    return model.estimator.margins(model.inputs.matrix(rows))


def test_attributions_that_do_not_add_up_are_refused(model: Model, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributions, "TOLERANCE", -1.0)
    with pytest.raises(attributions.AttributionError, match=r"attributions add up to a score .* away in log-odds"):
        contributions(model, rows.head(5))


def test_a_sample_is_the_same_whatever_the_order_of_the_rows(rows: pd.DataFrame) -> None:
    one, other = sample(rows), sample(rows.sample(frac=1, random_state=3))
    assert set(one.rows["event_id"]) == set(other.rows["event_id"])
    assert len(one.rows) <= attributions.POSITIVES + attributions.NEGATIVES


@settings(max_examples=25, deadline=None)
@given(positives=st.integers(0, 900), negatives=st.integers(0, 2500))
def test_weights_stand_for_the_whole_population(positives: int, negatives: int) -> None:
    labels = np.r_[np.ones(positives), np.zeros(negatives)].astype(int)
    drawn = sample(pd.DataFrame({"event_id": np.arange(len(labels)), "label": labels}))
    of_sample = drawn.rows["label"].to_numpy()
    assert drawn.weights[of_sample == 1].sum() == pytest.approx(positives)
    assert drawn.weights[of_sample == 0].sum() == pytest.approx(negatives)
    assert (of_sample == 1).sum() == min(positives, attributions.POSITIVES)


def test_shares_of_a_slice_are_those_of_its_rows_alone(model: Model, rows: pd.DataFrame) -> None:
    drawn = sample(rows)
    found = contributions(model, drawn.rows)
    slices = {f"channel = {level}": (drawn.rows["channel"] == level).to_numpy() for level in ("chip", "online", HOSTILE)}
    told = {each.slice: each for each in by_slice(found, drawn.weights, slices)}
    online = told["channel = online"]
    assert sum(online.shares.values()) == pytest.approx(1)
    assert sum(each.weight for each in told.values()) == pytest.approx(len(rows))
    alone = contributions(model, drawn.rows[slices["channel = online"]])
    by_hand = summarize(alone, drawn.weights[slices["channel = online"]])
    assert online.shares == pytest.approx({f.feature: f.share for f in by_hand})


def test_a_slice_of_a_few_rows_is_left_out(model: Model, rows: pd.DataFrame) -> None:
    found = contributions(model, rows.head(100))
    masks = {"few": np.arange(100) < attributions.SMALLEST_SLICE - 1, "enough": np.arange(100) < attributions.SMALLEST_SLICE}
    assert [each.slice for each in by_slice(found, np.ones(100), masks)] == ["enough"]


def test_a_model_has_not_drifted_from_itself(model: Model, rows: pd.DataFrame) -> None:
    drift = attributions.attribution_drift(model, model, rows)
    assert drift.moved == 0
    assert drift.rank_correlation == pytest.approx(1)


def test_an_input_that_only_one_model_has_is_the_largest_mover(
    config: Config, model: Model, rows: pd.DataFrame, tmp_path: Path
) -> None:
    fewer = fitted(tmp_path, config, rows, Inputs({"amount": MISSING}, {"channel": levels("chip", "online")}))
    there = {f.feature: f.share for f in summarize(contributions(model, sample(rows).rows), sample(rows).weights)}
    lost, won = (attributions.attribution_drift(*pair, rows) for pair in ((model, fewer), (fewer, model)))
    mover = next(m for m in lost.movers if m.feature == "customer_amount_mean_7d")
    assert (mover.challenger, mover.champion) == (None, pytest.approx(there["customer_amount_mean_7d"]))
    assert mover == lost.movers[0]
    assert "customer_amount_mean_7d" in lost.sentence
    assert "absent" in lost.sentence
    assert lost.moved == pytest.approx(won.moved)
    assert sum(m.difference for m in lost.movers) == pytest.approx(0)


def test_the_same_attributions_give_the_same_pictures(model: Model, rows: pd.DataFrame, tmp_path: Path) -> None:
    drawn = rows.head(400)
    found = contributions(model, drawn)
    names = [*found.names[:2], HOSTILE]
    for name in ("first", "second"):
        pictures.draw_attributions(names, [0.5, 0.3, 0.2], found.values, model.inputs.matrix(drawn), tmp_path / f"{name}.png")
        pictures.draw_shares(["all rows", HOSTILE], names, np.array([[0.5, 0.3, 0.2]] * 2), tmp_path / f"{name}_slices.png")
    for kind in ("", "_slices"):
        assert (tmp_path / f"first{kind}.png").read_bytes() == (tmp_path / f"second{kind}.png").read_bytes()
