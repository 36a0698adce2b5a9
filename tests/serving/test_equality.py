"""What was served equals what point-in-time retrieval gives for the same instants, bit for bit, over several publications."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from benchmarks import equality
from benchmarks.equality import replay, stream
from ml.config import Config
from tests.deployments import FIRST_AS_OF


def _with_snapshots_every(config: Config, hours: int) -> Config:
    windows = [
        window.model_copy(update={"publish": window.publish.model_copy(update={"value": hours})}) for window in config.windows
    ]
    return config.model_copy(update={"windows": windows})


def _of_two_nights(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every fifteenth payment of a day and a half, of customers and terminals that come again."""
    events, answers = stream(config, 4500)
    return events.iloc[::15].reset_index(drop=True), answers


@pytest.mark.parametrize("hours", [24, 4])
def test_what_was_served_is_what_training_would_get(config: Config, hours: int) -> None:
    config = _with_snapshots_every(config, hours)
    events, answers = _of_two_nights(config)
    assert events["event_time"].max() - FIRST_AS_OF > dt.timedelta(days=1)
    found = replay(config, FIRST_AS_OF, events, answers)
    assert (found.events, found.equal, found.unequal) == (300, 300, {})
    assert found.from_estimator < config.training.parity.value


def test_an_online_store_that_was_not_filled_in_time_is_found(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _with_snapshots_every(config, 24)
    fill = equality.materialize
    monkeypatch.setattr(equality, "materialize", lambda config, as_of: fill(config, as_of) if as_of == FIRST_AS_OF else None)
    found = replay(config, FIRST_AS_OF, *_of_two_nights(config))
    assert found.equal < found.events
    assert "customer_amount_count_1d" in found.unequal
    assert "clock_hour" not in found.unequal
