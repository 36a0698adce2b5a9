"""Counting by bin: exactly what a search in every row gives, for whatever a feed brings."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ml.monitoring.bin_counter import BLOCK, BinCounter
from ml.monitoring.profile import Binning, Bins, Profile, cut

any_float = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, 1.5, np.nextafter(1.0, 2), 5e-324, 1e308])
)
edges_of = st.lists(st.one_of(st.floats(allow_nan=False), st.sampled_from([0.0, 1.0, 1e-300, 1e308, -1e308])), unique=True)


def searched(edges, numbers):
    present = numbers[~np.isnan(numbers)].astype(np.float64)
    return np.bincount(np.searchsorted(edges, present), minlength=len(edges) + 1), int(np.isnan(numbers).sum())


@given(
    arrays(np.float64, array_shapes(max_dims=1, min_side=0, max_side=60), elements=any_float),
    edges_of.map(sorted).map(np.array),
    st.sampled_from([np.float32, np.float64]),
)
@example(np.array([np.inf, -np.inf, np.nan, -0.0, 0.0]), np.array([-1e308, 0.0, 1e308]), np.float64)
@example(np.array([1.0, 1.0 + 1e-9]), np.array([1.0]), np.float32)
def test_a_look_up_counts_exactly_what_a_search_counts(numbers, edges, dtype):
    with np.errstate(over="ignore"):
        numbers = numbers.astype(dtype)
    edges = edges.astype(np.float64)
    counts, missing = BinCounter(edges).count(numbers)
    expected, absent = searched(edges, numbers)
    assert counts.tolist() == expected.tolist()
    assert missing == absent


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_does_so_over_many_rows_and_where_values_lie_on_the_edges(dtype):
    rng = np.random.default_rng(20250701)
    numbers = np.concatenate([rng.standard_normal(BLOCK), rng.integers(-3, 3, 5000), np.full(99, np.nan)]).astype(dtype)
    edges = np.unique(np.concatenate([np.quantile(numbers[:BLOCK], np.arange(1, 256) / 256), [-1.0, 0.0, 1.0]])).astype(float)
    counts, missing = BinCounter(edges).count(numbers)
    expected, _ = searched(edges, numbers)
    assert counts.tolist() == expected.tolist()
    assert missing == 99


@given(
    st.lists(st.one_of(st.floats(allow_nan=False, width=32), st.sampled_from([0.0, 1.0])), max_size=200),
    st.integers(2, 12),
)
def test_a_cut_has_at_most_as_many_bins_as_asked_and_loses_no_row(values, bins):
    frame = pd.DataFrame({"x": np.array(values, dtype=np.float64)})
    binning = cut(frame, ["x"], bins=bins)
    counts = binning.count(frame).counts["x"]
    assert len(counts.present) == binning.columns["x"].count <= bins
    assert counts.present.sum() == len(values)


def test_bins_hold_about_equal_shares_of_the_reference():
    frame = pd.DataFrame({"x": np.random.default_rng(20250702).lognormal(size=100_000)})
    present = cut(frame, ["x"]).count(frame).counts["x"].present
    assert len(present) == 256
    assert present.min() > 380
    assert present.max() < 400


def test_a_value_that_many_rows_have_gets_a_bin_of_its_own():
    rng = np.random.default_rng(20250703)
    frame = pd.DataFrame({"x": np.where(rng.random(10_000) < 0.4, 0.0, rng.normal(size=10_000))})
    present = cut(frame, ["x"], bins=32).count(frame).counts["x"].present
    assert (frame["x"] == 0).sum() in present.tolist()


def test_a_column_of_few_values_gets_a_bin_for_each():
    frame = pd.DataFrame({"x": [3, 1, 1, 7]})
    binning = cut(frame, ["x"])
    assert binning.count(frame).counts["x"].present.tolist() == [2, 1, 1]
    assert binning.count(pd.DataFrame({"x": [-5.0, 3.0, 100.0]})).counts["x"].present.tolist() == [1, 1, 1]


def test_text_that_the_reference_lacks_is_unseen_and_none_is_missing():
    binning = cut(pd.DataFrame({"x": ["a", "b", "a"]}), [], ["x"])
    counts = binning.count(pd.DataFrame({"x": ["b", "c", None, "b", "c"]})).counts["x"]
    assert counts.present.tolist() == [0, 2]
    assert (counts.missing, counts.unseen) == (1, 2)


def test_rare_categories_beyond_the_bins_count_as_unseen():
    frame = pd.DataFrame({"x": [*"aaabbc"]})
    binning = cut(frame, [], ["x"], bins=2)
    assert binning.columns["x"].categories == ("a", "b")
    assert binning.count(frame).counts["x"].unseen == 1


def test_columns_without_any_value_are_counted_as_missing():
    frame = pd.DataFrame({"number": [np.nan, np.nan], "text": [None, None]})
    counts = cut(frame, ["number"], ["text"]).count(frame).counts
    assert counts["number"].missing == counts["text"].missing == 2
    assert counts["number"].present.sum() == counts["text"].present.sum() == 0


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "Float32", "int8", "bool", "float32"])
def test_numbers_of_any_type_are_counted(dtype):
    frame = pd.DataFrame({"x": pd.Series([0, 1, 1], dtype=dtype)})
    assert cut(frame, ["x"]).count(frame).counts["x"].present.tolist() == [1, 2]


def test_the_profile_of_two_days_is_the_sum_of_their_profiles():
    rng = np.random.default_rng(20250704)
    frame = pd.DataFrame({"x": rng.normal(size=500), "t": rng.choice(["a", "b", None], 500)})
    binning = cut(frame[:300], ["x"], ["t"])
    whole, parts = binning.count(frame), binning.count(frame[:200]) + binning.count(frame[200:])
    assert whole.to_dict() == parts.to_dict()


def test_profiles_and_bins_come_back_from_json_as_they_were():
    rng = np.random.default_rng(20250705)
    frame = pd.DataFrame({"x": rng.normal(size=500), "t": rng.choice(["a", "b", None], 500)})
    binning = cut(frame, ["x"], ["t"])
    again = Binning.from_dict(json.loads(json.dumps(binning.to_dict())))
    assert again == binning
    profile = binning.count(frame)
    assert Profile.from_dict(json.loads(json.dumps(profile.to_dict()))).to_dict() == again.count(frame).to_dict()


def test_a_column_that_is_not_there_or_no_number_is_named():
    frame = pd.DataFrame({"x": ["a", "b"]})
    with pytest.raises(ValueError, match="'y'"):
        cut(frame, ["y"])
    with pytest.raises(ValueError, match="'x' is cut as numbers"):
        cut(frame, ["x"])
    with pytest.raises(ValueError, match="'x'"):
        cut(pd.DataFrame({"x": [1.0]}), ["x"]).count(pd.DataFrame({"z": [1.0]}))


def test_profiles_that_were_cut_differently_are_not_added():
    one, two = (cut(pd.DataFrame({"x": values}), ["x"]) for values in ([1, 2], [1, 2, 3]))
    frame = pd.DataFrame({"x": [1]})
    with pytest.raises(ValueError, match="not cut alike"):
        one.count(frame) + two.count(frame)
    with pytest.raises(ValueError, match="edges"):
        Bins()
