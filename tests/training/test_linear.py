"""A logistic regression finds what was planted, copes with what is odd, and answers alike wherever it is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from threadpoolctl import threadpool_limits

from ml.config import Config
from ml.explanation.attributions import contributions
from ml.model import formats
from ml.model.calibration import Platt
from ml.model.copies import SAMPLE
from ml.model.graph import to_onnx
from ml.model.inputs import MISSING, Inputs
from ml.model.linear import Linear, Term
from ml.model.model import ONNX, Model, importance, save
from ml.training.export import compare
from ml.training.linear import fit_logistic
from tests.deployments import small
from tests.models import HOSTILE, levels

INPUTS = Inputs({"amount": MISSING, "ratio": MISSING, "count": 0.0}, {"channel": levels("chip", "phone", HOSTILE)})
ODD = [0.0, -0.0, 1e12, -1e12, 3e38, np.inf, -np.inf, np.nan, MISSING]


def rows(size: int, seed: int = 1) -> pd.DataFrame:
    """Log-odds are -2.5 + .02 amount - ratio + .7 channel's number, and +1 where the ratio is missing, which is for a fifth."""
    dice = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "event_id": [f"E{i}" for i in range(size)],
            "event_time": pd.Timestamp("2025-02-01", tz="UTC") + pd.to_timedelta(np.arange(size), "min"),
            "amount": dice.uniform(0, 100, size),
            "ratio": np.where(dice.random(size) < 0.2, np.nan, dice.normal(3, 1, size)),
            "count": dice.poisson(2, size).astype(float),
            "channel": dice.choice(["chip", "phone", HOSTILE], size),
        }
    )
    number = frame["channel"].map({"chip": 0, "phone": 1, HOSTILE: 2})
    margin = -2.5 + 0.02 * frame["amount"] - (frame["ratio"] - 3).fillna(-1.0) + 0.7 * number
    return frame.assign(label=(dice.random(size) < expit(margin)).astype(np.int8))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The small deployment without caps, whose entities these rows do not have."""
    config = small(tmp_path_factory.mktemp("linear"))
    return config.model_copy(update={"training": config.training.model_copy(update={"caps": {}})})


@pytest.fixture(scope="module")
def linear(config: Config) -> Linear:
    """Fitted on many rows."""
    told = rows(60_000)
    return fit_logistic(config, INPUTS.names, INPUTS.matrix(told), told)


@pytest.fixture
def model(tmp_path: Path, linear: Linear) -> Model:
    """The model calibrated, in a folder with its graph."""
    calibrated = linear.calibrated(Platt(0.8, -0.3))
    save(tmp_path, calibrated, INPUTS)
    onnx.save(to_onnx(calibrated, INPUTS), tmp_path / ONNX)
    sample = rows(100, seed=3)
    Model(tmp_path)
    sample[INPUTS.names].assign(expected=Model(tmp_path).score(sample)).to_parquet(tmp_path / SAMPLE)
    return Model(tmp_path)


def edge_case_rows() -> pd.DataFrame:
    """Each odd number in each column of numbers, beside categories that were seen, never seen, and missing."""
    frames = []
    for name in INPUTS.fill:
        some = rows(len(ODD), seed=2).assign(**{name: ODD})
        frames += [some, some.assign(channel="never seen"), some.assign(channel=None)]
    return pd.concat(frames, ignore_index=True)


def test_planted_coefficients_are_found(linear: Linear) -> None:
    """Standard errors are about .0004, .013, .015 and .008 with 60,000 rows; four of them are allowed."""
    amount, ratio, count, channel = linear.terms
    assert amount.weight == pytest.approx(0.02, abs=0.0016)
    assert ratio.weight == pytest.approx(-1, abs=0.05)
    assert ratio.missing - ratio.present == pytest.approx(1, abs=0.12)
    assert channel.weight == pytest.approx(0.7, abs=0.06)
    assert count.weight == pytest.approx(0, abs=0.03)
    assert (amount.missing, amount.present) == (0, 0)


def test_it_is_the_regression_that_another_solver_finds(config: Config, linear: Linear) -> None:
    from sklearn.linear_model import LogisticRegression

    told = rows(60_000)
    amount, ratio, gone = (told[name] for name in ("amount", "ratio", "ratio"))
    design = pd.DataFrame(
        {
            "amount": (amount - amount.mean()) / amount.std(ddof=0),
            "ratio": ((ratio - ratio.mean()) / ratio.std(ddof=0)).fillna(0),
            "count": (told["count"] - told["count"].mean()) / told["count"].std(ddof=0),
            "channel": INPUTS.matrix(told)[:, 3],
            "gone": gone.isna().astype(float),
        }
    )
    design["channel"] = (design["channel"] - design["channel"].mean()) / design["channel"].std(ddof=0)
    other = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(design, told["label"])
    # The penalty is on another indicator's coefficient, as the intercept is free.
    expected = other.decision_function(design)
    assert np.abs(linear.margins(INPUTS.matrix(told)) - expected).max() < 1e-3


def test_contributions_add_up_and_are_coefficients_times_the_distance_from_the_mean(model: Model) -> None:
    told = pd.concat([rows(500, seed=4), edge_case_rows()], ignore_index=True)
    found = contributions(model, told)
    assert found.names == tuple(INPUTS.names)
    assert np.abs(found.values.sum(axis=1) + found.base - model.estimator.margins(INPUTS.matrix(told))).max() < 1e-12
    amount = model.estimator.terms[0]
    by_hand = amount.weight * (told["amount"].head(500).astype(np.float32).astype(np.float64) - amount.mean)
    assert found.values[:500, 0] == pytest.approx(by_hand.to_numpy(), abs=1e-9)


def test_over_the_training_rows_each_contribution_is_zero_on_average(linear: Linear) -> None:
    told = linear.contributions(INPUTS.matrix(rows(60_000)))
    assert np.abs(told[:, :-1].mean(axis=0)).max() < 1e-6
    strength = [term.strength for term in linear.terms]
    assert np.abs(told[:, :-1]).mean(axis=0) == pytest.approx(strength, rel=1e-6)


def test_importance_sums_to_a_hundred_and_knows_the_strong(model: Model) -> None:
    told = importance(model)
    assert sum(told.values()) == pytest.approx(100)
    assert list(told)[-1] == "count"
    assert importance(model) == pytest.approx(
        dict(zip(INPUTS.names, model.estimator.calibrated(Platt(3.0, 1.0)).importance(), strict=True))
    )


def test_the_graph_answers_as_the_model_does_whatever_comes(model: Model) -> None:
    told = pd.concat([rows(2000, seed=5), edge_case_rows()], ignore_index=True)
    parity = compare(model, told, threshold=0.123456, tolerance=1e-7, name="m")
    assert (parity.rows, parity.crossed_threshold) == (len(told), 0)
    assert np.isfinite(model.score(told)).all()


def test_a_value_beyond_those_of_training_counts_as_the_outermost(model: Model) -> None:
    some = rows(1, seed=6)
    assert model.score(some.assign(amount=1e30)) == model.score(some.assign(amount=model.estimator.terms[0].high))


def test_calibration_is_in_every_coefficient(linear: Linear) -> None:
    told = INPUTS.matrix(edge_case_rows())
    calibrated = linear.calibrated(Platt(0.37, -2.5))
    assert calibrated.margins(told) == pytest.approx(0.37 * linear.margins(told) - 2.5, abs=1e-9)
    assert calibrated.platt == Platt(0.37, -2.5)


def test_the_file_is_the_model_and_threads_and_order_of_columns_change_no_byte(config: Config, tmp_path: Path) -> None:
    told = rows(5000)
    matrix = INPUTS.matrix(told)
    made = [fit_logistic(config, INPUTS.names, matrix, told)]
    with threadpool_limits(2):
        made.append(fit_logistic(config, INPUTS.names, np.asfortranarray(matrix), told))
    assert made[0].canonical_bytes() == made[1].canonical_bytes()
    made[0].save(tmp_path / Linear.FILE)
    assert Linear.load(tmp_path / Linear.FILE) == made[0]


def test_weights_are_those_of_the_deployment(config: Config) -> None:
    """Positives that weigh five times as much raise the intercept by ln 5 and leave the slopes."""
    told = rows(60_000)
    model = config.training.model.model_copy(update={"positive_weight": 5.0})
    heavier = config.model_copy(update={"training": config.training.model_copy(update={"model": model})})
    plain, weighted = (fit_logistic(each, INPUTS.names, INPUTS.matrix(told), told) for each in (config, heavier))
    assert weighted.base - plain.base == pytest.approx(np.log(5), abs=0.06)
    assert weighted.terms[1].weight == pytest.approx(plain.terms[1].weight, abs=0.08)


@pytest.mark.parametrize("constant", [7.0, 0.1, np.nan, np.inf, MISSING])
def test_an_input_that_never_changes_tells_nothing(config: Config, constant: float) -> None:
    told = rows(3000).assign(amount=constant)
    found = fit_logistic(config, INPUTS.names, INPUTS.matrix(told), told)
    assert (found.terms[0].weight, found.terms[0].missing, found.terms[0].strength) == (0, 0, 0)
    assert np.isfinite(found.margins(INPUTS.matrix(edge_case_rows()))).all()


@settings(max_examples=25, deadline=None)
@given(
    scale=st.sampled_from([1e-6, 1.0, 1e6, 1e12]),
    shift=st.sampled_from([0.0, 1.0, 1e6]),
    gaps=st.sampled_from([0.0, 0.01, 0.9]),
)
def test_unit_and_origin_of_an_input_change_no_score(config: Config, scale: float, shift: float, gaps: float) -> None:
    told = rows(800, seed=9)
    told.loc[np.random.default_rng(3).random(len(told)) < gaps, "amount"] = np.nan
    other = told.assign(amount=(told["amount"] + shift) * scale)
    plain, moved = (fit_logistic(config, INPUTS.names, INPUTS.matrix(each), each) for each in (told, other))
    apart = np.abs(plain.margins(INPUTS.matrix(told)) - moved.margins(INPUTS.matrix(other))).max()
    # Single precision has seven digits, of which a shift of a million leaves one after the point.
    assert apart < (0.05 if shift == 1e6 else 1e-3)


@pytest.mark.parametrize("kind", ["onnx", "json", "pmml"])
def test_each_of_its_formats_answers_as_the_model_does(model: Model, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    formats.write(model, kind, path)
    told = formats.edge_case_rows(INPUTS, pd.read_parquet(model.folder / SAMPLE))
    extremes = told.head(2).assign(amount=[-1e8, 1e12], ratio=[1e12, -5e8])
    assert formats.compare(model, kind, path, pd.concat([told, extremes], ignore_index=True)) < 1e-6


@pytest.mark.parametrize("kind", ["json", "pmml"])
def test_a_file_with_another_coefficient_is_refused(model: Model, tmp_path: Path, kind: str) -> None:
    first: Term = model.estimator.terms[0]
    other = replace(model.estimator, terms=(replace(first, weight=first.weight * 1.01), *model.estimator.terms[1:]))
    (tmp_path / "other").mkdir()
    save(tmp_path / "other", other, INPUTS)
    formats.write(Model(tmp_path / "other"), kind, tmp_path / f"out.{kind}")
    with pytest.raises(formats.ParityError, match="the file is not handed out"):
        formats.compare(model, kind, tmp_path / f"out.{kind}", pd.read_parquet(model.folder / SAMPLE))


def test_a_format_that_it_does_not_have_is_refused_in_a_sentence(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"linear\.json cannot be written as cbm; .* are onnx, pmml, json"):
        formats.write(model, "cbm", tmp_path / "out.cbm")
    assert not (tmp_path / "out.cbm").exists()


def test_a_folder_without_a_model_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no model: expected one of model\.cbm, linear\.json"):
        Model(tmp_path).estimator  # noqa: B018
