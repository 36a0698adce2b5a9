"""The standard error of rows that belong to an entity and to a day, against resampling of both and against textbook cases."""

import numpy as np
import pytest

from ml.evaluation.bootstrap import closed_form, paired_bootstrap
from ml.evaluation.clusters import Clusters, codes_of, spread
from ml.evaluation.metrics import average_precision
from ml.evaluation.statistics import CostPerDay, Ranking

DAYS, CARDS = 40, 100


def flights(seed=1, rows=3000, days=DAYS, by_day=1.0, of_card=0.4, rates=(0.03, 0.51)):
    """Labels, two models' scores, cards and days: days differ in their rate and in which model is the better one."""
    rng = np.random.default_rng(seed)
    card, day = rng.integers(0, CARDS, rows), rng.integers(0, days, rows)
    labels = (rng.random(rows) < np.linspace(*rates, days)[day]).astype(np.int64)
    common = 1.2 * labels + rng.normal(size=rows)
    scores = [
        common + of_card * labels * rng.normal(size=CARDS)[card] + by_day * labels * rng.normal(size=days)[day]
        for _ in range(2)
    ]
    return labels, *scores, card, day


def resampled(labels, champion, challenger, weights):
    """Variance of the gain in average precision over weights of rows, one replicate a row."""
    gains = [average_precision(labels, challenger, w) - average_precision(labels, champion, w) for w in weights]
    return np.var(gains, ddof=1)


@pytest.mark.parametrize("opponent", ["a model", "a constant"])
def test_both_ways_agree_with_resampling_of_cards_and_of_days(opponent):
    """Three bootstraps of 400 replicates, combined by Cameron, Gelbach and Miller, and one that resamples both at once.

    A variance of 400 replicates has an error of 7 %, the combination one of about 10 %; cards alone would be off by a third.
    """
    labels, champion, challenger, card, day = flights(by_day=0.3, of_card=0.5)
    champion = np.full(len(labels), 0.3) if opponent == "a constant" else champion
    clusters = Clusters.of(card, day, labels)
    rng = np.random.default_rng(2)
    pairs = clusters.both.max() + 1
    drawn = {name: rng.poisson(1.0, (400, count)) for name, count in (("card", CARDS), ("day", DAYS), ("both", pairs))}
    by_card, by_day = drawn["card"][:, card], drawn["day"][:, day]
    variance = {
        name: resampled(labels, champion, challenger, weights)
        for name, weights in (("card", by_card), ("day", by_day), ("both", drawn["both"][:, clusters.both]))
    }
    old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
    found = spread((new.influence() - old.influence())[0], clusters)
    assert found.by_entity**2 == pytest.approx(variance["card"], rel=0.25)
    assert found.total**2 == pytest.approx(variance["card"] + variance["day"] - variance["both"], rel=0.3)
    assert found.days > 0.3
    at_once = resampled(labels, champion, challenger, by_card * by_day)
    assert at_once == pytest.approx(variance["card"] + variance["day"] + variance["both"], rel=0.35)


def test_a_mean_of_days_that_are_clusters_of_their_own_has_the_textbook_error():
    """Entity and day are the same: the standard error of a mean over days, with days less one in the denominator."""
    rng = np.random.default_rng(3)
    day = np.repeat(np.arange(10), 50)
    costs = rng.lognormal(size=500) + rng.lognormal(size=10)[day]
    labels = np.tile(np.r_[1, np.zeros(49, dtype=np.int64)], 10)
    clusters = Clusters.of(day, day, labels)
    found = spread(CostPerDay(costs, 10.0, clusters).influence()[0], clusters)
    daily = np.bincount(day, weights=costs)
    assert found.total == pytest.approx(daily.std(ddof=1) / np.sqrt(10))


