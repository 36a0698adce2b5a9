"""What is measured on a matured day, on which answers; and what is estimated before they are in."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config
from ml.evaluation.metrics import average_precision, card_precision
from ml.lake import schema
from ml.lake.tables import Lake
from ml.monitoring.estimate import expected_average_precision, expected_card_precision
from ml.monitoring.performance import answers, matured_by, measured
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
    rows = pd.DataFrame({"event_id": ids, "customer_id": rng.integers(0, size // 3, size), "score": scores})
    rows["amount"] = rng.lognormal(3, 1, size)
    return rows, pd.Series((rng.random(size) < scores).astype(int), index=ids)


def test_metrics_are_those_that_the_gate_measures(deployment: Config) -> None:
    rows, labels = _rows(3000, 1)
    told = measured(deployment, 0.5, rows, labels[labels == 1])
    figures = {name: figure.value for name, figure in told.items() if figure}
    assert figures["average precision"] == average_precision(labels, rows["score"])
    days = np.zeros(len(rows))
    assert figures["card precision"] == card_precision(days, rows["customer_id"], labels, rows["score"], k=40)
    alerted, fraud = (rows["score"] >= 0.5).to_numpy(), labels.to_numpy() == 1
    cost = 4 * alerted + 6 * (alerted & ~fraud) + np.where(fraud & ~alerted, rows["amount"] + 20, 0)
    assert figures["expected cost"] == pytest.approx(cost.mean())
    assert set(figures) == {"average precision", "card precision", "expected cost", "calibration error"}


def test_a_day_without_a_positive_has_no_figures(deployment: Config) -> None:
    rows, labels = _rows(100, 2)
    assert set(measured(deployment, 0.5, rows, labels[labels == 2]).values()) == {None}


def test_days_with_few_positives_are_charted_like_days_with_many(deployment: Config) -> None:
    """The error as a share of the positives is half as large again with a quarter of them; what is charted is not."""

    def figures(size: int) -> tuple[float, float]:
        found = [measured(deployment, 0.5, *_rows(size, seed))["calibration error"] for seed in range(30)]
        return np.mean([f.value for f in found if f]), np.mean([f.charted for f in found if f])

    (few, few_charted), (many, many_charted) = figures(500), figures(8000)
    assert few > 2 * many
    assert few_charted == pytest.approx(many_charted, rel=0.3)


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
