"""The gate as a statistical instrument: how often it promotes an equal challenger, and how often it finds a better one.

Payments are simulated with frauds that come several to a card and with errors that a card's rows share, as a stolen card's
do, and with days on which one model is the better one. Every bound below is the nominal rate plus at least 2.5 standard
deviations of the simulation itself.
"""

import numpy as np
import pytest

from benchmarks.payments import gate, payments
from ml.evaluation.bootstrap import closed_form, compare_rankings
from ml.evaluation.clusters import Clusters
from ml.evaluation.gate import Outcome
from ml.evaluation.statistics import Ranking


@pytest.fixture(scope="module")
def equal_models():
    """400 gates in which both models are draws of the same recipe, from the fewest clusters that the gate takes up."""
    rng = np.random.default_rng(20250601)
    return [gate(rng, seed, fraud_cards) for fraud_cards in (30, 45, 60, 90) for seed in range(100)]


def test_an_equal_challenger_is_promoted_at_about_alpha(equal_models):
    """Nominal 5 %, standard deviation 1.1 %: at most 8 % of 400, and not 0, for then the gate would be asleep."""
    promoted = np.mean([verdict.outcome is Outcome.PROMOTE for verdict in equal_models])
    assert 0.02 <= promoted <= 0.08


def test_a_higher_metric_alone_would_promote_every_second_equal_challenger(equal_models):
    higher = np.mean([verdict.primary.gain > 0 for verdict in equal_models])
    assert 0.42 <= higher <= 0.58


def test_the_two_sided_interval_covers(equal_models):
    """Nominal 95 %, standard deviation 1.1 %: at least 92 %."""
    covered = np.mean([v.primary.interval[0] <= 0 <= v.primary.interval[1] for v in equal_models])
    assert 0.92 <= covered <= 0.99


def test_the_upper_bound_is_as_honest_as_the_lower(equal_models):
    below = np.mean([verdict.primary.upper_bound < 0 for verdict in equal_models])
    assert 0.02 <= below <= 0.08


def test_a_relaxed_alpha_is_held_too():
    """Nominal 20 %, standard deviation 2.8 %: 13 to 27 % of 200."""
    rng = np.random.default_rng(20250602)
    promoted = np.mean([gate(rng, seed, 60, alpha=0.2).outcome is Outcome.PROMOTE for seed in range(200)])
    assert 0.13 <= promoted <= 0.27


def test_an_interval_over_rows_promotes_equal_challengers_several_times_as_often():
    """With frauds that share their errors within a card it promotes over a quarter of equal models."""
    rng = np.random.default_rng(20250603)
    by_row = by_card = 0
    for seed in range(150):
        labels, champion, challenger, card, _ = payments(rng, 60)
        rows, one_day = np.arange(len(labels)), np.zeros(len(labels))
        for clusters in (rows, card):
            told = compare_rankings(labels, champion, challenger, clusters, one_day, replicates=200, seed=seed)
            promoted = told["average precision"].lower_bound > 0
            by_row, by_card = (by_row + promoted, by_card) if clusters is rows else (by_row, by_card + promoted)
    assert by_row / 150 > 0.15
    assert by_row >= 3 * by_card


@pytest.fixture(scope="module")
def better_challenger():
    """200 gates in which the challenger's true gain is the minimum detectable effect that the gate claims."""
    rng = np.random.default_rng(20250604)
    return [gate(rng, seed, 100, gain=0.525) for seed in range(200)]


def test_the_minimum_detectable_effect_is_found_in_four_of_five_gates(better_challenger):
    """Nominal 80 %, standard deviation 2.8 %: 72 to 88 % of 200, once the gain is what was claimed to within 5 %."""
    true_gain = np.mean([verdict.primary.gain for verdict in better_challenger])
    claimed = np.mean([verdict.minimum_detectable_effect for verdict in better_challenger])
    assert true_gain == pytest.approx(claimed, rel=0.05)
    promoted = np.mean([verdict.outcome is Outcome.PROMOTE for verdict in better_challenger])
    assert 0.72 <= promoted <= 0.88