def test_where_days_decide_the_degrees_of_freedom_are_those_of_days():
    labels, champion, challenger, _, day = flights(rows=30_000, days=10, by_day=3.0, rates=(0.1, 0.1))
    clusters = Clusters.of(np.arange(len(labels)), day, labels)
    old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
    found = closed_form(old, new, clusters, alpha=0.05)["average precision"]
    assert found.share_of_days > 0.9
    assert found.degrees_of_freedom == pytest.approx(9, rel=0.1)


def test_a_day_that_holds_most_positives_leaves_few_degrees_of_freedom():
    labels, champion, challenger, card, day = flights(rows=20_000, days=10, by_day=3.0, rates=(0.1, 0.1))
    labels = np.where((day > 0) & (np.random.default_rng(4).random(len(day)) < 0.9), 0, labels)
    clusters = Clusters.of(card, day, labels)
    old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
    assert clusters.positives[0] == pytest.approx(0.5, abs=0.1)
    assert closed_form(old, new, clusters, alpha=0.05)["average precision"].degrees_of_freedom < 3


def test_days_that_share_nothing_seldom_add_much():
    """Half of the time nothing; on average the variance is a sixth larger at 14 days, for the excess is cut at 0."""
    shares = []
    for seed in range(60):
        labels, champion, challenger, card, day = flights(seed, rows=2000, days=14, by_day=0.0, rates=(0.1, 0.1))
        clusters = Clusters.of(card, day, labels)
        old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
        shares.append(closed_form(old, new, clusters, alpha=0.05)["average precision"].share_of_days)
    assert 0.25 <= np.mean(np.array(shares) == 0) <= 0.75
    assert np.mean(shares) < 0.2


@pytest.mark.parametrize("days", [np.zeros(3000), np.where(flights()[0] == 1, 0, np.arange(3000) % 14)])
def test_with_one_day_of_positives_entities_alone_are_known(days):
    labels, champion, challenger, card, _ = flights()
    clusters, alone = (Clusters.of(card, of, labels) for of in (days, np.zeros(3000)))
    assert clusters.days_with_a_positive == 1
    told = [
        closed_form(*(Ranking(labels, scores, c) for scores in (champion, challenger)), c, alpha=0.05)
        for c in (clusters, alone)
    ]
    assert told[0] == told[1]
    assert told[0]["average precision"].share_of_days == 0


def test_a_day_without_a_positive_counts_with_its_negatives():
    labels, champion, challenger, card, day = flights(days=7)
    labels = np.where(day == 3, 0, labels)
    clusters = Clusters.of(card, day, labels)
    old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
    for found in closed_form(old, new, clusters, alpha=0.05).values():
        assert np.isfinite([found.standard_error, found.degrees_of_freedom, *found.interval]).all()
        assert found.degrees_of_freedom >= 1


def test_the_bootstrap_of_entities_is_widened_in_the_same_proportion():
    labels, champion, challenger, card, day = flights()
    two, one = (Clusters.of(card, of, labels) for of in (day, np.zeros(len(day))))
    told = [
        paired_bootstrap(
            *([Ranking(labels, scores, c)] for scores in (champion, challenger)), c, replicates=200, seed=1
        )["average precision"]
        for c in (two, one)
    ]  # fmt: skip
    share = told[0].share_of_days
    assert share > 0.5
    assert told[0].standard_error == pytest.approx(told[1].standard_error / np.sqrt(1 - share))
    assert told[0].champion_interval[0] < told[1].champion_interval[0]
    assert told[0].errors_agree


def test_models_that_rank_alike_differ_by_nothing_on_any_day():
    labels, champion, _, card, day = flights()
    clusters = Clusters.of(card, day, labels)
    old, new = (Ranking(labels, scores, clusters) for scores in (champion, np.exp(champion)))
    found = closed_form(old, new, clusters, alpha=0.05)["average precision"]
    assert (found.gain, found.standard_error, found.share_of_days) == (0, 0, 0)


def test_groups_are_numbered_whatever_their_names_are():
    codes, count = codes_of(["b", "a", "b", "c"], 4, "clusters")
    assert (codes.tolist(), count) == ([1, 0, 1, 2], 3)
