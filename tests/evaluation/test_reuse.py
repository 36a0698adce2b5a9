"""No matured day decides more often than the rule says, and the night that is named is the first that can decide."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.evaluation.reuse import DAY, freshness

FIRST = datetime(2025, 6, 2, tzinfo=UTC)
LENGTHS = st.integers(1, 20).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window)))


def window_of(night, length):
    return FIRST + night * DAY, FIRST + (night + length) * DAY


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.lists(st.booleans(), max_size=50))
def test_no_day_is_used_by_more_decisions_than_its_share(lengths, asked):
    """Whatever the nights on which somebody asks, a day decides at most ⌈window ÷ fresh⌉ times."""
    window, needed = lengths
    used, decided = [], Counter()
    for night, wants in enumerate(asked):
        start, end = window_of(night, window)
        if wants and freshness(start, end, used, needed).enough:
            used.append((start, end))
            decided.update(range(night, night + window))
    assert max(decided.values(), default=0) <= ceil(window / needed)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.lists(st.tuples(st.integers(-30, 30), st.integers(0, 20)), max_size=6))
def test_the_night_that_is_named_is_the_first_that_has_enough(lengths, earlier):
    window, needed = lengths
    used = [window_of(night, length) for night, length in earlier]
    spent = {night + day for night, length in earlier for day in range(length)}

    def fresh(night):
        return sum(night + day not in spent for day in range(window))

    told = freshness(*window_of(0, window), used, needed)
    assert told.fresh == fresh(0)
    assert told.nights_to_wait == next(night for night in range(100) if fresh(night) >= needed)
    assert told.enough == (fresh(0) >= needed)


@settings(max_examples=60, deadline=None)
@given(LENGTHS)
def test_decisions_that_are_taken_as_soon_as_they_can_be_are_so_many_nights_apart(lengths):
    window, needed = lengths
    used, nights = [], []
    for night in range(40):
        start, end = window_of(night, window)
        if freshness(start, end, used, needed).enough:
            used.append((start, end))
            nights.append(night)
    assert nights == list(range(0, 40, needed))


def test_a_day_of_an_earlier_window_counts_as_used_whatever_its_length():
    used = [(FIRST, FIRST + timedelta(days=3))]
    told = freshness(FIRST, FIRST + timedelta(days=14), used, 7)
    assert (told.fresh, told.needed, told.nights_to_wait, told.enough) == (11, 7, 0, True)


@pytest.mark.parametrize("needed", [0, -1, 15])
def test_a_rule_that_no_window_can_meet_is_refused(needed):
    with pytest.raises(ValueError, match=f"needed is {needed} fresh days, expected 1 to 14"):
        freshness(FIRST, FIRST + timedelta(days=14), [], needed)
