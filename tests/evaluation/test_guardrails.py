"""A guardrail passes on evidence, fails on evidence, and is unknown in between."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ml.evaluation.bootstrap import compare_rankings
from ml.evaluation.clusters import Clusters
from ml.evaluation.guardrails import (
    Status,
    card_precision_by_day,
    latency_within,
    not_inferior,
    size_within,
    status_of,
    unknown,
)
from ml.evaluation.holdout import CheckedRows
from ml.evaluation.metrics import daily_card_precision


@pytest.mark.parametrize(
    ("lower", "upper", "status"),
    [
        (-0.019, 0.03, Status.PASSED),
        (-0.02, 0.03, Status.UNKNOWN),  # exactly at the margin nothing is shown
        (-0.05, 0.03, Status.UNKNOWN),
        (-0.05, -0.019, Status.UNKNOWN),
        (-0.05, -0.02, Status.UNKNOWN),
        (-0.05, -0.021, Status.FAILED),
        (0.01, 0.03, Status.PASSED),
    ],
)
def test_a_status_follows_from_the_bounds(lower, upper, status):
    assert status_of(lower, upper, 0.02) is status


@pytest.mark.parametrize(("lower", "status"), [(0.001, Status.PASSED), (0.0, Status.UNKNOWN), (-0.001, Status.UNKNOWN)])
def test_without_a_margin_a_gain_must_be_shown(lower, status):
    assert status_of(lower, 0.1, 0.0) is status


def rows(seed=1, days=10, gain=0.0):
    rng = np.random.default_rng(seed)
    n = 300 * days
    labels = (rng.random(n) < 0.05).astype(np.int64)
    common = 1.5 * labels + rng.normal(size=n)
    champion, challenger = common + 0.7 * rng.normal(size=n), common + 0.7 * rng.normal(size=n) + gain * labels
    cluster = rng.integers(0, 400, n)
    day = np.datetime64("2025-06-02") + np.repeat(np.arange(days), 300)
    return CheckedRows(labels, champion, challenger, Clusters.of(cluster, day, labels), day, None)


def compared(held):
    """The paired difference of ROC AUC."""
    rows = (held.labels, held.champion, held.challenger, held.clusters.entity, held.days)
    return compare_rankings(*rows, replicates=200, seed=1)["ROC AUC"]


def test_a_compared_measure_is_guarded_by_its_own_bounds():
    held = rows()
    told = compared(held)
    check = not_inferior(told, 0.5)
    assert (check.name, check.unit, check.status) == ("ROC AUC", "area", Status.PASSED)
    assert (check.gain, check.lower_bound, check.upper_bound) == (told.gain, told.lower_bound, told.upper_bound)
    assert not_inferior(replace(told, lower_bound=-0.4, upper_bound=-0.3), 0.2).status is Status.FAILED
    assert f"{told.champion:.4g} → {told.challenger:.4g}: worse by at most 0, 0.5 is allowed" in check.sentence
    assert "worse by at most 0.4, 0.2 is allowed" in not_inferior(replace(told, lower_bound=-0.4), 0.2).sentence


def test_card_precision_pairs_the_two_models_by_day():
    held = rows(gain=0.3)
    check = card_precision_by_day(held, 20, 0.05, 0.05)
    asked = (held.days, held.clusters.entity, held.labels)
    daily = [daily_card_precision(*asked, scores, 20) for scores in (held.champion, held.challenger)]
    expected = ttest_1samp(daily[1] - daily[0], 0).confidence_interval(0.9)
    assert (check.lower_bound, check.upper_bound) == pytest.approx((expected.low, expected.high))
    assert (check.champion, check.challenger) == pytest.approx((daily[0].mean(), daily[1].mean()))
    assert check.name == "card precision@20"


def test_one_day_of_card_precision_is_no_evidence():
    check = card_precision_by_day(rows(days=1, gain=3.0), 20, 0.05, 0.05)
    assert check.status is Status.UNKNOWN
    assert check.lower_bound is None
    assert "1 day of rows, an interval over days needs two" in check.sentence


@pytest.mark.parametrize("calls", [5, 20, 101, 300])
def test_the_bounds_of_the_median_latency_hold_their_level(calls):
    """Nominal 5 % each side, at most 2.5 standard deviations (.7 %) more over 1,000 seeded samples of a skewed time."""
    rng = np.random.default_rng(20250610)
    checks = [latency_within(rng.lognormal(0, 0.8, calls), 1.0, 0.05) for _ in range(1000)]
    assert np.mean([check.upper_bound < 1 for check in checks]) <= 0.0675
    assert np.mean([check.lower_bound > 1 for check in checks]) <= 0.0675
    if calls >= 101:  # and they are no wider than they must be
        assert np.mean([check.upper_bound < 1 for check in checks]) >= 0.02


@pytest.mark.parametrize("calls", [1, 4])
def test_a_handful_of_calls_bounds_no_median(calls):
    """Even the slowest of four calls is below the median once in sixteen times."""
    check = latency_within([0.1] * calls, 5.0, 0.05)
    assert check.status is Status.UNKNOWN
    assert (check.lower_bound, check.upper_bound) == (None, None)
    assert f"{calls} single rows" in check.sentence


def test_latency_is_told_in_its_three_answers():
    rng = np.random.default_rng(3)
    times = rng.lognormal(0, 0.3, 300)
    assert latency_within(times, 2.0, 0.05).status is Status.PASSED
    assert latency_within(times, 0.5, 0.05).status is Status.FAILED
    undecided = latency_within(times, float(np.median(times)), 0.05)
    assert undecided.status is Status.UNKNOWN
    assert undecided.challenger == np.median(times)
    assert f"{np.median(times):.3f} ms, at most" in undecided.sentence


def test_one_stalled_call_is_no_slow_model():
    assert latency_within([1.0] * 299 + [9000.0], 5.0, 0.05).status is Status.PASSED


@pytest.mark.parametrize(("megabytes", "status"), [(19.99, Status.PASSED), (20.0, Status.PASSED), (20.01, Status.FAILED)])
def test_size_is_known_and_never_doubtful(megabytes, status):
    check = size_within(megabytes, 20.0)
    assert check.status is status
    assert f"{megabytes:.2f} MB, at most 20 MB are allowed" in check.sentence


def test_rows_that_an_unknown_guardrail_would_need():
    held = rows()
    told = compared(held)
    check = not_inferior(replace(told, gain=0.0, lower_bound=-0.04, upper_bound=0.04), 0.02)
    assert check.status is Status.UNKNOWN
    assert check.times_the_rows == pytest.approx(4)  # half the width needs four times the rows
    assert not_inferior(replace(told, gain=-0.02, lower_bound=-0.04, upper_bound=0.0), 0.02).times_the_rows is None
    assert not_inferior(replace(told, gain=0.0, lower_bound=-0.01), 0.02).times_the_rows is None
    assert unknown("golden set", "average precision", 0.1, "no rows").times_the_rows is None
