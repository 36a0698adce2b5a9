"""Runs Great Expectations suites on frames and converts failures: the column, the expectation, the observed value."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import PROJECT
from ml.config.expectations import COLUMNS, CONDITION, PARSER
from ml.config.suites import Entry
from ml.errors import Refused

ROW = "__row"
SAMPLE = 10_000


class CheckBroken(Refused, RuntimeError):
    """An expectation could not be evaluated: the suite is faulty, which says nothing about the data."""


@dataclass(frozen=True)
class Failure:
    """An expectation that did not hold. `rows` are positions in the frame; empty when it concerns the whole frame."""

    column: str
    expectation: str
    expected: str
    observed: str
    critical: bool
    reason: str
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    values: tuple[Any, ...] = ()

    @property
    def summary(self) -> str:
        """The failure in one line."""
        return f"{self.column}: {self.expectation} ({self.expected}), observed {self.observed}; {self.reason}"


@dataclass(frozen=True)
class Result:
    """What an expectation came to: what was observed, in words, and its failure; None if it holds."""

    entry: Entry
    observed: str
    failure: Failure | None = None


def digest(path: str) -> str:
    """SHA-256 of a suite file; its results on equal rows depend on nothing else."""
    return hashlib.sha256((PROJECT / path).read_bytes()).hexdigest()


@cache
def _context() -> Any:
    """A context of Great Expectations without analytics and progress bars."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def failures(results: list[Result]) -> list[Failure]:
    """What failed, in the same order."""
    return [result.failure for result in results if result.failure is not None]


