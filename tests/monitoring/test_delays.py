"""Delays in hours: which days have matured, and on which days a faulty one is in a window."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.config import Threshold, Window, load
from ml.monitoring.muting import _is_in
from ml.monitoring.performance import matured_by

CONFIG = load("config/demo.yaml")
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
FAULTY = dt.date(2025, 3, 10)


@pytest.mark.parametrize(("hours", "days"), [(0, 0), (1, 1), (24, 1), (25, 2), (30, 2), (168, 7)])
def test_a_day_has_matured_when_the_delay_of_its_last_event_is_over(hours: int, days: int) -> None:
    delay = Threshold(value=hours, unit="hours", reason="as the test asks")
    config = CONFIG.model_copy(update={"labels": CONFIG.labels.model_copy(update={"delay": delay})})
    assert matured_by(config, FAULTY) == FAULTY - days * DAY


@given(delay=st.integers(0, 60), length=st.integers(1, 3), later=st.integers(-1, 9))
def test_a_faulty_day_is_in_a_window_wherever_a_snapshot_that_a_day_may_use_reaches_it(
    delay: int, length: int, later: int
) -> None:
    """A day may use any snapshot of its own and of the day before, until the first of its own is published."""
    hourly = Threshold(value=1, unit="hours", reason="as the test asks")
    behind = f"{delay} hours" if delay else 0
    window = Window(entity="customer", column="amount", aggregates=["sum"], days=[length], delay=behind, publish=hourly)
    fault = dt.datetime.combine(FAULTY, dt.time())
    day = fault + later * DAY
    used = [*[day - DAY + i * HOUR for i in range(48)], day + DAY - dt.timedelta(microseconds=1)]
    ends = [snapshot - window.delay_span for snapshot in used]
    reached = any(end > fault and end - length * DAY < fault + DAY for end in ends)
    assert _is_in(window, length, FAULTY, day.date()) == reached
