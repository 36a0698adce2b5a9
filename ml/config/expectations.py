"""The expectations of Great Expectations that a suite may use, with their lists, arguments and kinds of columns.

Every command reads a deployment file, and importing Great Expectations takes seconds; so the expectations are listed here, and
a test compares the list with the installed library. Expectations that are not listed do not run on a table in memory, or their
result depends on the order of rows.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["number", "time", "text"]

NUMBER, TIME, TEXT = ("number",), ("time",), ("text",)
ANY = ("number", "time", "text")
COLUMNS = ("column", "column_A", "column_B", "column_list")
CONDITION, PARSER = "row_condition", "condition_parser"
MOSTLY = "mostly"
BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")


@dataclass(frozen=True)
class Expectation:
    """The lists, arguments and columns that an expectation supports.

    Attributes:
        per_row: it reports each failing row, so it is allowed under `rows`; every expectation is allowed under `file`.
        required, optional: names of its arguments.
        kinds: kinds of columns that it applies to.
        by_value: its result for a row depends on the row's value alone.
    """

    per_row: bool
    required: tuple[str, ...] = ("column",)
    optional: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ANY
    by_value: bool = False

    @property
    def arguments(self) -> list[str]:
        """All arguments that it accepts."""
        return [*self.required, *self.optional, *([MOSTLY] if self.per_row else []), CONDITION, PARSER]


def _value(*required: str, optional: tuple[str, ...] = (), kinds: tuple[str, ...] = ANY) -> Expectation:
    return Expectation(True, ("column", *required), optional, kinds, by_value=True)


def _pair(*required: str, optional: tuple[str, ...] = ()) -> Expectation:
    return Expectation(True, ("column_A", "column_B", *required), (*optional, "ignore_row_if"))


def _several(*required: str, kinds: tuple[str, ...] = ANY) -> Expectation:
    return Expectation(True, ("column_list", *required), ("ignore_row_if",), kinds)


def _aggregate(*required: str, optional: tuple[str, ...] = (), kinds: tuple[str, ...] = ANY) -> Expectation:
    return Expectation(False, ("column", *required), optional, kinds)


EXPECTATIONS = {
    "expect_column_values_to_not_be_null": _value(),
    "expect_column_values_to_be_null": _value(),
    "expect_column_values_to_be_between": _value(optional=BOUNDS, kinds=NUMBER + TIME),
    "expect_column_values_to_be_in_set": _value("value_set", kinds=NUMBER + TEXT),
    "expect_column_values_to_not_be_in_set": _value("value_set", kinds=NUMBER + TEXT),
    "expect_column_values_to_match_regex": _value("regex", kinds=TEXT),
    "expect_column_values_to_not_match_regex": _value("regex", kinds=TEXT),
    "expect_column_values_to_match_regex_list": _value("regex_list", optional=("match_on",), kinds=TEXT),
    "expect_column_values_to_not_match_regex_list": _value("regex_list", kinds=TEXT),
    "expect_column_value_lengths_to_be_between": _value(optional=BOUNDS, kinds=TEXT),
    "expect_column_value_lengths_to_equal": _value("value", kinds=TEXT),
    "expect_column_values_to_match_strftime_format": _value("strftime_format", kinds=TEXT),
    "expect_column_values_to_be_dateutil_parseable": _value(kinds=TEXT),
    "expect_column_values_to_be_json_parseable": _value(kinds=TEXT),
    "expect_column_values_to_be_unique": Expectation(True),
    "expect_column_pair_values_to_be_equal": _pair(),
    "expect_column_pair_values_a_to_be_greater_than_b": _pair(optional=("or_equal",)),
    "expect_column_pair_values_to_be_in_set": _pair("value_pairs_set"),
    "expect_compound_columns_to_be_unique": _several(),
    "expect_select_column_values_to_be_unique_within_record": _several(),
    "expect_multicolumn_values_to_be_equal": _several(),
    "expect_multicolumn_sum_to_equal": _several("sum_total", kinds=NUMBER),
    "expect_column_min_to_be_between": _aggregate(optional=BOUNDS, kinds=NUMBER + TIME),
    "expect_column_max_to_be_between": _aggregate(optional=BOUNDS, kinds=NUMBER + TIME),
    "expect_column_mean_to_be_between": _aggregate(optional=BOUNDS, kinds=NUMBER),
    "expect_column_median_to_be_between": _aggregate(optional=BOUNDS, kinds=NUMBER),
    "expect_column_stdev_to_be_between": _aggregate(optional=BOUNDS, kinds=NUMBER),
    "expect_column_sum_to_be_between": _aggregate(optional=BOUNDS, kinds=NUMBER),
    "expect_column_quantile_values_to_be_between": _aggregate("quantile_ranges", kinds=NUMBER),
    "expect_column_unique_value_count_to_be_between": _aggregate(optional=BOUNDS),
    "expect_column_proportion_of_unique_values_to_be_between": _aggregate(optional=BOUNDS),
    "expect_column_proportion_of_non_null_values_to_be_between": _aggregate(optional=BOUNDS),
    "expect_column_distinct_values_to_be_in_set": _aggregate("value_set", kinds=NUMBER + TEXT),
    "expect_column_distinct_values_to_contain_set": _aggregate("value_set", kinds=NUMBER + TEXT),
    "expect_column_distinct_values_to_equal_set": _aggregate("value_set", kinds=NUMBER + TEXT),
    "expect_column_most_common_value_to_be_in_set": _aggregate("value_set", optional=("ties_okay",), kinds=NUMBER + TEXT),
    "expect_table_row_count_to_be_between": Expectation(False, (), ("min_value", "max_value")),
    "expect_table_row_count_to_equal": Expectation(False, ("value",)),
}
# Expectations with these words in their name have numeric bounds, whatever the kind of the column.
NUMERIC_RESULTS = ("count", "length", "proportion")
IGNORE_ROW_IF = {
    "column_A": ("both_values_are_missing", "either_value_is_missing", "neither"),
    "column_list": ("all_values_are_missing", "any_value_is_missing", "never"),
}


def suggestion(name: object, choices: Iterable[str]) -> str:
    """The end of an error message: the choices closest to a misspelt name, or else all choices."""
    available = list(choices)
    matches = difflib.get_close_matches(str(name), available, n=3, cutoff=0.6)
    if matches:
        return "did you mean " + " or ".join(matches) + "?"
    return f"there is {', '.join(available)}" if available else "there is none"


def wrong_values(kind_of: str, name: str, arguments: dict[str, Any], kind: Kind | None) -> list[str]:
    """Problems of the values of an expectation's arguments; `kind` is that of its columns."""
    bounded = "number" if kind is None or any(word in name for word in NUMERIC_RESULTS) else kind
    wrong = []
    for argument, value in arguments.items():
        if argument in ("min_value", "max_value"):
            problem = None if value is None else _check_kind(value, bounded)
        elif argument in ("value_set", "value_pairs_set"):
            problem = _set(value, kind, pairs=argument == "value_pairs_set")
        elif argument == "ignore_row_if":
            allowed = IGNORE_ROW_IF[kind_of]
            problem = None if value in allowed else f"expected one of {', '.join(allowed)}"
        else:
            problem = SHAPES[argument](value) if argument in SHAPES else None
        if problem:
            wrong.append(f"{argument} is {value!r}, {problem}")
    if "max_value" in EXPECTATIONS[name].optional:
        bounds = [arguments[bound] for bound in ("min_value", "max_value") if arguments.get(bound) is not None]
        if not bounds:
            wrong.append("it has neither min_value nor max_value, so nothing could fail")
        elif not wrong and len(bounds) == 2 and not any(isinstance(bound, dict) for bound in bounds) and bounds[0] > bounds[1]:
            wrong.append(f"min_value {bounds[0]} is more than max_value {bounds[1]}")
    return wrong


