"""Statistics of a day against the reference, beside their definitions on rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from ml.monitoring.columns import Column
from ml.monitoring.measurements import Kind
from ml.monitoring.profile import Counts
from ml.monitoring.shift import GROUPS, angle, groups, mid_ranks, stability_index

counts = st.lists(st.integers(0, 50), min_size=1, max_size=12)


def mean_rank_shift(live, reference):
    """As a day is compared with a column whose reference has these rows by bin."""
    column = Column(np.array(reference), np.array([reference] * 7), text=False)
    return column.daily(Kind.LOCATION, Counts(np.array(live), 0))[0]


pairs = st.integers(1, 12).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(0, 50), min_size=size, max_size=size).map(np.array)] * 2)
)


@given(pairs.filter(lambda pair: pair[0].sum() > 0 and pair[1].sum() > 0))
def test_the_mean_rank_shift_is_the_mann_whitney_statistic_of_the_rows(pair):
    live, reference = pair
    rows = [np.repeat(np.arange(len(counts)), counts) for counts in pair]
    statistic = mannwhitneyu(*rows).statistic / (len(rows[0]) * len(rows[1]))
    assert mean_rank_shift(live, reference) == pytest.approx(statistic - 0.5)


@given(counts.filter(any))
def test_the_reference_is_not_shifted_against_itself(reference):
    assert mean_rank_shift(reference, reference) == pytest.approx(0, abs=1e-12)


def test_a_normal_feature_is_shifted_by_its_known_probability():
    edges = norm.ppf(np.arange(1, 256) / 256)
    live, reference = (np.diff(norm.cdf(edges, mean), prepend=0, append=1) * 1e6 for mean in (0.15, 0))
    expected = norm.cdf(0.15 / np.sqrt(2)) - 0.5
    assert mean_rank_shift(live, reference) == pytest.approx(expected, rel=0.002)
    assert expected == pytest.approx(0.28 * 0.15, rel=0.01)


def test_without_rows_there_is_no_shift_and_without_a_reference_no_rank():
    assert np.isnan(mean_rank_shift([0, 0], [3, 4]))
    assert mid_ranks([0, 0]).tolist() == [0, 0]


@given(pairs)
def test_the_stability_index_is_symmetric_and_never_negative(pair):
    live, reference = pair
    assert stability_index(live, reference) == pytest.approx(stability_index(reference, live))
    assert stability_index(live, reference) >= 0


def test_the_stability_index_of_large_counts_is_its_definition():
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.3, 0.4])
    assert stability_index(p * 1e8, q * 1e8) == pytest.approx(np.sum((p - q) * np.log(p / q)), rel=1e-6)


def test_angles_of_shares_have_the_standard_error_that_is_claimed():
    rng = np.random.default_rng(20250707)
    for share in (0.02, 0.5):
        angles = [angle(hits / 10_000) for hits in rng.binomial(10_000, share, 4000)]
        assert np.std(angles) == pytest.approx(1 / (2 * np.sqrt(10_000)), rel=0.05)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=300).map(np.array), st.booleans())
def test_groups_are_few_and_numbered_without_a_gap(reference, ordered):
    told = groups(reference, ordered=ordered)
    assert sorted(set(told)) == list(range(told.max() + 1))
    assert told.max() < GROUPS
    if ordered:
        assert (np.diff(told) >= 0).all()


def test_256_equal_bins_are_gathered_into_twenty_groups_of_about_a_twentieth():
    told = np.bincount(groups(np.full(256, 100), ordered=True))
    assert len(told) == GROUPS
    assert set(told) <= {12, 13}
