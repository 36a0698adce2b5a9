"""Suites: what a deployment expects of its files, of their rows, and of a training set; each is checked whole when it is read.

A suite is a YAML file with the lists `file` (about a file as a whole; a critical failure stops it) and `rows` (about single
rows; a critical failure sets the row aside, a warning is reported). An entry is an expectation of Great Expectations by its own
name and arguments (`type`, `kwargs`), on columns by our names, with a `severity` and a `reason`. `{$PARAMETER: name}` takes a
value that is computed where the suite runs, for example `as_of`. A row count between `rows_low` and `rows_high` is asked of
each day of events, see `ml.quality.volume`.
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

from ml.config.expectations import CONDITION, EXPECTATIONS, MOSTLY, Expectation, Kind, closest, wrong_values

if TYPE_CHECKING:
    from ml.config.deployment import Config

List = Literal["file", "rows"]
Severity = Literal["critical", "warning"]

PARAMETER = "$PARAMETER"
VOLUME = ("rows_low", "rows_high")
# What `validate_training_set` measures of a training set, and the limits that follow from the deployment.
FIGURES = (
    *("label_rate_train", "label_rate_holdout_over_train", "positives_holdout", "duplicate_events"),
    *("largest_single_feature_auc", "rows_known_too_late", "largest_null_share"),
    *("unanswered_share", "late_answers_share"),
)
LIMITS = ("rate_low", "rate_high", "ratio_low", "ratio_high", "positives_low", "late_high")
TIMES: dict[str, Kind] = {"as_of": "time", "earliest": "time"}
# What a condition on rows may be made of: comparisons of columns with values.
COMPARISONS = (
    *(ast.Expression, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator),
    *(ast.Compare, ast.cmpop, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
)


class SuiteError(ValueError):
    """A suite asks what cannot be answered; the message names each entry, what is wrong and what is possible."""


@dataclass(frozen=True)
class Entry:
    """One expectation; `place` says where it stands, for messages."""

    place: str
    type: str
    kwargs: dict[str, Any]
    critical: bool
    reason: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is about; none where it is about the table."""
        return _columns(self.kwargs)

    @property
    def needed(self) -> set[str]:
        """All columns that it looks at."""
        return {*self.columns, *_named(self.kwargs.get(CONDITION, "0"))}

    @property
    def by_value(self) -> bool:
        """Whether it has to see each value once only, however often that occurs."""
        return EXPECTATIONS[self.type].by_value and not self.kwargs.keys() & {CONDITION, MOSTLY}

    @property
    def of_days(self) -> bool:
        """Whether it is about the rows of each day."""
        return any(isinstance(value, dict) and value.get(PARAMETER) in VOLUME for value in self.kwargs.values())


@dataclass(frozen=True)
class Suite:
    """The two lists of a suite file."""

    name: str
    file: tuple[Entry, ...]
    rows: tuple[Entry, ...]


@dataclass(frozen=True)
class Scope:
    """What the entries of a suite may name: columns with their kinds, and by list the parameters with theirs."""

    columns: tuple[tuple[str, Kind], ...]
    file: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[str, Kind], ...] | None = ()


def events_suite(config: Config) -> Suite:
    """The suite on events.

    Raises:
        SuiteError: as for all suites, see there.
    """
    label = {} if config.labels.column is None else {"label": config.labels.column}
    columns = {name: _kind(config, name) for name in (*config.events.columns, *label)}
    counts: dict[str, Kind] = dict.fromkeys(VOLUME, "number")
    return _suite(config.events.suite, Scope(_told(columns), _told(TIMES | counts), _told(TIMES)))


def labels_suite(config: Config) -> Suite | None:
    """The suite on files of labels, if they come in files; errors as for all suites."""
    if config.labels.suite is None:
        return None
    columns: dict[str, Kind] = dict.fromkeys((*config.labels.columns, "source"), "text")
    columns |= {"label": "number", "reported_at": "time"}
    return _suite(config.labels.suite, Scope(_told(columns), _told(TIMES), _told(TIMES)))


def training_suite(config: Config) -> Suite:
    """The suite on the figures of a training set; errors as for all suites."""
    figures: dict[str, Kind] = dict.fromkeys(FIGURES, "number")
    limits: dict[str, Kind] = dict.fromkeys(LIMITS, "number")
    return _suite(config.training.suite, Scope(_told(figures), _told(limits), None))


def _kind(config: Config, column: str) -> Kind:
    if column == "event_time":
        return "time"
    return "number" if column == "label" or column in config.measures else "text"


def _told(known: dict[str, Kind]) -> tuple[tuple[str, Kind], ...]:
    return tuple(known.items())


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
    wrong = [f"{path}: {key!r} is not known; {closest(key, get_args(List))}" for key in raw if key not in get_args(List)]
    lists: dict[str, list[Entry]] = {"file": [], "rows": []}
    for part, entries in lists.items():
        told = raw.get(part) or []
        if not isinstance(told, list):
            wrong.append(f"{path}: {part!r} is {type(told).__name__}, expected a list of entries")
            continue
        for number, entry in enumerate(told, start=1):
            place = f"{path}, {part}, entry {number}"
            problems = _wrong(entry, part, scope)
            wrong += [f"{place}{_name(entry)}: {problem}" for problem in problems]
            if not problems:
                entries.append(_entry(f"{place}{_name(entry)}", entry))
    if wrong:
        raise SuiteError("\n  ".join(wrong))
    return Suite(Path(path).stem, tuple(lists["file"]), tuple(lists["rows"]))


