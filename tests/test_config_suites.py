"""A suite is checked whole when its deployment is loaded: each problem names its entry and what is possible."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml.config import PROJECT, ConfigError, load
from ml.config.suites import events_suite
from tests.deployments import small_told, write
from tests.suites import entry, suite_file

BETWEEN = "expect_column_values_to_be_between"


def _load(folder: Path, suite: Any, of: str = "events") -> Any:
    told = small_told()
    told[of]["suite"] = str(suite_file(folder, suite))
    return load(write(folder, told))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (entry("expect_column_values_to_be_betwen", column="amount"), f"did you mean {BETWEEN}"),
        (entry("expect_column_mean_to_be_between", column="amount", max_value=9), "whole file .* move it to 'file'"),
        (entry("expect_column_proportion_of_unique_values_to_be_between", column="amount", max_value=1), "move it to 'file'"),
        (entry("expect_column_distinct_values_to_be_in_set", column="country", value_set=["DE"]), "move it to 'file'"),
        (entry("expect_table_row_count_to_equal", value=3), "move it to 'file'"),
        (entry("unexpected_rows_expectation", unexpected_rows_query="SELECT 1"), "there is no expectation"),
        (entry("expect_column_values_to_match_like_pattern", column="country", like_pattern="a%"), "did you mean"),
        (entry(BETWEEN, column="amuont", max_value=1), "no column 'amuont'; did you mean amount?"),
        (entry(BETWEEN, column="TX", max_value=1), "no column 'TX'; there is "),
        (entry(BETWEEN, column="amount", maximum=1), "kwargs.maximum is not known; there is column, min_value"),
        (entry(BETWEEN, max_value=1), "kwargs.column is missing"),
        (entry(BETWEEN, column="amount"), "neither min_value nor max_value"),
        (entry(BETWEEN, column="amount", min_value=2, max_value=1), "min_value 2 is more than max_value 1"),
        (entry(BETWEEN, column="amount", min_value="two"), "min_value is 'two', expected a number"),
        (entry(BETWEEN, column="amount", strict_min="yes", min_value=1), "strict_min is 'yes', expected true or false"),
        (entry(BETWEEN, column="country", min_value=1), "'country' holds texts, and this can be asked of numbers or times"),
        (entry(BETWEEN, column="event_time", min_value=1), "min_value is 1, expected a date"),
        (entry(BETWEEN, column="amount", max_value=1, mostly=0.9), "mostly is about a whole file"),
        (entry(BETWEEN, column="amount", max_value={"$PARAMETER": "asof"}), "no parameter 'asof' here; did you mean as_of"),
        (entry(BETWEEN, column="amount", max_value={"$PARAMETER": "as_of"}), "as_of is a time, expected a number"),
        (entry(BETWEEN, column="amount", max_value={"$PARAMETER": "rows_low"}), "no parameter 'rows_low' here"),
        (entry(BETWEEN, column="amount", max_value={"PARAMETER": "as_of"}), "may be {\\$PARAMETER: name}"),
        (
            entry(BETWEEN, column="amount", max_value=1, row_condition="amuont > 1"),
            "row_condition: there is no column 'amuont'",
        ),
        (entry(BETWEEN, column="amount", max_value=1, row_condition="amount >"), "expected comparisons of columns"),
        (entry(BETWEEN, column="amount", max_value=1, row_condition="amount.isnull()"), "expected comparisons of columns"),
        (
            entry(BETWEEN, column="amount", max_value=1, condition_parser="spark"),
            "condition_parser is 'spark', expected pandas",
        ),
        (entry("expect_column_values_to_be_in_set", column="country", value_set=[False, "DE"]), "False: .* in quotes"),
        (entry("expect_column_values_to_be_in_set", column="country", value_set="DE"), "expected a list of values"),
        (entry("expect_column_values_to_be_in_set", column="country", value_set=[]), "expected a list of values"),
        (entry("expect_column_values_to_match_regex", column="country", regex="("), "expected a regular expression"),
        (entry("expect_column_values_to_match_regex", column="amount", regex="1"), "holds numbers, .* texts only"),
        (entry("expect_column_pair_values_to_be_equal", column_A="amount", column_B="country"), "cannot be compared"),
        (
            entry("expect_column_pair_values_to_be_equal", column_A="channel", column_B="country", ignore_row_if="never"),
            "expected one of both_values_are_missing",
        ),
        (entry("expect_compound_columns_to_be_unique", column_list=["amount"]), "expected a list of two columns or more"),
        ({"type": BETWEEN, "kwargs": {"column": "amount", "max_value": 1}, "reason": "it must"}, "'severity' is missing"),
        (entry(BETWEEN, column="amount", max_value=1) | {"severity": "fatal"}, "severity is 'fatal', expected critical or"),
        (entry(BETWEEN, column="amount", max_value=1) | {"reason": " "}, "reason is empty"),
        (entry(BETWEEN, column="amount", max_value=1) | {"kwarg": {}}, "'kwarg' is not known; did you mean kwargs"),
        (entry(BETWEEN) | {"kwargs": ["amount"]}, "kwargs is list, expected names with values"),
        ("amount", "found str, expected the keys type"),
    ],
)
def test_an_entry_that_cannot_be_honoured_is_refused_on_load(tmp_path: Path, asked: Any, message: str) -> None:
    good = entry("expect_column_values_to_not_be_null", column="amount")
    with pytest.raises(ConfigError, match=f"suite.yaml, rows, entry 2.*: .*{message}"):
        _load(tmp_path, {"rows": [good, asked]})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (entry("expect_column_mean_to_be_between", column="country", min_value=1), "holds texts, .* numbers only"),
        (entry("expect_table_row_count_to_be_between", max_value="many"), "max_value is 'many', expected a number"),
        (
            entry("expect_table_row_count_to_be_between", max_value={"$PARAMETER": "rows_high"}, row_condition="amount > 1"),
            "rows_high is for expect_table_row_count_to_be_between only, without row_condition",
        ),
        (entry(BETWEEN, column="amount", max_value={"$PARAMETER": "rows_high"}), "is for expect_table_row_count"),
        (entry("expect_column_values_to_not_be_null", column="amount", mostly=90), "mostly is 90, expected a share"),
        (
            entry("expect_column_quantile_values_to_be_between", column="amount", quantile_ranges={"quantiles": [0.5]}),
            "a range for each quantile",
        ),
    ],
)
def test_an_entry_on_the_whole_file_is_checked_too(tmp_path: Path, asked: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"suite.yaml, file, entry 1 .*: .*{message}"):
        _load(tmp_path, {"file": [asked]})


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ({"row": []}, "'row' is not known; did you mean rows"),
        ({"rows": {"type": BETWEEN}}, "'rows' is dict, expected a list"),
        ([], "expected the lists 'file' and 'rows', found list"),
    ],
)
def test_a_suite_of_another_shape_is_refused(tmp_path: Path, suite: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, suite)


def test_a_suite_that_is_not_there_or_is_no_yaml_is_named(tmp_path: Path) -> None:
    told = small_told()
    told["events"]["suite"] = "expectations/paymants.yaml"
    with pytest.raises(ConfigError, match=r"expectations/paymants.yaml: there is no file"):
        load(write(tmp_path, told))
    broken = tmp_path / "broken.yaml"
    broken.write_text("rows: [")
    told["events"]["suite"] = str(broken)
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(write(tmp_path, told))


def test_all_problems_of_all_suites_are_told_at_once(tmp_path: Path) -> None:
    told = small_told()
    wrong = [entry("expect_nothing"), entry(BETWEEN, column="no", max_value=1)]
    told["events"]["suite"] = str(suite_file(tmp_path, {"rows": wrong}))
    labels = tmp_path / "labels"
    labels.mkdir()
    told["labels"]["suite"] = str(suite_file(labels, {"file": [entry("expect_column_mean_to_be_between", column="amount")]}))
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, told))
    assert [line.split(" (")[0].rsplit("/")[-1] for line in str(caught.value).splitlines()[1:]] == [
        "suite.yaml, rows, entry 1",
        "suite.yaml, rows, entry 2",
        "suite.yaml, file, entry 1",
    ]


def test_rows_of_a_training_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a training set is one row of figures: move the entry to 'file'"):
        _load(tmp_path, {"rows": [entry(BETWEEN, column="label_rate_train", max_value=1)]}, "training")


def test_a_date_is_the_instant_at_which_it_begins(tmp_path: Path) -> None:
    asked = entry(BETWEEN, column="event_time", min_value=dt.date(2025, 1, 1))
    (read,) = events_suite(_load(tmp_path, {"rows": [asked]})).rows
    assert read.kwargs["min_value"] == dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


def test_a_suite_that_changes_is_read_again(tmp_path: Path) -> None:
    config = _load(tmp_path, {"rows": []})
    assert events_suite(config).rows == ()
    suite_file(tmp_path, {"rows": [entry("expect_column_values_to_not_be_null", column="amount")]})
    assert len(events_suite(config).rows) == 1


def test_loading_a_deployment_does_not_import_great_expectations() -> None:
    code = "import sys; from ml.config import load; load('config/demo.yaml'); sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
