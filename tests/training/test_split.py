"""The split leaves the label's delay between what is fitted and what is judged."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from ml.config import load
from ml.training.split import split

CONFIG = load("config/demo.yaml")
instants = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001


@given(as_of=instants)
def test_windows_follow_each_other_with_the_gap(as_of: dt.datetime) -> None:
    cut = split(CONFIG, as_of)
    assert cut.train_start < cut.validation_start < cut.fitted_until < cut.holdout_start < cut.holdout_end <= as_of
    assert cut.holdout_start - cut.fitted_until == CONFIG.label_delay
    assert cut.holdout_end <= as_of - CONFIG.label_delay


@given(as_of=instants, days=st.integers(1, 60))
def test_a_later_holdout_never_reaches_into_what_an_earlier_champion_was_fitted_on(as_of: dt.datetime, days: int) -> None:
    champion, challenger = split(CONFIG, as_of), split(CONFIG, as_of + dt.timedelta(days=days))
    assert challenger.holdout_start >= champion.holdout_start > champion.fitted_until
