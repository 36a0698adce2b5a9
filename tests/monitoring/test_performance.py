"""What is measured on a matured day, on which answers; and what is estimated before they are in."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from ml.config import Config
from ml.evaluation.metrics import average_precision, card_precision
from ml.lake import schema
from ml.lake.tables import Lake
from ml.monitoring.estimate import EstimateError, expected_average_precision, expected_card_precision
from ml.monitoring.performance import (
    DayMetric,
    ReferenceRates,
    adjusted_to_base_rate,
    answers,
    judged,
    matured_by,
    measured,
    reference_rates,
)
from ml.monitoring.traffic import SCORE
from tests.deployments import FIRST_AS_OF, small
from tests.monitoring.living import DAY

DAY_OF = FIRST_AS_OF.date() - 12 * DAY


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small(tmp_path_factory.mktemp("performance"))


def _rows(size: int, seed: int) -> tuple[pd.DataFrame, pd.Series[int]]:
    rng = np.random.default_rng(seed)
    ids = [f"E{i}" for i in range(size)]
    scores = rng.beta(0.3, 6, size)
    rows = pd.DataFrame({"event_id": ids, "customer_id": rng.integers(0, size // 3, size), SCORE: scores})
    rows["amount"] = rng.lognormal(3, 1, size)
    return rows, pd.Series((rng.random(size) < scores).astype(int), index=ids)


def _measured(deployment: Config, rows: pd.DataFrame, labels: pd.Series, against: ReferenceRates | None = None):
    """The metrics of a day, read against a reference of days like itself where no other is given."""
    rows, told = judged(deployment, rows, labels[labels == 1])
    return measured(deployment, 0.5, against or reference_rates([told]), rows, told)


def test_metrics_are_those_that_the_gate_measures(deployment: Config) -> None:
    rows, labels = _rows(3000, 1)
    told = _measured(deployment, rows, labels)
    figures = {name: figure.value for name, figure in told.items() if figure}
    assert figures["average precision"] == average_precision(labels, rows[SCORE])
    days = np.zeros(len(rows))
    assert figures["card precision"] == card_precision(days, rows["customer_id"], labels, rows[SCORE], k=40)
    alerted, fraud = (rows[SCORE] >= 0.5).to_numpy(), labels.to_numpy() == 1
    cost = 4 * alerted + 6 * (alerted & ~fraud) + np.where(fraud & ~alerted, rows["amount"] + 20, 0)
    assert figures["expected cost"] == pytest.approx(cost.mean())
    assert set(figures) == {"average precision", "card precision", "expected cost", "calibration error"}


def test_a_day_without_a_positive_has_no_figures(deployment: Config) -> None:
    rows, labels = _rows(100, 2)
    assert set(_measured(deployment, rows, labels * 0).values()) == {None}


def test_days_with_few_positives_are_charted_like_days_with_many(deployment: Config) -> None:
    """The error as a share of the positives is half as large again with a quarter of them; what is charted is not."""

    def figures(size: int) -> tuple[float, float]:
        found = [_measured(deployment, *_rows(size, seed))["calibration error"] for seed in range(30)]
        return np.mean([f.value for f in found if f]), np.mean([f.charted for f in found if f])

    (few, few_charted), (many, many_charted) = figures(500), figures(8000)
    assert few > 2 * many
    assert few_charted == pytest.approx(many_charted, rel=0.3)


def _world(rng: np.random.Generator, rate: float, size: int = 4000, apart: float = 2.0) -> tuple[pd.DataFrame, pd.Series]:
    """A day of a world in which nothing but the base rate moves, and the scores of a model that knows one of 10 %."""
    labels = (rng.random(size) < rate).astype(int)
    odds = rng.standard_normal(size) + apart * labels
    scores = expit(apart * odds - apart**2 / 2 + logit(0.1))
    ids = [f"E{i}" for i in range(size)]
    rows = pd.DataFrame({"event_id": ids, "customer_id": np.arange(size), SCORE: scores, "amount": 10.0})
    return rows, pd.Series(labels, index=ids)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_a_base_rate_that_moves_moves_no_chart(deployment: Config, rate: float) -> None:
    """Means over twelve days: those at the usual base rate are alike, those of the days themselves are not."""
    rng = np.random.default_rng(3)
    against = ReferenceRates(0.1, 400, 3600)

    def days(of: float) -> list[dict[str, DayMetric | None]]:
        return [_measured(deployment, *_world(rng, of), against) for _ in range(12)]

    def mean(told: list[dict[str, DayMetric | None]], name: str, field: str) -> float:
        return float(np.mean([getattr(day[name], field) for day in told]))

    usual, moved = days(0.1), days(rate)
    for name in ("average precision", "card precision", "expected cost"):
        assert mean(moved, name, "at_reference_rate") == pytest.approx(mean(usual, name, "at_reference_rate"), rel=0.1), name
    charted = mean(moved, "calibration error", "charted") / mean(usual, "calibration error", "charted")
    assert charted == pytest.approx(1, abs=0.5)
    if rate != 0.1:
        assert mean(moved, "average precision", "value") != pytest.approx(mean(usual, "average precision", "value"), rel=0.2)
        assert mean(moved, "calibration error", "value") > 3 * mean(usual, "calibration error", "value")


def test_a_model_that_promises_too_much_is_miscalibrated_whatever_the_base_rate(deployment: Config) -> None:
    """Scores that are twice too large at the usual base rate are no base rate that has moved."""
    rng, against = np.random.default_rng(4), ReferenceRates(0.1, 400, 3600)
    rows, labels = _world(rng, 0.1)
    right, wrong = (_measured(deployment, rows.assign(**{SCORE: rows[SCORE] ** power}), labels, against) for power in (1, 0.5))
    assert wrong["calibration error"].charted > 3 * right["calibration error"].charted  # type: ignore[union-attr]


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0.005, 0.6), knows=st.booleans(), seed=st.integers(0, 99))
def test_scores_follow_a_base_rate_as_far_as_they_do_not_by_themselves(rate: float, knows: bool, seed: int) -> None:
    rows, labels = _world(np.random.default_rng(seed), rate)
    if labels.sum() == 0:
        return
    scores = expit(logit(rows[SCORE].to_numpy()) + knows * (logit(rate) - logit(0.1)))
    followed = adjusted_to_base_rate(scores, int(labels.sum()), 0.1)
    assert abs(followed.sum() - labels.sum()) <= abs(scores.sum() - labels.sum()) + 1e-6
    steps = logit(followed) - logit(scores)
    moved = logit(labels.mean()) - logit(0.1)
    assert steps.min() == pytest.approx(steps.max(), abs=1e-6)
    assert min(0, moved) - 1e-6 <= steps[0] <= max(0, moved) + 1e-6


def test_a_day_with_few_positives_is_believed_less(deployment: Config) -> None:
    rng, against = np.random.default_rng(5), ReferenceRates(0.1, 400, 3600)
    few, usual = (_measured(deployment, *_world(rng, rate), against)["average precision"] for rate in (0.02, 0.1))
    assert few is not None
    assert usual is not None
    assert (0.3 < few.weight < 0.6, usual.weight > 0.9) == (True, True)
    assert few.shrunk(0.5).charted == pytest.approx(0.5 + few.weight * (few.charted - 0.5))
    assert few.shrunk(0.5).value == few.value


def test_the_usual_base_rate_is_that_of_all_rows() -> None:
    told = reference_rates([np.array([1, 0, 0, 0]), np.array([0] * 6), np.array([1, 1] + [0] * 8)])
    assert told == ReferenceRates(3.5 / 21, 1, 6)
    assert reference_rates([np.zeros(9, dtype=np.int64)]).positives == 1


def test_the_error_of_estimates_is_known_on_days_whose_answers_are_in() -> None:
    error = EstimateError()
    assert error.error is None
    for estimate, value in ((0.5, 0.4), (0.5, 0.6), (0.5, None), (None, 0.5)):
        error = error.after(estimate, value)
    assert (error.days, error.error) == (2, pytest.approx(0.1))
    for _ in range(300):
        error = error.after(0.5, 0.2)
    assert error.error == pytest.approx(0.3, abs=1e-3)
    assert EstimateError.from_dict(error.to_dict()) == error


def test_scores_that_are_all_nothing_have_no_calibration(deployment: Config) -> None:
    rows, labels = _rows(300, 6)
    assert _measured(deployment, rows.assign(score=0.0), labels)["average precision"]


def test_a_day_has_matured_when_the_delay_is_over(deployment: Config) -> None:
    assert matured_by(deployment, dt.date(2025, 3, 10)) == dt.date(2025, 3, 3)


def test_answers_that_come_late_change_nothing(config: Config) -> None:
    """A day after the delay at the latest: then a day has the same answers whenever it is asked for."""
    tables = {schema.EVENTS: schema.events(config)}
    with Lake(config.lake).connect(tables) as connection:
        ids = [i for (i,) in connection.execute(f"SELECT event_id FROM events WHERE event_time::DATE = '{DAY_OF}'").fetchall()]
    cutoff = dt.datetime.combine(DAY_OF + 9 * DAY, dt.time(), dt.UTC)
    far = cutoff + 30 * DAY
    before = answers(config, far, [DAY_OF])
    silent = sorted(set(ids) - set(before.index))
    rows = [
        {
            "event_id": event,
            "label": 1,
            "source": "chargeback",
            "reported_at": known,
            "known_at": known,
            "batch_id": f"late {known}",
        }
        for event, known in ((silent[0], cutoff), (silent[1], cutoff + dt.timedelta(seconds=1)))
    ]
    Lake(config.lake).append_batches(schema.LABELS, pa.Table.from_pylist(rows, schema.LABELS_SCHEMA))
    after = answers(config, far, [DAY_OF])
    assert set(after.index) - set(before.index) == {silent[0]}
    assert silent[0] not in answers(config, cutoff - dt.timedelta(seconds=1), [DAY_OF]).index


def test_the_best_source_has_the_last_word(config: Config) -> None:
    """As in a training set: a chargeback before an analyst, whatever came later."""
    tables = {schema.EVENTS: schema.events(config)}
    with Lake(config.lake).connect(tables) as connection:
        found = connection.execute(f"SELECT min(event_id) FROM events WHERE event_time::DATE = '{DAY_OF}'").fetchone()
    event, known = found[0], dt.datetime.combine(DAY_OF + 2 * DAY, dt.time(), dt.UTC)
    for number, (source, label) in enumerate((("analyst", 1), ("chargeback", 0), ("customer", 1))):
        told = {"event_id": event, "label": label, "source": source, "reported_at": known, "batch_id": f"answer {number}"}
        row = told | {"known_at": known + number * dt.timedelta(hours=1)}
        Lake(config.lake).append_batches(schema.LABELS, pa.Table.from_pylist([row], schema.LABELS_SCHEMA))
    assert answers(config, FIRST_AS_OF, [DAY_OF])[event] == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100), size=st.integers(300, 2000))
def test_the_estimate_is_the_mean_of_what_would_be_measured_if_scores_were_true(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.3, 6, size)
    draws = (rng.random((60, size)) < scores).astype(int)
    drawn = [average_precision(labels, scores) for labels in draws]
    assert expected_average_precision(scores) == pytest.approx(np.mean(drawn), abs=0.02 + 4 * np.std(drawn) / np.sqrt(60))


def test_the_estimate_of_card_precision_counts_cards_by_their_highest_score() -> None:
    assert expected_card_precision([1, 1, 2, 3], [0.5, 0.25, 0.25, 0.125], k=2) == pytest.approx((0.5 + 0.25) / 2)
    assert expected_card_precision([1], [1.0], k=4) == 0.25


def test_scores_of_nothing_promise_nothing() -> None:
    assert expected_average_precision([0.0, 0.0]) is None
