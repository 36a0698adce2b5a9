"""Every expectation that a suite may use is honoured: under `rows` it names the failing rows, under `file` it can fail."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml.config import load
from ml.config.expectations import CONDITION, EXPECTATIONS, MOSTLY, PARSER
from ml.config.suites import Entry
from ml.quality import suites
from ml.quality.validate import validate_batch
from tests.deployments import land, payments, small_told, write
from tests.suites import entry, suite_file

AT = [dt.datetime(2025, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3, 4)]
TABLE = pa.table(
    {
        "amount": [1.0, 2.0, None, 50.0],
        "limit": [5.0, 2.0, 3.0, 40.0],
        "code": ["x", "y", None, "zz"],
        "other": ["x", "q", "q", "q"],
        "at": AT,
    }
)
# By expectation: arguments under which it fails on the table, and the rows that it must name, None where it names none.
FAILS: dict[str, tuple[dict[str, Any], list[int] | None]] = {
    "expect_column_values_to_not_be_null": ({"column": "code"}, [2]),
    "expect_column_values_to_be_null": ({"column": "code"}, [0, 1, 3]),
    "expect_column_values_to_be_between": ({"column": "at", "max_value": AT[1], "strict_max": True}, [1, 2, 3]),
    "expect_column_values_to_be_in_set": ({"column": "amount", "value_set": [1, 2]}, [3]),
    "expect_column_values_to_not_be_in_set": ({"column": "code", "value_set": ["y"]}, [1]),
    "expect_column_values_to_match_regex": ({"column": "code", "regex": "^.$"}, [3]),
    "expect_column_values_to_not_match_regex": ({"column": "code", "regex": "z"}, [3]),
    "expect_column_values_to_match_regex_list": ({"column": "code", "regex_list": ["x", "y"], "match_on": "any"}, [3]),
    "expect_column_values_to_not_match_regex_list": ({"column": "code", "regex_list": ["x", "y"]}, [0, 1]),
    "expect_column_value_lengths_to_be_between": ({"column": "code", "max_value": 1}, [3]),
    "expect_column_value_lengths_to_equal": ({"column": "code", "value": 2}, [0, 1]),
    "expect_column_values_to_match_strftime_format": ({"column": "code", "strftime_format": "%Y"}, [0, 1, 3]),
    "expect_column_values_to_be_dateutil_parseable": ({"column": "code"}, [0, 1, 3]),
    "expect_column_values_to_be_json_parseable": ({"column": "code"}, [0, 1, 3]),
    "expect_column_values_to_be_unique": ({"column": "other"}, [1, 2, 3]),
    "expect_column_pair_values_to_be_equal": ({"column_A": "code", "column_B": "other"}, [1, 2, 3]),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        {"column_A": "amount", "column_B": "limit", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        [0],
    ),
    "expect_column_pair_values_to_be_in_set": (
        {
            "column_A": "code",
            "column_B": "other",
            "value_pairs_set": [["x", "x"]],
            "ignore_row_if": "either_value_is_missing",
        },
        [1, 3],
    ),
    "expect_compound_columns_to_be_unique": ({"column_list": ["other", "other"]}, [1, 2, 3]),
    "expect_select_column_values_to_be_unique_within_record": ({"column_list": ["amount", "limit"]}, [1]),
    "expect_multicolumn_values_to_be_equal": (
        {"column_list": ["amount", "limit"], "ignore_row_if": "any_value_is_missing"},
        [0, 3],
    ),
    "expect_multicolumn_sum_to_equal": (
        {"column_list": ["amount", "limit"], "sum_total": 4, "ignore_row_if": "any_value_is_missing"},
        [0, 3],
    ),
    "expect_column_min_to_be_between": ({"column": "at", "min_value": AT[1]}, None),
    "expect_column_max_to_be_between": ({"column": "amount", "max_value": 50, "strict_max": True}, None),
    "expect_column_mean_to_be_between": ({"column": "amount", "min_value": 1000}, None),
    "expect_column_median_to_be_between": ({"column": "amount", "max_value": 1}, None),
    "expect_column_stdev_to_be_between": ({"column": "amount", "max_value": 1}, None),
    "expect_column_sum_to_be_between": ({"column": "amount", "max_value": 52}, None),
    "expect_column_quantile_values_to_be_between": (
        {"column": "amount", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[3, 9]]}},
        None,
    ),
    "expect_column_unique_value_count_to_be_between": ({"column": "other", "min_value": 3}, None),
    "expect_column_proportion_of_unique_values_to_be_between": ({"column": "other", "min_value": 0.6}, None),
    "expect_column_proportion_of_non_null_values_to_be_between": ({"column": "code", "min_value": 0.8}, None),
    "expect_column_distinct_values_to_be_in_set": ({"column": "code", "value_set": ["x", "y"]}, None),
    "expect_column_distinct_values_to_contain_set": ({"column": "code", "value_set": ["w"]}, None),
    "expect_column_distinct_values_to_equal_set": ({"column": "code", "value_set": ["x", "y"]}, None),
    "expect_column_most_common_value_to_be_in_set": ({"column": "other", "value_set": ["x"]}, None),
    "expect_table_row_count_to_be_between": ({"max_value": 3}, None),
    "expect_table_row_count_to_equal": ({"value": 3}, None),
}


def failed(entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[suites.Failure]:
    """What fails of a frame as a whole."""
    return suites.failures(suites.evaluate(entries, frame, parameters))


def failed_rows(entries: tuple[Entry, ...], table: pa.Table, parameters: dict[str, Any]) -> list[suites.Failure]:
    """What fails by rows."""
    return suites.failures(suites.evaluate_rows(entries, table, parameters))


def _asked(name: str, kwargs: dict[str, Any]) -> tuple[Entry]:
    return (Entry("a suite, entry 1", name, kwargs, True, "it must"),)


def test_every_expectation_is_tried() -> None:
    assert FAILS.keys() == EXPECTATIONS.keys()


@pytest.mark.parametrize("name", FAILS)
def test_an_expectation_fails_on_the_whole_and_names_its_rows(name: str) -> None:
    kwargs, rows = FAILS[name]
    (failure,) = failed(_asked(name, kwargs), TABLE.to_pandas(), {})
    assert failure.critical
    assert EXPECTATIONS[name].per_row == (rows is not None)
    if rows is not None:
        (named,) = failed_rows(_asked(name, kwargs), TABLE, {})
        assert named.rows.tolist() == rows
        values = TABLE.to_pandas()[list(dict.fromkeys(_asked(name, kwargs)[0].columns))].iloc[rows]
        if values.shape[1] == 1 and "column" in kwargs:
            assert [str(v) for v in named.values] == [str(v) for v in values.iloc[:, 0]]


@pytest.mark.parametrize("name", [name for name, known in EXPECTATIONS.items() if known.per_row])
def test_a_condition_chooses_the_rows_that_are_asked(name: str) -> None:
    """Of the failing rows only those of the condition are named; a condition that holds nowhere names none."""
    kwargs, rows = FAILS[name]
    assert rows
    if name in ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"):
        condition, left = "other == 'q' and limit > 2", [2, 3]
    else:
        condition, left = "limit > 2", [row for row in rows if row != 1]
    found = failed_rows(_asked(name, kwargs | {CONDITION: condition}), TABLE, {})
    assert [row for failure in found for row in failure.rows] == left
    assert failed_rows(_asked(name, kwargs | {CONDITION: "limit > 100"}), TABLE, {}) == []


def test_arguments_are_those_of_the_installed_library() -> None:
    from great_expectations.expectations.registry import get_expectation_impl

    suites._context()
    for name, known in EXPECTATIONS.items():
        takes = get_expectation_impl(name).__fields__
        assert set(known.arguments) - set(takes) - {CONDITION, PARSER} == set(), name
        required = {argument for argument, field in takes.items() if field.required}
        assert required - {"column", "regex"} <= set(known.required), name
        assert known.per_row == (MOSTLY in takes), name
        assert CONDITION in get_expectation_impl(name).domain_keys, name


def test_a_share_of_failing_values_is_allowed_for_a_whole_file() -> None:
    name = "expect_column_values_to_not_be_null"
    assert failed(_asked(name, {"column": "code", MOSTLY: 0.75}), TABLE.to_pandas(), {}) == []
    (failure,) = failed(_asked(name, {"column": "code", MOSTLY: 0.8}), TABLE.to_pandas(), {})
    assert failure.observed.startswith("1 of 4 values")


def test_what_cannot_be_evaluated_names_its_entry() -> None:
    good = Entry("a suite, entry 1", "expect_column_values_to_not_be_null", {"column": "amount"}, True, "it must")
    bad = Entry("a suite, entry 2", "expect_column_values_to_be_between", {"column": "code", "max_value": 1}, True, "it must")
    with pytest.raises(suites.CheckBroken, match="a suite, entry 2 cannot be evaluated"):
        failed((good, bad), TABLE.to_pandas(), {})
    raising = Entry("a suite, entry 3", "expect_column_values_to_be_between", {"column": "amount"}, True, "it must")
    with pytest.raises(suites.CheckBroken, match=r"(?s)a suite, entry 3 cannot be evaluated: .*cannot both be None"):
        failed((good, raising), TABLE.to_pandas(), {})


def test_a_failure_under_rows_that_names_no_row_is_an_error() -> None:
    mean = _asked("expect_column_mean_to_be_between", {"column": "amount", "min_value": 1000})
    with pytest.raises(suites.CheckBroken, match="entry 1 failed and named no row"):
        failed_rows(mean, TABLE, {})


def test_values_are_seen_once_and_told_for_every_row() -> None:
    table = pa.table({"code": ["a", "b"] * 1000})
    (failure,) = failed_rows(_asked("expect_column_values_to_be_in_set", {"column": "code", "value_set": ["a"]}), table, {})
    np.testing.assert_array_equal(failure.rows, np.arange(1, 2000, 2))


def _validate(tmp_path: Path, part: str, told: dict[str, Any], file_format: str = "parquet") -> Any:
    deployment = small_told()
    deployment["events"]["suite"] = str(suite_file(tmp_path, {part: [told]}))
    config = load(write(tmp_path, deployment))
    path = land(config, "payments_2025-03-10.parquet", payments(50))
    if file_format == "csv":
        pd.read_parquet(path).to_csv(path.with_suffix(".csv"), index=False)
        path.unlink()
    return validate_batch(config, dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC))


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_critical_aggregate_stops_the_file_whatever_its_format(tmp_path: Path, file_format: str) -> None:
    mean = entry("expect_column_mean_to_be_between", column="amount", min_value=1000)
    told = _validate(tmp_path, "file", mean, file_format)
    assert (told.accepted, told.rejected) == (0, 50)
    assert "amount: expect_column_mean_to_be_between (min_value 1000.0), observed 34.5" in told.stopped[0]


def test_an_aggregate_that_is_only_a_warning_is_told(tmp_path: Path) -> None:
    share = entry("expect_column_proportion_of_unique_values_to_be_between", column="country", min_value=0.5)
    told = _validate(tmp_path, "file", share | {"severity": "warning"})
    assert told.accepted == 50
    assert "warning, payments_2025-03-10.parquet: country: expect_column_proportion_of_unique_values" in told.note


def test_two_columns_are_compared_and_the_row_is_set_aside_with_both_values(tmp_path: Path) -> None:
    same = entry("expect_column_pair_values_to_be_equal", column_A="channel", column_B="country")
    told = _validate(tmp_path, "rows", same | {"kwargs": same["kwargs"] | {CONDITION: "amount < 12"}})
    assert (told.accepted, told.quarantined) == (48, 2)
    assert "channel, country: expect_column_pair_values_to_be_equal" in told.note