def test_the_interval_covers_a_true_gain_as_well(better_challenger):
    """Nominal 95 %, standard deviation 1.5 %: at least 91 %. The mean over 200 gates stands for the true gain."""
    true_gain = np.mean([verdict.primary.gain for verdict in better_challenger])
    covered = np.mean([v.primary.interval[0] <= true_gain <= v.primary.interval[1] for v in better_challenger])
    assert covered >= 0.91


def test_a_worse_challenger_is_practically_never_promoted_and_mostly_kept_out():
    rng = np.random.default_rng(20250605)
    outcomes = [gate(rng, seed, 100, gain=-0.5, worthwhile_gain=0.02).outcome for seed in range(60)]
    assert Outcome.PROMOTE not in outcomes
    assert outcomes.count(Outcome.KEEP) >= 40


@pytest.fixture(scope="module")
def equal_models_by_day():
    """400 comparisons of draws of one recipe, each better on some days, by an interval that knows days and one that does not.

    By influence functions, which the bootstrap follows: what is tested here is what days add.
    """
    rng = np.random.default_rng(20250606)
    told = []
    for cards, days, by_day in [(30, 7, 0.6), (60, 7, 1.2), (60, 14, 0.6), (100, 14, 1.2)] * 100:
        labels, champion, challenger, card, day = payments(rng, cards, days=days, by_day=by_day)
        pair = []
        for of_day in (day, np.zeros(len(day))):
            clusters = Clusters.of(card, of_day, labels)
            old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
            pair.append(closed_form(old, new, clusters, alpha=0.05)["average precision"])
        told.append(pair)
    return told


def wrong(differences):
    """Share of the two one-sided bounds that miss a gain of 0."""
    return np.mean([[d.lower_bound > 0, d.upper_bound < 0] for d in differences])


def test_where_days_favour_one_model_an_equal_challenger_is_promoted_at_about_alpha(equal_models_by_day):
    """At most 6 % over many gates, standard deviation of 400 with both bounds 1.1 %: at most 8.8 %, and not 0."""
    assert 0.02 <= wrong(two for two, _ in equal_models_by_day) <= 0.088


def test_an_interval_that_knows_no_days_promotes_equal_challengers_twice_as_often(equal_models_by_day):
    assert wrong(one for _, one in equal_models_by_day) > 0.1
    assert wrong(one for _, one in equal_models_by_day) > 2 * wrong(two for two, _ in equal_models_by_day)


def test_where_days_favour_one_model_the_two_sided_interval_covers(equal_models_by_day):
    """93 to 97 % over many gates, standard deviation of 400 gates 1.2 %: 90 to 99 %."""
    covered = np.mean([two.interval[0] <= 0 <= two.interval[1] for two, _ in equal_models_by_day])
    assert 0.90 <= covered <= 0.99


def test_where_days_favour_one_model_the_claimed_effect_is_found_in_four_of_five_gates():
    """Nominal 80 %, standard deviation 2.8 %: 72 to 88 % of 200, once the gain is what was claimed to within 5 %."""
    rng = np.random.default_rng(20250609)
    told = []
    for _ in range(200):
        labels, champion, challenger, card, day = payments(rng, 100, gain=0.68, days=14, by_day=0.6)
        clusters = Clusters.of(card, day, labels)
        old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
        told.append(closed_form(old, new, clusters, alpha=0.05)["average precision"])
    gain, claimed = (np.mean([getattr(d, name) for d in told]) for name in ("gain", "minimum_detectable_effect"))
    assert gain == pytest.approx(claimed, rel=0.05)
    assert 0.72 <= np.mean([d.lower_bound > 0 for d in told]) <= 0.88
    assert np.mean([d.interval[0] <= gain <= d.interval[1] for d in told]) >= 0.91


def test_a_vanishing_effect_of_days_costs_little():
    """The effect that is claimed grows by 2 to 3 % on average, standard deviation over 60 draws 1 %: by at most 6 %."""
    rng = np.random.default_rng(20250607)
    claimed = []
    for _ in range(60):
        labels, champion, challenger, card, day = payments(rng, 60, days=14)
        for of_day in (day, np.zeros(len(day))):
            clusters = Clusters.of(card, of_day, labels)
            old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
            claimed.append(closed_form(old, new, clusters, alpha=0.05)["average precision"].minimum_detectable_effect)
    assert 1 <= np.sum(claimed[::2]) / np.sum(claimed[1::2]) <= 1.06
