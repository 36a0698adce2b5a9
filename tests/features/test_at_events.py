"""Windows that end at each event hold what happened strictly before it, by the lake that is asked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.config import Config, ConfigError, load
from ml.features.at_events import at_events
from ml.features.catalogue import catalogue
from ml.features.publish import publish_features
from ml.store.feast import feature_names, open_store, retrieve, retrieve_online
from tests import deployments
from tests.features import streams
from tests.features.streams import DAY, START

MINUTE = dt.timedelta(minutes=1)


def deployment(tmp_path: Path, **change: Any) -> Config:
    """Two views of event windows, and one with snapshots beside them."""
    told = deployments.raw()
    told["windows"] = [
        {"entity": "customer", "column": "amount", "aggregates": ["count", "mean"], "days": [1]},
        {"entity": "customer", "column": "amount", "aggregates": ["count", "sum", "mean"], "minutes": [10, 1440]},
        {"entity": "terminal", "column": "amount", "aggregates": ["count", "sum"], "minutes": [60]},
    ]
    for window in told["windows"][1:]:
        window["publish"] = "event"
    told["windows"][1] |= change
    told["request"]["ratios"] = ["customer_amount_mean_1d", "customer_amount_mean_10min"]
    return load(deployments.write(tmp_path, told))


def held(config: Config, *told: tuple[float, str | None, float | None]) -> None:
    """Fill the lake with events of terminal X, each so many minutes after noon."""
    events = [streams.event(i, 12 + minutes / 60, c, "X", amount, 0) for i, (minutes, c, amount) in enumerate(told)]
    streams.fill(config, [event | {"known_at": event["event_time"] + DAY} for event in events], [], START + 60 * DAY)


def asked(*told: tuple[float, str | None]) -> pd.DataFrame:
    """Events at so many minutes after noon."""
    rows = [streams.event(100 + i, 12 + minutes / 60, c, "X", 8.0, 0) for i, (minutes, c) in enumerate(told)]
    return pd.DataFrame(rows).drop(columns=["known_at", "batch_id"])


def test_a_window_holds_its_first_instant_and_not_its_last(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    held(config, (0, "A", 1.0), (4, "A", 2.0), (10, "A", 4.0), (10, "B", 8.0))
    found = at_events(config, asked((10, "A"), (10.01, "A"), (14, "A"), (14.01, "A"), (10, "B")))
    assert found["customer_amount_count_10min"].tolist() == [2, 2, 2, 1, 0]
    assert found["customer_amount_sum_10min"].tolist() == [3, 6, 6, 4, 0]
    assert found["customer_amount_sum_1440min"].tolist() == [3, 7, 7, 7, 0]
    assert found["terminal_amount_sum_60min"].tolist() == [3, 15, 15, 15, 3]


def test_missing_values_are_no_values_and_missing_keys_no_entities(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    held(config, (0, "A", 10.0), (1, "A", None), (2, "A", None), (3, "A", 10.0), (4, "B", None), (4, None, 5.0))
    found = at_events(config, asked((5, "A"), (5, "B"), (5, "C"), (5, None)))
    assert found["customer_amount_count_10min"].tolist()[:3] == [4, 1, 0]
    assert found["customer_amount_sum_10min"].tolist()[:3] == [20, 0, 0]
    np.testing.assert_array_equal(found["customer_amount_mean_10min"], [10, np.nan, np.nan, np.nan])
    assert found[["customer_amount_count_10min", "customer_amount_sum_10min"]].iloc[3].isna().all()
    assert found["terminal_amount_count_60min"].tolist() == [6] * 4


def test_an_event_that_is_in_the_lake_is_not_in_its_own_windows(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    held(config, (0, "A", 1.0), (1, "A", 2.0))
    rows = asked((0, "A"), (1, "A")).assign(event_id=["E0", "E1"])
    assert at_events(config, rows)["customer_amount_count_10min"].tolist() == [0, 1]


def test_the_lake_counts_as_it_was_known(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    held(config, (0, "A", 1.0), (5, "A", 2.0))
    known = START + DAY / 2 + DAY
    counts = [at_events(config, asked((6, "A")), as_of)["customer_amount_count_10min"].item() for as_of in (START, known, None)]
    assert counts == [0, 1, 2]
    assert at_events(config, asked((6, "A")), versions={"events": -1})["customer_amount_count_10min"].item() == 0


def test_sums_are_exact_and_keep_as_many_digits_as_asked(tmp_path: Path) -> None:
    for digits, expected in ((6, 0.3), (0, 0.0), (12, 0.3)):
        (folder := tmp_path / str(digits)).mkdir()
        config = deployment(folder, digits=digits)
        held(config, *[(i, "A", 0.1) for i in range(3)])
        assert at_events(config, asked((5, "A")))["customer_amount_sum_10min"].item() == expected


def test_retrieval_has_them_beside_the_snapshots_and_in_ratios(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    held(config, (0, "A", 2.0), (1, "A", 6.0))
    publish_features(config, START + 5 * DAY)
    rows = asked((5, "A"), (5, "B"))
    found = retrieve(config, rows)
    assert list(found) == feature_names(config)
    assert found["customer_amount_mean_10min"].iloc[0] == 4.0
    assert found["amount_over_customer_amount_mean_10min"].iloc[0] == 2.0
    assert np.isnan(found["amount_over_customer_amount_mean_10min"].iloc[1])
    requests = [row | found.iloc[i].to_dict() for i, row in enumerate(rows.to_dict("records"))]
    pd.testing.assert_frame_equal(found, retrieve_online(config, requests))
    assert {view.name for view in open_store(config).list_feature_views()} == {"customer_amount"}


def test_retrieval_without_anything_of_feast(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    only = config.model_copy(
        update={"windows": config.event_windows, "request": config.request.model_copy(update={"clock": False, "ratios": []})}
    )
    held(only, (0, "A", 2.0))
    assert retrieve(only, asked((5, "A")))["customer_amount_count_10min"].tolist() == [1]
    assert retrieve(only, asked((5, "A")).head(0)).empty


def test_the_catalogue_says_what_they_are(tmp_path: Path) -> None:
    meanings = {feature.name: feature.description for feature in catalogue(deployment(tmp_path, minutes=[1, 10, 90]))}
    assert meanings["customer_amount_count_1min"] == (
        "number of a customer's events, with or without amount, in the minute before the event"
    )
    assert meanings["customer_amount_mean_90min"] == (
        "mean of amount over a customer's events that have it in the 90 minutes before the event"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"minutes": [2881]}, "windows.1.minutes.0: Value error, 2881 minutes, expected 1 to 2880, two days"),
        ({"minutes": [0]}, "windows.1.minutes.0: Value error, 0 minutes, expected 1 to 2880"),
        ({"minutes": []}, "windows.1.minutes: "),
        ({"minutes": [10, 10]}, "'customer_amount_count_10min' is listed 2 times"),
        ({"days": [1]}, "windows.1: Value error, 'days' is for windows with snapshots"),
        ({"delay": 1}, "windows.1: Value error, 'delay' is for windows with snapshots"),
        ({"column": "label"}, "windows.1: Value error, 'publish: event' over the label: answers come long after"),
        ({"publish": "events"}, "windows.1: Value error, 'publish' is 'events', expected 'event', or hours"),
        (
            {"publish": {"value": 4, "unit": "hours", "reason": "four hours"}},
            "windows.1: Value error, 'minutes' are the lengths",
        ),
        ({"column": "colour"}, "windows.1.column: 'colour' is not 'label' or one of"),
        ({"minute": [1]}, "windows.1.minute: unknown key; did you mean 'minutes'?"),
    ],
)
def test_what_cannot_be_declared_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        deployment(tmp_path, **change)
    assert told in str(refused.value)