def evaluate(entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[Result]:
    """Validate a frame as a whole; a result for each entry.

    Args:
        entries: one of the lists of a `Suite`.
        frame: the data; its index is ignored.
        parameters: values for `$PARAMETER`.

    Raises:
        CheckBroken: an expectation raised an exception.
    """
    return _evaluate(entries, frame, parameters, "SUMMARY")


def evaluate_rows(entries: tuple[Entry, ...], table: pa.Table, parameters: dict[str, Any]) -> list[Result]:
    """Validate rows; a result for each entry, naming every failing row.

    Args:
        entries: one of the lists of a `Suite`.
        table: the rows, shape (n_rows, n_columns).
        parameters: values for `$PARAMETER`.

    Raises:
        CheckBroken: an expectation raised an exception.
    """
    results_by_entry: dict[int, Result] = {}
    by_column: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        if entry.by_value:
            by_column.setdefault(entry.columns[0], []).append(number)
    for column, numbers in by_column.items():
        values, codes = _distinct(table[column])
        chosen = tuple(entries[number] for number in numbers)
        results = _evaluate_rows(chosen, pd.DataFrame({column: values.to_pandas()}), parameters)
        results_by_entry |= zip(numbers, [_expanded(result, codes) for result in results], strict=True)
    rest = [number for number in range(len(entries)) if number not in results_by_entry]
    if rest:
        chosen = tuple(entries[number] for number in rest)
        needed = set().union(*(entry.used_columns for entry in chosen))
        frame = table.select([name for name in table.column_names if name in needed]).to_pandas()
        results = _evaluate_rows(chosen, frame, parameters)
        results_by_entry |= zip(rest, results, strict=True)
    return [results_by_entry[number] for number in range(len(entries))]


def _distinct(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Dictionary of a column's values and each row's code in it; a column of nearly unique values is its own dictionary."""
    sample = column.slice(0, SAMPLE)
    if 2 * pc.count_distinct(sample, mode="all").as_py() > len(sample):
        return column.combine_chunks(), np.arange(len(column))
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    return encoded.dictionary, encoded.indices.to_numpy()


def _expanded(result: Result, codes: np.ndarray) -> Result:
    """The result of distinct values as that of all rows that have them."""
    if result.failure is None:
        return replace(result, observed=_all(len(codes)))
    failure = _expand(result.failure, codes)
    return replace(result, observed=failure.observed, failure=failure)


def _all(count: int) -> str:
    return f"all of {count} values"


def _expand(failure: Failure, codes: np.ndarray) -> Failure:
    """Expand a failure of distinct values to all rows that have them."""
    value = dict(zip(failure.rows.tolist(), failure.values, strict=True))
    failing = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
    failing[failure.rows] = True
    rows = np.flatnonzero(failing[codes])
    values = tuple(value[code] for code in codes[rows].tolist())
    return replace(failure, rows=rows, values=values, observed=_share(len(rows), len(codes), values))


def _share(count: int, total: int, values: tuple[Any, ...]) -> str:
    sample = ", ".join(list(dict.fromkeys(map(str, values[:20])))[:5])
    return f"{count} of {total} values ({100 * count / max(total, 1):.3g} %), such as {sample}"


def _evaluate_rows(entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[Result]:
    complete = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": [ROW],
        "return_unexpected_index_query": False,
    }
    results = _evaluate(entries, frame.assign(**{ROW: np.arange(len(frame))}), parameters, complete)
    for result in results:
        if result.failure is not None and not len(result.failure.rows):
            raise CheckBroken(f"{result.entry.place} failed and named no row, observed {result.observed}; move it to 'file'")
    return results


def _evaluate(
    entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any], result_format: str | dict[str, Any]
) -> list[Result]:
    results_by_entry = {number: Result(entry, "no row meets the condition") for number, entry in enumerate(entries)}
    by_condition: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        by_condition.setdefault(entry.kwargs.get(CONDITION, ""), []).append(number)
    for condition, numbers in by_condition.items():
        # For pairs of columns with a condition, Great Expectations returns wrong row indices, so we filter the rows ourselves.
        selected = frame.query(condition) if condition else frame
        evaluated = [number for number in numbers if len(selected) or not entries[number].columns]
        results = _validate(tuple(entries[number] for number in evaluated), selected, parameters, result_format)
        results_by_entry |= dict(zip(evaluated, results, strict=True))
    return [results_by_entry[number] for number in range(len(entries))]


def _validate(
    entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any], result_format: str | dict[str, Any]
) -> list[Result]:
    if not entries:
        return []
    context = _context()
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.validator.validator import Validator

    # A batch definition of a data source would hash the frame twice, which costs more than the checks.
    validator = Validator(PandasExecutionEngine(batch_data_dict={"frame": frame}), data_context=context)
    configurations = [
        ExpectationConfiguration(
            type=entry.type,
            kwargs={name: value for name, value in entry.kwargs.items() if name not in (CONDITION, PARSER)},
            severity="critical" if entry.critical else "warning",
            meta={"entry": number},
        )
        for number, entry in enumerate(entries)
    ]
    try:
        ready = validator.process_expectations_for_validation(configurations, parameters)
        results = validator.graph_validate(ready, runtime_configuration={"result_format": result_format})
    except Exception as error:
        if len(entries) == 1:
            raise CheckBroken(f"{entries[0].place} cannot be evaluated: {error}") from error
        return [result for entry in entries for result in _validate((entry,), frame, parameters, result_format)]
    by_entry = {r.expectation_config.meta["entry"]: r for r in results}
    return [_result(entry, by_entry[number]) for number, entry in enumerate(entries)]


def _result(entry: Entry, result: Any) -> Result:
    if not result.success:
        failure = _failure(entry, result)
        return Result(entry, failure.observed, failure)
    details = result.result
    count = details.get("element_count")
    return Result(entry, str(details.get("observed_value", "")) if count is None else _all(count))


def _failure(entry: Entry, result: Any) -> Failure:
    info = result.exception_info or {}
    broken = [i for i in ([info] if "raised_exception" in info else info.values()) if i.get("raised_exception")]
    if broken:
        raise CheckBroken(f"{entry.place} cannot be evaluated: {broken[0]['exception_message']}")
    kwargs = result.expectation_config.kwargs
    bounds = {k: v for k, v in kwargs.items() if k not in (*COLUMNS, "batch_id") and v is not None}
    bounds |= {CONDITION: entry.kwargs[CONDITION]} if CONDITION in entry.kwargs else {}
    details = result.result
    index = details.get("unexpected_index_list") or []
    if "unexpected_count" in details and "element_count" in details:
        observed = _share(details["unexpected_count"], details["element_count"], tuple(details["partial_unexpected_list"]))
    else:
        observed = str(details.get("observed_value", "not there"))
    return Failure(
        column=", ".join(entry.columns) or "the file",
        expectation=entry.type,
        expected=", ".join(f"{k} {v}" for k, v in bounds.items()) or "holds",
        observed=observed,
        critical=entry.critical,
        reason=entry.reason,
        rows=np.array([int(i[ROW]) for i in index], dtype=np.int64),
        values=tuple(_value(i, entry.columns) for i in index),
    )


def _value(row: dict[str, Any], columns: tuple[str, ...]) -> Any:
    """The values of a failing row in the columns of the expectation; a single value for one column."""
    values = tuple(row.get(column) for column in columns)
    return values[0] if len(values) == 1 else values
