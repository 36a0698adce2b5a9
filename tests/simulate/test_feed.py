"""The feed of a deployment goes on where it stopped, and says what time it is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.clock import present
from ml.config import load
from ml.simulate.feed import write_until
from tests import deployments
from tests.deployments import FIRST_AS_OF, FIRST_DAY, small

DAY = dt.timedelta(days=1)


def test_a_feed_writes_each_day_once_and_moves_the_present(tmp_path: Path) -> None:
    config = small(tmp_path)
    assert present(config) == FIRST_AS_OF
    first = write_until(config, FIRST_DAY + DAY)
    assert present(config) == dt.datetime.combine(FIRST_DAY + 2 * DAY, dt.time(2), dt.UTC)
    assert len(first) == 4
    assert write_until(config, FIRST_DAY + DAY) == []
    second = write_until(config, FIRST_DAY + 2 * DAY)
    assert [path.name for path in second] == ["fraud_reports_2025-01-03.csv", "payments_2025-01-03.parquet"]


def test_a_deployment_without_a_feed_has_no_played_time(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["feed"]
    config = load(deployments.write(tmp_path, told))
    with pytest.raises(ValueError, match="has no 'feed': its files come from outside"):
        write_until(config, FIRST_DAY)
    with pytest.raises(ValueError, match="its time is the clock's"):
        present(config)


def test_a_replay_needs_its_data_and_cuts_it_into_days(tmp_path: Path) -> None:
    told = deployments.raw("handbook")
    config = load(deployments.write(tmp_path, told))
    with pytest.raises(ValueError, match="make demo DATA="):
        write_until(config, dt.date(2018, 4, 2))
    data = tmp_path / "past.parquet"
    times = [dt.datetime.fromisoformat(f"2018-04-0{day}T12:00:00") for day in (1, 1, 2, 3)]
    pq.write_table(pa.table({"TRANSACTION_ID": [1, 2, 3, 4], "TX_DATETIME": times}), data)
    assert [path.name for path in write_until(config, dt.date(2018, 4, 2), data)] == [
        "past_2018-04-01.parquet",
        "past_2018-04-02.parquet",
    ]
    assert present(config) == dt.datetime(2018, 4, 3, 2, tzinfo=dt.UTC)