def _name(entry: Any) -> str:
    told = entry.get("type") if isinstance(entry, dict) else None
    return f" ({told})" if isinstance(told, str) else ""


def _entry(place: str, told: dict[str, Any]) -> Entry:
    kwargs = {name: _instant(value) for name, value in (told.get("kwargs") or {}).items()}
    return Entry(place, told["type"], kwargs, told["severity"] == "critical", told["reason"])


def _instant(value: Any) -> Any:
    """A date of YAML as the instant at which it begins, which is what columns of times hold."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return value


def _wrong(entry: Any, part: str, scope: Scope) -> list[str]:
    """What is wrong with an entry of a list; each problem says what is possible."""
    if not isinstance(entry, dict):
        return [f"found {type(entry).__name__}, expected the keys type, kwargs, severity and reason"]
    keys = ("type", "kwargs", "severity", "reason")
    wrong = [f"{key!r} is not known; {closest(key, keys)}" for key in entry if key not in keys]
    wrong += [f"{key!r} is missing" for key in keys if key != "kwargs" and key not in entry]
    if "severity" in entry and entry["severity"] not in get_args(Severity):
        wrong.append(f"severity is {entry['severity']!r}, expected critical or warning")
    if "reason" in entry and (not isinstance(entry["reason"], str) or not entry["reason"].strip()):
        wrong.append("reason is empty; it is what the person on call reads")
    elif str(entry.get("reason", "")).startswith("TODO"):
        wrong.append("a person has yet to write the reason, in place of TODO")
    if "type" not in entry:
        return wrong
    known = EXPECTATIONS.get(entry["type"]) if isinstance(entry["type"], str) else None
    if known is None:
        return [*wrong, f"there is no expectation {entry['type']!r}; {closest(entry['type'], EXPECTATIONS)}"]
    if part == "rows" and scope.rows is None:
        return [*wrong, "a training set is one row of figures: move the entry to 'file'"]
    if part == "rows" and not known.rows:
        return [
            *wrong,
            "it answers about a whole file and names no rows, so here it would have no effect: move it to 'file', where a "
            "critical failure stops the file",
        ]
    kwargs = entry.get("kwargs") or {}
    if not isinstance(kwargs, dict):
        return [*wrong, f"kwargs is {type(kwargs).__name__}, expected names with values"]
    return wrong + _wrong_arguments(entry["type"], known, {k: _instant(v) for k, v in kwargs.items()}, part, scope)


def _wrong_arguments(name: str, known: Expectation, kwargs: dict[str, Any], part: str, scope: Scope) -> list[str]:
    columns = dict(scope.columns)
    wrong = [f"kwargs.{k} is not known; {closest(k, known.arguments)}" for k in kwargs if k not in known.arguments]
    wrong += [f"kwargs.{k} is missing" for k in known.needs if k not in kwargs]
    if wrong:
        return wrong
    if part == "rows" and MOSTLY in kwargs:
        wrong.append("mostly is about a whole file, and a row is judged by itself: leave it out, or move the entry to 'file'")
    if "column_list" in kwargs and not (isinstance(kwargs["column_list"], list) and len(kwargs["column_list"]) > 1):
        return [*wrong, f"column_list is {kwargs['column_list']!r}, expected a list of two columns or more"]
    named = _columns(kwargs)
    wrong += [f"there is no column {c!r}; {closest(c, columns)}" for c in named if c not in columns]
    kinds = {columns[c] for c in named if c in columns}
    wrong += [
        f"column {c!r} holds {columns[c]}s, and this can be asked of {' or '.join(f'{kind}s' for kind in known.of)} only"
        for c in named
        if c in columns and columns[c] not in known.of
    ]
    if wrong:
        return wrong
    if len(kinds) > 1:
        return [f"columns {', '.join(f'{c!r} ({columns[c]})' for c in named)} cannot be compared with each other"]
    kind = next(iter(kinds), None)
    wrong += _wrong_parameters(name, kwargs, dict((scope.file if part == "file" else scope.rows) or ()), kind)
    wrong += _wrong_condition(kwargs, columns)
    return wrong or wrong_values(known.needs[0] if known.needs else "", name, kwargs, kind)


def _columns(kwargs: dict[str, Any]) -> tuple[str, ...]:
    named = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    return tuple(str(column) for column in (*named, *kwargs.get("column_list", [])))


def _wrong_parameters(name: str, kwargs: dict[str, Any], known: dict[str, Kind], kind: Kind | None) -> list[str]:
    wrong = []
    for argument, value in kwargs.items():
        if not isinstance(value, dict) or argument == "quantile_ranges":
            continue
        parameter = value.get(PARAMETER)
        if set(value) != {PARAMETER} or argument not in ("min_value", "max_value"):
            wrong.append(f"{argument} is {value!r}; only min_value and max_value may be {{{PARAMETER}: name}}")
        elif parameter not in known:
            wrong.append(f"{argument}: there is no parameter {parameter!r} here; {closest(parameter, known)}")
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
    return [f"{CONDITION}: there is no column {c!r}; {closest(c, columns)}" for c in _named(condition) if c not in columns]


def _named(condition: str) -> list[str]:
    """Columns that a condition names."""
    return sorted({node.id for node in ast.walk(ast.parse(condition, mode="eval")) if isinstance(node, ast.Name)})
