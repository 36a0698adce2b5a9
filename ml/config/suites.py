"""Expectation suites for files, their rows, and training sets; a suite is validated completely when it is read.

A suite is a YAML file with the lists `file` (about a file as a whole; a critical failure stops it) and `rows` (about single
rows; a critical failure quarantines the row, a warning is reported). An entry is an expectation of Great Expectations with its
name and arguments (`type`, `kwargs`), on columns by the deployment's names, with a `severity` and a `reason`.
`{$PARAMETER: name}` is replaced by a value computed when the suite runs, for example `as_of`. A row count between `rows_low`
and `rows_high` applies to each day of events, see `ml.quality.volume`.
"""

from __future__ import annotations

import ast
import datetime as dt
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from ml.config.expectations import CONDITION, EXPECTATIONS, MOSTLY, Expectation, Kind, suggestion, wrong_values
from ml.errors import Refused

if TYPE_CHECKING:
    from ml.config.deployment import Config

List = Literal["file", "rows"]
Severity = Literal["critical", "warning"]

PARAMETER = "$PARAMETER"
VOLUME = ("rows_low", "rows_high")
# The figures that `validate_training_set` computes, and the limits from the deployment.
FIGURES = (
    *("label_rate_train", "label_rate_holdout_over_train", "positives_holdout", "duplicate_events"),
    *("largest_single_feature_auc", "rows_known_too_late", "largest_null_share"),
    *("unanswered_share", "late_answers_share"),
)
LIMITS = ("rate_low", "rate_high", "ratio_low", "ratio_high", "positives_low", "late_high")
TIMES: dict[str, Kind] = {"as_of": "time", "earliest": "time"}
# Syntax allowed in a condition on rows: comparisons of columns with values.
COMPARISONS = (
    *(ast.Expression, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator),
    *(ast.Compare, ast.cmpop, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
)


class SuiteError(Refused, ValueError):
    """A suite is invalid; the message names each invalid entry, the problem and the valid choices."""


@dataclass(frozen=True)
class Entry:
    """One expectation; `place` is its position in the file, for messages."""

    place: str
    type: str
    kwargs: dict[str, Any]
    critical: bool
    reason: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in its arguments; none for an expectation on the table."""
        return _columns(self.kwargs)

    @property
    def used_columns(self) -> set[str]:
        """All columns that it reads, with those of its condition."""
        return {*self.columns, *_named(self.kwargs.get(CONDITION, "0"))}

    @property
    def by_value(self) -> bool:
        """Whether it can be evaluated on the distinct values of its column."""
        return EXPECTATIONS[self.type].by_value and not self.kwargs.keys() & {CONDITION, MOSTLY}

    @property
    def is_daily(self) -> bool:
        """Whether it bounds the rows of each day."""
        return any(isinstance(value, dict) and value.get(PARAMETER) in VOLUME for value in self.kwargs.values())


@dataclass(frozen=True)
class Suite:
    """The two lists of a suite file."""

    name: str
    file: tuple[Entry, ...]
    rows: tuple[Entry, ...]


@dataclass(frozen=True)
class Scope:
    """The columns and, by list, the parameters that entries of a suite may use, each with its kind."""

    columns: tuple[tuple[str, Kind], ...]
    file: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[str, Kind], ...] | None = ()


def events_suite(config: Config) -> Suite:
    """The suite for files of events.

    Raises:
        SuiteError: the suite is invalid.
    """
    label = {} if config.labels.column is None else {"label": config.labels.column}
    columns = {name: _kind(config, name) for name in (*config.events.columns, *label)}
    counts: dict[str, Kind] = dict.fromkeys(VOLUME, "number")
    return _suite(config.events.suite, Scope(_items(columns), _items(TIMES | counts), _items(TIMES)))


def labels_suite(config: Config) -> Suite | None:
    """The suite for files of labels, if there are such files; errors as for `events_suite`."""
    if config.labels.suite is None:
        return None
    columns: dict[str, Kind] = dict.fromkeys((*config.labels.columns, "source"), "text")
    columns |= {"label": "number", "reported_at": "time"}
    return _suite(config.labels.suite, Scope(_items(columns), _items(TIMES), _items(TIMES)))


def training_suite(config: Config) -> Suite:
    """The suite for the figures of a training set; errors as for `events_suite`."""
    figures: dict[str, Kind] = dict.fromkeys(FIGURES, "number")
    limits: dict[str, Kind] = dict.fromkeys(LIMITS, "number")
    return _suite(config.training.suite, Scope(_items(figures), _items(limits), None))


def _kind(config: Config, column: str) -> Kind:
    if column == "event_time":
        return "time"
    return "number" if column == "label" or column in config.measures else "text"


def _items(kinds: dict[str, Kind]) -> tuple[tuple[str, Kind], ...]:
    return tuple(kinds.items())


def _suite(path: str, scope: Scope) -> Suite:
    file = Path(os.path.normpath(Path(__file__).parents[2] / path))
    if not file.is_file():
        raise SuiteError(f"{path}: there is no file {file}; a suite is a YAML file with the lists 'file' and 'rows'")
    return _read(path, file, file.stat().st_mtime_ns, scope)


@cache
def _read(path: str, file: Path, _modified: int, scope: Scope) -> Suite:
    try:
        raw = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise SuiteError(f"{path}: expected the lists 'file' and 'rows', found {type(raw).__name__}")
    wrong = [f"{path}: {key!r} is not known; {suggestion(key, get_args(List))}" for key in raw if key not in get_args(List)]
    lists: dict[str, list[Entry]] = {"file": [], "rows": []}
    for part, entries in lists.items():
        listed = raw.get(part) or []
        if not isinstance(listed, list):
            wrong.append(f"{path}: {part!r} is {type(listed).__name__}, expected a list of entries")
            continue
        for number, entry in enumerate(listed, start=1):
            place = f"{path}, {part}, entry {number}"
            problems = _wrong(entry, part, scope)
            wrong += [f"{place}{_name(entry)}: {problem}" for problem in problems]
            if not problems:
                entries.append(_entry(f"{place}{_name(entry)}", entry))
    if wrong:
        raise SuiteError("\n  ".join(wrong))
    return Suite(Path(path).stem, tuple(lists["file"]), tuple(lists["rows"]))


def _name(entry: Any) -> str:
    type_ = entry.get("type") if isinstance(entry, dict) else None
    return f" ({type_})" if isinstance(type_, str) else ""


def _entry(place: str, raw: dict[str, Any]) -> Entry:
    kwargs = {name: _instant(value) for name, value in (raw.get("kwargs") or {}).items()}
    return Entry(place, raw["type"], kwargs, raw["severity"] == "critical", raw["reason"])


def _instant(value: Any) -> Any:
    """A date or time of YAML as an instant in UTC; a date is its midnight. Other values are returned unchanged."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return value


def _wrong(entry: Any, part: str, scope: Scope) -> list[str]:
    """Problems of an entry, each with the valid choices."""
    if not isinstance(entry, dict):
        return [f"found {type(entry).__name__}, expected the keys type, kwargs, severity and reason"]
    keys = ("type", "kwargs", "severity", "reason")
    wrong = [f"{key!r} is not known; {suggestion(key, keys)}" for key in entry if key not in keys]
    wrong += [f"{key!r} is missing" for key in keys if key != "kwargs" and key not in entry]
    if "severity" in entry and entry["severity"] not in get_args(Severity):
        wrong.append(f"severity is {entry['severity']!r}, expected critical or warning")
    if "reason" in entry and (not isinstance(entry["reason"], str) or not entry["reason"].strip()):
        wrong.append("reason is empty; it is what the person on call reads")
    elif str(entry.get("reason", "")).startswith("TODO"):
        wrong.append("a person has yet to write the reason, in place of TODO")
    if "type" not in entry:
        return wrong
    expectation = EXPECTATIONS.get(entry["type"]) if isinstance(entry["type"], str) else None
    if expectation is None:
        return [*wrong, f"there is no expectation {entry['type']!r}; {suggestion(entry['type'], EXPECTATIONS)}"]
    if part == "rows" and scope.rows is None:
        return [*wrong, "a training set is one row of figures: move the entry to 'file'"]
    if part == "rows" and not expectation.per_row:
        return [
            *wrong,
            "it answers about a whole file and names no rows, so here it would have no effect: move it to 'file', where a "
            "critical failure stops the file",
        ]
    kwargs = entry.get("kwargs") or {}
    if not isinstance(kwargs, dict):
        return [*wrong, f"kwargs is {type(kwargs).__name__}, expected names with values"]
    return wrong + _wrong_arguments(entry["type"], expectation, {k: _instant(v) for k, v in kwargs.items()}, part, scope)


def _wrong_arguments(name: str, expectation: Expectation, kwargs: dict[str, Any], part: str, scope: Scope) -> list[str]:
    columns = dict(scope.columns)
    wrong = [
        f"kwargs.{k} is not known; {suggestion(k, expectation.arguments)}" for k in kwargs if k not in expectation.arguments
    ]
    wrong += [f"kwargs.{k} is missing" for k in expectation.required if k not in kwargs]
    if wrong:
        return wrong
    if part == "rows" and MOSTLY in kwargs:
        wrong.append("mostly is about a whole file, and a row is judged by itself: leave it out, or move the entry to 'file'")
    if "column_list" in kwargs and not (isinstance(kwargs["column_list"], list) and len(kwargs["column_list"]) > 1):
        return [*wrong, f"column_list is {kwargs['column_list']!r}, expected a list of two columns or more"]
    names = _columns(kwargs)
    wrong += [f"there is no column {column!r}; {suggestion(column, columns)}" for column in names if column not in columns]
    kinds = {columns[column] for column in names if column in columns}
    wrong += [
        f"column {column!r} holds {columns[column]}s, and this can be asked of "
        f"{' or '.join(f'{kind}s' for kind in expectation.kinds)} only"
        for column in names
        if column in columns and columns[column] not in expectation.kinds
    ]
    if wrong:
        return wrong
    if len(kinds) > 1:
        return [
            f"columns {', '.join(f'{column!r} ({columns[column]})' for column in names)} cannot be compared with each other"
        ]
    kind = next(iter(kinds), None)
    wrong += _wrong_parameters(name, kwargs, dict((scope.file if part == "file" else scope.rows) or ()), kind)
    wrong += _wrong_condition(kwargs, columns)
    return wrong or wrong_values(expectation.required[0] if expectation.required else "", name, kwargs, kind)


def _columns(kwargs: dict[str, Any]) -> tuple[str, ...]:
    columns = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    return tuple(str(column) for column in (*columns, *kwargs.get("column_list", [])))


def _wrong_parameters(name: str, kwargs: dict[str, Any], parameters: dict[str, Kind], kind: Kind | None) -> list[str]:
    wrong = []
    for argument, value in kwargs.items():
        if not isinstance(value, dict) or argument == "quantile_ranges":
            continue
        parameter = value.get(PARAMETER)
        if set(value) != {PARAMETER} or argument not in ("min_value", "max_value"):
            wrong.append(f"{argument} is {value!r}; only min_value and max_value may be {{{PARAMETER}: name}}")
        elif parameter not in parameters:
            wrong.append(f"{argument}: there is no parameter {parameter!r} here; {suggestion(parameter, parameters)}")
        elif parameter in VOLUME and (name != "expect_table_row_count_to_be_between" or CONDITION in kwargs):
            wrong.append(f"{argument}: {parameter} is for expect_table_row_count_to_be_between only, without {CONDITION}")
        elif parameter in TIMES and kind != "time":
            wrong.append(f"{argument}: {parameter} is a time, expected a number")
        elif parameter not in TIMES and kind == "time":
            wrong.append(f"{argument}: {parameter} is a number, expected a time")
    return wrong


def _wrong_condition(kwargs: dict[str, Any], columns: dict[str, Kind]) -> list[str]:
    if CONDITION not in kwargs:
        return []
    condition = kwargs[CONDITION]
    possible = "expected comparisons of columns, such as: channel == 'online' and amount > 100"
    try:
        tree = ast.parse(condition if isinstance(condition, str) else "", mode="eval")
    except SyntaxError:
        return [f"{CONDITION} is {condition!r}, {possible}"]
    if not all(isinstance(node, COMPARISONS) for node in ast.walk(tree)):
        return [f"{CONDITION} is {condition!r}, {possible}"]
    return [f"{CONDITION}: there is no column {c!r}; {suggestion(c, columns)}" for c in _named(condition) if c not in columns]


def _named(condition: str) -> list[str]:
    """Columns used in a condition."""
    return sorted({node.id for node in ast.walk(ast.parse(condition, mode="eval")) if isinstance(node, ast.Name)})
