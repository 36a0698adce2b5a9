"""Slices veto on evidence of harm, all together as seldom as alpha, and never for lack of rows."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.evaluation.clusters import Clusters
from ml.evaluation.gate import Outcome, judge
from ml.evaluation.holdout import CheckedRows
from ml.evaluation.holm import adjusted, holm
from ml.evaluation.slices import Slice, SliceStatus, judge_slices
from tests.evaluation.meetings import meeting, scored

GROUPS = 6


def by_closed_testing(probabilities, alpha):
    """Reject what every set of hypotheses that holds it rejects by Bonferroni: slow, and the reason that Holm is right."""
    every = range(len(probabilities))
    sets = [some for size in range(1, len(probabilities) + 1) for some in combinations(every, size)]
    return [all(min(probabilities[j] for j in some) <= alpha / len(some) for some in sets if i in some) for i in every]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.0125, 0.0166, 0.02, 0.025, 0.04, 0.05, 0.051, 0.3, 1.0]), max_size=7),
    st.sampled_from([0.05, 0.1]),
)
def test_holm_rejects_what_closed_testing_rejects(probabilities, alpha):
    assert holm(probabilities, alpha) == by_closed_testing(probabilities, alpha)


@given(st.lists(st.floats(1e-9, 1), max_size=8))
def test_an_adjusted_p_value_is_the_level_from_which_on_holm_rejects(probabilities):
    """Levels of 1 and more are all 1; of smaller ones the rounding of a product counts for nothing."""
    for index, level in enumerate(adjusted(probabilities)):
        assert level == 1 or holm(probabilities, level * 1.001 + 1e-12)[index]
        assert not holm(probabilities, level * 0.999)[index]


def test_what_is_not_tested_costs_no_correction():
    assert holm([None, 0.04, None], 0.05) == [False, True, False]
    assert holm([], 0.05) == []


def population(rng, harm=0.0, group_cards=60):
    """Rows of six groups of cards; in the first one the challenger scores frauds lower by `harm`."""
    fraud_cards = GROUPS * group_cards
    cards = 2 * fraud_cards
    frauds = np.zeros(cards, dtype=int)
    frauds[:fraud_cards] = rng.geometric(0.5, fraud_cards)
    card = np.r_[np.repeat(np.arange(cards), 4), np.repeat(np.arange(cards), frauds)]
    labels = np.r_[np.zeros(4 * cards, dtype=np.int64), np.ones(frauds.sum(), dtype=np.int64)]
    group = card % GROUPS

    def errors():
        return 0.9 * rng.normal(size=cards)[card] + 0.4 * rng.normal(size=len(card))

    common = 2 * labels + 0.7 * errors()
    champion, challenger = common + 0.6 * errors(), common + 0.6 * errors() - harm * labels * (group == 0)
    days = np.full(len(labels), np.datetime64("2025-06-05"))
    return CheckedRows(labels, champion, challenger, Clusters.of(card, days, labels), days, None), group


def slices_by(group):
    return [Slice("group", str(name), group == name) for name in range(GROUPS)]


def test_an_equal_challenger_is_vetoed_no_more_often_than_alpha_over_all_slices_together():
    """At the edge of harm, margin 0, six slices: nominal 5 %, standard deviation 1.3 %, so at most 8.2 % of 300.

    Six tests at 5 % each would veto every fourth; and not 0, for then no slice could ever veto.
    """
    rng = np.random.default_rng(20250606)
    vetoed = uncorrected = 0
    for _ in range(300):
        rows, group = population(rng)
        checks = judge_slices(rows, slices_by(group), margin=0.0, fewest=50, alpha=0.05)
        assert all(check.p_harm is not None for check in checks)
        vetoed += any(check.status is SliceStatus.VETOED for check in checks)
        uncorrected += any((check.p_harm or 0) <= 0.05 for check in checks)
    assert 0 < vetoed / 300 <= 0.082
    assert uncorrected / 300 > 0.15


def test_with_the_margin_equal_challengers_are_practically_never_vetoed():
    rng = np.random.default_rng(20250607)
    vetoed = 0
    for _ in range(30):
        rows, group = population(rng)
        checks = judge_slices(rows, slices_by(group), margin=0.1, fewest=50, alpha=0.05)
        vetoed += any(check.status is SliceStatus.VETOED for check in checks)
    assert vetoed == 0


def test_one_bad_day_is_no_evidence_of_harm():
    """In one group the challenger loses all frauds of one day in seven; by card alone it would be vetoed."""
    rng = np.random.default_rng(20250608)
    rows, group = population(rng, group_cards=200)
    day = rng.integers(0, 7, len(rows.labels))
    moved = rows.labels * (group == 0) * np.where(day == 0, -12.0, 0.0)
    vetoes = []
    for of_day in (day, np.zeros(len(day), dtype=int)):
        days = np.datetime64("2025-06-05") + of_day
        clusters = Clusters.of(rows.clusters.entity, days, rows.labels)
        checked = CheckedRows(rows.labels, rows.champion, rows.challenger + moved, clusters, days, None)
        vetoes.append(judge_slices(checked, slices_by(group), margin=0.0, fewest=50, alpha=0.05)[0])
    by_day, alone = vetoes
    assert by_day.gain == alone.gain < 0
    assert alone.status is SliceStatus.VETOED
    assert by_day.status is SliceStatus.PASSED


def better_but_for_one_part():
    """A challenger that finds more frauds on the whole and loses those of one country."""
    rows = scored(gain=1.5, rows=12_000, seed=4)
    part = np.random.default_rng(5).random(12_000) < 0.3
    harmed = np.where(part & (rows.labels == 1), rows.challenger * 0.05, rows.challenger)
    return rows.__class__(**{**vars(rows), "challenger": harmed}), part


def test_harm_in_one_slice_keeps_out_a_challenger_that_is_better_on_the_whole():
    rows, part = better_but_for_one_part()
    rules = {"slice_harm": 0.05, "slice_clusters": 50}
    without = judge(**meeting(rows, rules))
    assert without.outcome is Outcome.PROMOTE
    cut = [Slice("country", "PT", part), Slice("country", "ES", ~part)]
    verdict = judge(**meeting(rows, rules, slices=cut))
    assert verdict.primary == without.primary
    assert verdict.outcome is Outcome.KEEP
    assert [check.status for check in verdict.slices] == [SliceStatus.VETOED, SliceStatus.PASSED]
    harmed = verdict.slices[0]
    assert harmed.interval[1] < -0.05
    assert f"country PT: average precision {harmed.champion:.4f} → {harmed.challenger:.4f}" in verdict.reason
    assert "a loss beyond 0.05" in verdict.reason


def test_a_slice_that_was_declared_and_is_empty_is_never_promoted_over():
    nobody = np.zeros(6000, dtype=bool)
    verdict = judge(**meeting(scored(gain=1.0), slices=[Slice("country", "XX", nobody)]))
    assert verdict.primary.lower_bound > 0
    assert verdict.slices[0].status is SliceStatus.EMPTY
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "country XX: no rows: widen the holdout, or set `required: false` on this cut" in verdict.reason


def test_a_slice_of_few_fraud_cards_is_not_judged_and_bars_nobody():
    rows = scored(gain=1.0)
    holding = np.unique(rows.clusters[rows.labels == 1])[:49]
    few = np.isin(rows.clusters, holding)
    verdict = judge(**meeting(rows, {"slice_clusters": 50}, slices=[Slice("country", "LU", few)]))
    check = verdict.slices[0]
    assert (check.status, check.p_harm, check.positive_clusters) == (SliceStatus.NOT_JUDGED, None, 49)
    assert check.sentence == "49 clusters have a positive, 50 are needed"
    assert verdict.outcome is Outcome.PROMOTE
    judged = judge(**meeting(rows, {"slice_clusters": 49, "slice_harm": 1.0}, slices=[Slice("country", "LU", few)]))
    assert judged.slices[0].status is SliceStatus.PASSED


def test_a_slice_without_a_negative_ranks_nothing():
    rows = scored(gain=1.0)
    verdict = judge(**meeting(rows, slices=[Slice("label", "fraud", rows.labels == 1)]))
    assert verdict.slices[0].status is SliceStatus.NOT_JUDGED


@pytest.mark.parametrize(("margin", "status"), [(0.0, SliceStatus.PASSED), (0.1, SliceStatus.PASSED)])
def test_scores_that_rank_alike_do_no_harm(margin, status):
    rows, group = population(np.random.default_rng(7))
    same = CheckedRows(**{**vars(rows), "challenger": rows.champion})
    checks = judge_slices(same, slices_by(group), margin=margin, fewest=50, alpha=0.05)
    assert {check.status for check in checks} == {status}
    assert {check.p_harm for check in checks} == {1.0}


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"slice country PT has a mask of shape \(5,\), expected one value a row"):
        judge(**meeting(scored(gain=1.0), slices=[Slice("country", "PT", np.ones(5, dtype=bool))]))
