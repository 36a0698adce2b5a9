"""The protocols learn from what is known by the first test day, and nothing is chosen on the weeks that they test."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks import handbook
from benchmarks.handbook import DAY, STARTS, WEEK
from ml.config import load
from ml.training import dataset


def test_what_is_chosen_on_ends_before_the_first_test_week() -> None:
    chosen_on = [start + 3 * WEEK for start in STARTS["earlier"]]
    tested = [start + 2 * WEEK for start in STARTS["a"] + STARTS["b"]]
    assert max(chosen_on) <= min(tested) - WEEK


def test_searching_settings_on_the_test_weeks_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["handbook", "--protocol", "b", "--data", "nowhere.parquet", "--tune", "3"])
    with pytest.raises(SystemExit):
        handbook.main()
    assert "what chooses must not see the test weeks" in capsys.readouterr().err


@pytest.fixture
def rows() -> pd.DataFrame:
    """A payment an hour for four months; one in fifty is fraud, each of another card."""
    time = pd.date_range("2018-05-01", "2018-08-31", freq="h", tz="UTC")
    return pd.DataFrame(
        {
            "event_time": time,
            "day": time.floor("D"),
            "customer_id": [f"C{i}" for i in range(len(time))],
            "label": (np.arange(len(time)) % 50 == 0).astype(int),
        }
    )


class NoTrees(Exception):
    """Nothing is fitted in these tests."""


@pytest.mark.parametrize("protocol", ["a", "b", "earlier"])
def test_nothing_is_learned_from_whose_label_is_not_known_by_the_first_test_day(
    protocol: str, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = load("config/handbook.yaml"), []

    def caught(*given):
        seen.append(next(some for some in reversed(given) if isinstance(some, pd.DataFrame)))
        raise NoTrees

    monkeypatch.setattr(handbook, "learn_inputs", lambda config, train: (None, None))
    monkeypatch.setattr(handbook, "fit_trees", caught)
    monkeypatch.setattr(handbook, "fit_own_trees", caught)
    for start in STARTS[protocol]:
        with pytest.raises(NoTrees):
            handbook.fold(config, rows, start, one_week=protocol == "a")
        first_test_day = handbook.test_rows(rows, start)["day"].min()
        estimator = seen.pop()
        assert estimator["day"].max() == first_test_day - 8 * DAY
        if protocol == "a":
            assert estimator["day"].min() == start
        else:
            assert estimator["day"].min() == max(start - config.training.train.value * DAY, rows["day"].min())
            assert estimator.loc[estimator[dataset.SPLIT] == dataset.VALIDATION, "day"].min() == start
            assert estimator[dataset.SPLIT].iloc[0] == dataset.TRAIN


def test_cards_with_a_fraud_by_then_leave_the_test_rows(rows: pd.DataFrame) -> None:
    [start] = STARTS["a"]
    compromised = rows.loc[(rows["day"] == start + 2 * DAY) & (rows["label"] == 1), "customer_id"].iloc[0]
    later = rows.loc[rows["day"] == start + 15 * DAY].index[0]
    rows.loc[later, "customer_id"] = compromised
    assert compromised not in set(handbook.test_rows(rows, start)["customer_id"])
