"""The split leaves the label's delay between what is fitted and what is judged."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from ml.config import Config, Threshold, load
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


def _with_delay(value: float, unit: str) -> Config:
    delay = Threshold(value=value, unit=unit, reason="as drawn")
    return CONFIG.model_copy(update={"labels": CONFIG.labels.model_copy(update={"delay": delay})})


@given(as_of=instants, hours=st.integers(0, 300))
def test_a_delay_in_hours_leaves_whole_days_and_no_day_more_than_it_needs(as_of: dt.datetime, hours: int) -> None:
    config = _with_delay(hours, "hours")
    cut = split(config, as_of)
    for instant in (cut.train_start, cut.validation_start, cut.fitted_until, cut.holdout_start, cut.holdout_end):
        assert instant.time() == dt.time()
    day = dt.timedelta(days=1)
    assert cut.holdout_end <= as_of - config.label_delay < cut.holdout_end + day
    assert cut.fitted_until <= cut.holdout_start - config.label_delay < cut.fitted_until + day


@given(as_of=instants, days=st.integers(0, 12))
def test_days_are_as_many_hours(as_of: dt.datetime, days: int) -> None:
    assert split(_with_delay(days, "days"), as_of) == split(_with_delay(24 * days, "hours"), as_of)
