"""The clock's features are those of the deployment's local time, also on the days on which clocks change, offline as online."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ml.config import load
from ml.config.names import CLOCK
from ml.features import request
from ml.store import feast
from tests.deployments import small_told, write

# In New York: clocks go from 2 to 3 on 9 March 2025, and from 2 back to 1 on 2 November 2025.
INSTANTS = {
    "2025-03-09T06:30:00Z": (1.5, 6, 1, 1),
    "2025-03-09T07:00:00Z": (3.0, 6, 1, 1),
    "2025-03-09T10:30:00Z": (6.5, 6, 0, 1),
    "2025-03-10T03:59:00Z": (23 + 59 / 60, 6, 0, 1),
    "2025-03-10T04:00:00Z": (0.0, 0, 1, 0),
    "2025-11-02T05:30:00Z": (1.5, 6, 1, 1),
    "2025-11-02T06:30:00Z": (1.5, 6, 1, 1),
    "2025-11-02T07:00:00Z": (2.0, 6, 1, 1),
    "2025-11-03T04:30:00Z": (23.5, 6, 0, 1),
    "2025-11-03T05:00:00Z": (0.0, 0, 1, 0),
}


@pytest.mark.parametrize("instant", INSTANTS)
def test_the_clock_is_right_when_clocks_change(instant: str) -> None:
    inputs = pd.DataFrame({"event_time": [pd.Timestamp(instant)]})
    told = request.compute(inputs, True, "America/New_York", ())
    assert told.columns.tolist() == list(CLOCK)
    assert told.iloc[0].tolist() == pytest.approx(INSTANTS[instant])


def test_a_zone_of_half_an_hour_and_a_change_at_midnight_are_right() -> None:
    inputs = pd.DataFrame(
        {"event_time": pd.to_datetime(["2025-06-30T19:00:00Z", "2025-09-07T03:59:00Z", "2025-09-07T04:00:00Z"])}
    )
    assert request.compute(inputs[:1], True, "Asia/Kolkata", ()).iloc[0].tolist() == [0.5, 1.0, 1.0, 0.0]
    santiago = request.compute(inputs[1:], True, "America/Santiago", ())
    assert santiago["clock_hour"].tolist() == pytest.approx([23 + 59 / 60, 1.0])
    assert santiago["clock_weekday"].tolist() == [5, 6]


def test_the_online_store_reads_the_same_clock(tmp_path: Path) -> None:
    told = small_told() | {"windows": [], "request": {"clock": True, "ratios": []}}
    told["events"]["timezone"] = "America/New_York"
    config = load(write(tmp_path, told))
    rows = [
        {"event_time": pd.Timestamp(instant), "customer_id": "C1", "terminal_id": "T1", "amount": 1.0} for instant in INSTANTS
    ]
    offline = feast.retrieve(config, pd.DataFrame(rows).assign(event_id=list(INSTANTS)))
    assert [list(row) for row in offline.to_numpy()] == [pytest.approx(expected) for expected in INSTANTS.values()]
    pd.testing.assert_frame_equal(offline, feast.retrieve_online(config, rows))