def _check_kind(value: object, kind: str) -> str | None:
    if isinstance(value, dict):
        return None
    if kind == "time":
        fits = isinstance(value, dt.datetime)
        return None if fits else "expected a date, a time in UTC, or {$PARAMETER: as_of}"
    if kind == "text":
        return None if isinstance(value, str) else "expected a text: put it in quotes"
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    return None if fits else "expected a number"


def _set(value: object, kind: Kind | None, pairs: bool) -> str | None:
    if not isinstance(value, list) or not value:
        return "expected a list of values, such as [a, b]"
    if pairs:
        fits = all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value)
        return None if fits else "expected a list of pairs, such as [[a, b], [c, d]]"
    return next(
        (f"of which {v!r}: {problem}" for v in value if v is not None and (problem := _check_kind(v, kind or "text"))), None
    )


def _regex(value: object) -> str | None:
    try:
        re.compile(str(value) if isinstance(value, str) else "(")
    except re.error as error:
        return f"expected a regular expression ({error})" if isinstance(value, str) else "expected a text"
    return None


def _regexes(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return "expected a list of regular expressions"
    return next((problem for problem in map(_regex, value) if problem), None)


def _quantiles(value: object) -> str | None:
    argument = value if isinstance(value, dict) else {}
    quantiles, ranges = argument.get("quantiles"), argument.get("value_ranges")
    fits = (
        set(argument) == {"quantiles", "value_ranges"}
        and isinstance(quantiles, list)
        and isinstance(ranges, list)
        and len(quantiles) == len(ranges) > 0
        and all(isinstance(bounds, list) and len(bounds) == 2 for bounds in ranges)
    )
    return None if fits else "expected {quantiles: [0.5], value_ranges: [[low, high]]}, a range for each quantile"


def _one_of(*allowed: object) -> Callable[[object], str | None]:
    problem = f"expected {' or '.join(str(a).lower() if isinstance(a, bool) else str(a) for a in allowed)}"
    return lambda value: None if any(value is a or (isinstance(a, str) and value == a) for a in allowed) else problem


def _count(value: object) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else "expected a whole number"


def _share(value: object) -> str | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
    return None if fits else "expected a share, more than 0 and at most 1"


SHAPES: dict[str, Callable[[object], str | None]] = {
    "strict_min": _one_of(True, False),
    "strict_max": _one_of(True, False),
    "or_equal": _one_of(True, False),
    "ties_okay": _one_of(True, False),
    "match_on": _one_of("any", "all"),
    "regex": _regex,
    "regex_list": _regexes,
    "strftime_format": lambda value: (
        None if isinstance(value, str) and "%" in value else "expected a format such as '%Y-%m-%d'"
    ),
    "value": _count,
    "sum_total": lambda value: _check_kind(value, "number"),
    "quantile_ranges": _quantiles,
    MOSTLY: _share,
    PARSER: _one_of("pandas"),
}
