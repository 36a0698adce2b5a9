"""Request features of few events are those of a frame."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.features.request import compute, compute_few

ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca")
RATIOS = (("amount", "amount_mean_7d"),)
FIRST, LAST = (pd.Timestamp(day).to_pydatetime() for day in ("1975-01-01", "2037-01-01"))


@pytest.mark.parametrize("zone", ZONES)
@given(
    times=st.lists(st.datetimes(timezones=st.just(dt.UTC), min_value=FIRST, max_value=LAST), min_size=1),
    seed=st.integers(0, 1000),
)
def test_few_events_have_the_features_of_a_frame(zone: str, times: list[dt.datetime], seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = {
        name: np.where(rng.random(len(times)) < 0.3, np.nan, rng.integers(0, 4, len(times)))
        for name in ("amount", "amount_mean_7d")
    }
    frame = compute(pd.DataFrame({"event_time": pd.to_datetime(times, utc=True), **numbers}), True, zone, RATIOS)
    few = compute_few(times, numbers, True, zone, RATIOS)
    assert list(few) == list(frame.columns)
    for name, values in few.items():
        np.testing.assert_array_equal(values, frame[name].to_numpy())
