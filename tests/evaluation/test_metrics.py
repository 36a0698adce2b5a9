"""The metrics equal scikit-learn's, ties and weights included, and a naive reading of the Handbook's card precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.evaluation.metrics import average_precision, calibration_error, card_precision, curves, roc_auc, wilson

LABELLED = st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(-4, 4), st.integers(1, 5)), min_size=2, max_size=60).filter(
    lambda rows: len({label for label, _, _ in rows}) == 2
)


@settings(max_examples=150, deadline=None)
@given(LABELLED)
def test_equals_scikit_learn_with_many_ties_and_integer_weights(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores, weights) == pytest.approx(expected, abs=1e-12)
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    assert roc_auc(labels, scores, weights) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(LABELLED, st.randoms(use_true_random=False))
def test_order_of_the_rows_decides_nothing(rows, random):
    shuffled = random.sample(rows, len(rows))
    for metric in (average_precision, roc_auc):
        values = [metric(*(np.array(c) for c in zip(*some, strict=True))) for some in (rows, shuffled)]
        assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_equals_scikit_learn_on_continuous_scores_and_fractional_weights():
    rng = np.random.default_rng(3)
    labels = rng.random(5000) < 0.01
    scores, weights = labels * 1.5 + rng.normal(size=5000), rng.random(5000)
    assert average_precision(labels, scores, weights) == pytest.approx(
        average_precision_score(labels, scores, sample_weight=weights), abs=1e-12
    )
    assert roc_auc(labels, scores, weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)


@pytest.mark.parametrize(
    "metric", [average_precision, roc_auc, lambda y, s: curves(y, s), lambda y, s: card_precision(y, y, y, s)]
)
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.1, 0.2, 0.3], r"labels have shape \(2,\) and scores \(3,\)"),
        ([[0, 1]], [[0.1, 0.2]], "expected two arrays of one length"),
        ([0, 1, 1], [0.1, np.nan, np.inf], "scores must be finite: 2 of 3 are not, the first is nan at row 1"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "labels must be 0 or 1: 1 of 3 are not, the first is 2 at row 2"),
        ([0, 0], [0.1, 0.2], "no positive among 2 labels"),
        ([1, 1], [0.1, 0.2], "no negative among 2 labels"),
        ([], [], "no positive among 0 labels"),
    ],
)
def test_says_what_is_wrong_with_the_rows(metric, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        metric(labels, scores)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], r"weights have shape \(2,\), expected \(3,\)"),
        ([1, -1, 1], "not negative: 1 of 3 are not, the first is -1.0 at row 1"),
        ([1, 0, 0], "every positive has weight 0"),
        ([0, 1, 1], "every negative has weight 0"),
    ],
)
def test_says_what_is_wrong_with_the_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        average_precision([0, 1, 1], [0.1, 0.2, 0.3], weights)


def naive_card_precision(days, cards, labels, scores, k):
    found, shares = set(), []
    for day in sorted(set(days)):
        best, fraud = {}, set()
        for d, card, label, score in zip(days, cards, labels, scores, strict=True):
            if d == day and card not in found:
                best[card] = max(best.get(card, -np.inf), score)
                if label:
                    fraud.add(card)
        alerted = sorted(best, key=lambda card: (-best[card], card))[:k]
        hits = [card for card in alerted if card in fraud]
        found |= set(hits)
        shares.append(len(hits) / k)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("seed", range(20))
def test_card_precision_equals_a_naive_reading_of_the_handbook(seed):
    rng = np.random.default_rng(seed)
    n = 400
    days, cards = rng.integers(0, 5, n), np.array([f"card{c}" for c in rng.integers(0, 60, n)])
    labels, scores = (rng.random(n) < 0.1).astype(int), rng.integers(0, 8, n) / 8
    shuffled = rng.permutation(n)
    expected = naive_card_precision(days, cards, labels, scores, k=7)
    assert card_precision(days, cards, labels, scores, k=7) == pytest.approx(expected)
    assert card_precision(days[shuffled], cards[shuffled], labels[shuffled], scores[shuffled], k=7) == pytest.approx(expected)


def test_a_card_found_is_left_out_on_later_days_and_one_missed_is_not():
    days, cards = [1, 1, 2, 2, 2], ["a", "b", "a", "b", "c"]
    scores = [0.9, 0.5, 0.9, 0.8, 0.1]
    assert card_precision(days, cards, [1, 0, 1, 1, 0], scores, k=1) == 1.0  # a is found, so b is alerted on day 2
    assert card_precision(days, cards, [0, 0, 1, 1, 0], scores, k=1) == 0.5  # a was alerted in vain and stays


def test_a_card_is_alerted_by_its_highest_score_and_a_fraud_of_its_own_day():
    days, cards = [1, 1, 1, 2], ["a", "a", "b", "b"]
    assert card_precision(days, cards, [1, 0, 0, 0], [0.1, 0.9, 0.5, 0.9], k=1) == 0.5
    assert card_precision(days, cards, [0, 0, 0, 1], [0.1, 0.9, 0.5, 0.9], k=1) == 0.5


def test_a_day_with_fewer_cards_than_alerts_is_still_divided_by_the_alerts():
    assert card_precision([1, 1], ["a", "b"], [1, 0], [0.9, 0.1], k=100) == 0.01


def test_card_precision_refuses_wrong_keys():
    with pytest.raises(ValueError, match=r"cards have shape \(1,\)"):
        card_precision([1, 1], ["a"], [1, 0], [0.9, 0.1])
    with pytest.raises(ValueError, match="k is 0"):
        card_precision([1, 1], ["a", "b"], [1, 0], [0.9, 0.1], k=0)


def test_areas_under_the_curves_are_the_metrics():
    rng = np.random.default_rng(5)
    labels = (rng.random(3000) < 0.05).astype(int)
    scores = np.round(1 / (1 + np.exp(-labels - rng.normal(size=3000))), 2)
    points = curves(labels, scores)
    assert np.sum(np.diff(points.recall, prepend=0) * points.precision) == pytest.approx(average_precision(labels, scores))
    assert np.trapezoid(points.true_positive_rate, points.false_positive_rate) == pytest.approx(roc_auc(labels, scores))


def test_reliability_bins_hold_every_row_once_and_keep_ties_together():
    rng = np.random.default_rng(6)
    scores = np.round(rng.beta(0.3, 20, 5000), 2)
    labels = (rng.random(5000) < scores).astype(int)
    points = curves(labels, scores)
    assert points.bin_rows.sum() == 5000
    assert points.bin_positives.sum() == labels.sum()
    assert (np.diff(points.bin_score) > 0).all()
    edges = np.cumsum(points.bin_rows)[:-1]
    rising = np.sort(scores)
    assert (rising[edges] > rising[edges - 1]).all()


def test_reliability_of_calibrated_scores_is_the_diagonal():
    """Each bin's count is binomial with its mean score: 10 bins within 3.5 standard deviations (chance of a miss .5 %)."""
    rng = np.random.default_rng(7)
    scores = rng.beta(0.3, 20, 100_000)
    points = curves((rng.random(100_000) < scores).astype(int), scores)
    assert len(points.bin_rows) == 10
    deviation = np.sqrt(points.bin_score * (1 - points.bin_score) / points.bin_rows)
    assert (np.abs(points.bin_rate - points.bin_score) < 3.5 * deviation).all()
    assert points.bin_positives.min() > 0.7 * points.bin_positives.max()  # equal expected positives, not equal rows


