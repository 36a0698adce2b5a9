"""Slices and groups are what the deployment file says, whatever the rows hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml.config import Config
from ml.training.cuts import attributes_of, slices_of
from tests.deployments import raw


def _config(by: list[dict[str, Any]], **changes: Any) -> Config:
    told = raw() | changes
    told["gate"]["slices"]["by"] = by
    return Config.model_validate(told)


ROWS = pd.DataFrame(
    {
        "amount": [10.0, 50.0, 199.99, 200.0, np.nan],
        "channel": ["chip", "online", None, "chip", "<b>"],
        "country": ["FR", "FR", "DE", np.nan, "DE"],
        "customer_age": [0.0, 3.0, 30.0, 400.0, 29.99],
    }
)


def _told(config: Config) -> dict[str, list[int]]:
    return {f"{part.slice}: {part.group}": np.flatnonzero(part.mask).tolist() for part in slices_of(config, ROWS)}


def test_bands_hold_their_lower_edge_and_what_is_missing_is_a_slice() -> None:
    assert _told(_config([{"column": "amount", "edges": [50, 200]}])) == {
        "amount: under 50": [0],
        "amount: 50 to 200": [1, 2],
        "amount: 200 and more": [3],
        "amount: (missing)": [4],
    }


def test_groups_are_those_that_occur() -> None:
    assert _told(_config([{"column": "channel"}])) == {
        "channel: (missing)": [2],
        "channel: <b>": [4],
        "channel: chip": [0, 3],
        "channel: online": [1],
    }


def test_new_customers_are_set_against_known_ones_by_their_age() -> None:
    by = [{"column": "customer_age", "edges": [30], "name": "new or known"}, {"column": "customer_age", "edges": [1, 7]}]
    told = _told(_config(by))
    assert told["new or known: under 30"] == [0, 1, 4]
    assert told["new or known: 30 and more"] == [2, 3]
    assert told["customer_age: under 1"] == [0]


def test_every_row_is_in_one_slice_of_a_cut() -> None:
    by = [{"column": "amount", "edges": [1000, 2000]}, {"column": "channel"}]
    for name in ("amount", "channel"):
        parts = [part.mask for part in slices_of(_config(by), ROWS) if part.slice == name]
        assert np.sum(parts, axis=0).tolist() == [1] * len(ROWS)


def test_an_empty_band_is_there_and_says_whether_it_must_hold_rows() -> None:
    strict, lax = ({"column": "amount", "edges": [1000], "required": required} for required in (True, False))
    for by, required in ((strict, True), (lax, False)):
        (empty,) = [part for part in slices_of(_config([by]), ROWS) if part.group == "1000 and more"]
        assert (int(empty.mask.sum()), empty.required) == (0, required)


def test_a_missing_group_is_a_group() -> None:
    assert attributes_of(_config([]), ROWS)["country"].tolist() == ["FR", "FR", "DE", "(missing)", "DE"]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ([{"column": "colour"}], "'colour' is not one of"),
        ([{"column": "amount"}], "'amount' is a number and needs edges"),
        ([{"column": "channel", "edges": [1]}], "'channel' is text and takes no edges"),
        ([{"column": "amount", "edges": [5, 5]}], r"edges \[5.0, 5.0\] must rise"),
        ([{"column": "channel"}, {"column": "channel"}], "two cuts are named 'channel'"),
    ],
)
def test_a_cut_that_cannot_be_made_is_refused_on_load(by: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _config(by)