def test_reliability_needs_probabilities():
    with pytest.raises(ValueError, match=r"scores run from -1 to 2; a reliability curve needs probabilities"):
        curves([0, 1], [-1, 2])


def test_scores_of_zero_make_one_bin():
    points = curves([0, 1, 0], [0, 0, 0])
    assert points.bin_rows.tolist() == [3]
    assert points.bin_rate.tolist() == pytest.approx([1 / 3])


@pytest.mark.parametrize(
    ("scores", "error"),
    [
        ([0.5, 0.5, 0.5, 0.5], 0.0),  # one bin expects 2 and holds 2
        ([0.25, 0.25, 0.25, 0.25], 0.5),  # it expects 1
        ([1.0, 1.0, 1.0, 1.0], 1.0),  # it expects 4
        ([0.0, 0.0, 1.0, 1.0], 0.0),
        ([1.0, 1.0, 0.0, 0.0], 2.0),  # one bin lacks both positives, the other has two that are none
    ],
)
def test_calibration_error_is_the_share_of_the_positives_that_is_miscounted(scores, error):
    assert calibration_error([0, 0, 1, 1], scores) == pytest.approx(error)


@settings(max_examples=100, deadline=None)
@given(LABELLED)
def test_rates_of_the_tie_groups_themselves_have_no_calibration_error(rows):
    labels, groups, _ = (np.array(column) for column in zip(*rows, strict=True))
    rates = np.array([labels[groups == group].mean() for group in groups])
    assert calibration_error(labels, rates) == pytest.approx(0, abs=1e-12)


def test_calibration_error_of_calibrated_scores_shrinks_with_the_rows_and_scaling_them_shows():
    rng = np.random.default_rng(8)
    scores = rng.beta(0.3, 20, 100_000)
    labels = (rng.random(100_000) < scores).astype(int)
    assert calibration_error(labels, scores) < 0.1
    assert calibration_error(labels, np.minimum(3 * scores, 1)) == pytest.approx(2, abs=0.2)


@settings(max_examples=60)
@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share_and_is_that_of_scipy(rows, data):
    positives = data.draw(st.integers(0, rows))
    low, high = (float(end) for end in wilson(positives / rows, rows))
    assert 0 <= low <= positives / rows <= high <= 1
    expected = binomtest(positives, rows).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_of_no_rows_every_share_is_possible():
    assert [float(end) for end in wilson(0.0, 0)] == [0, 1]
