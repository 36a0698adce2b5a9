"""Runs Great Expectations suites on frames and answers in our words: which column, which expectation, what was found."""

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

ROW = "__row"
SAMPLE = 10_000


class CheckBroken(RuntimeError):
    """An expectation could not be evaluated: the check is broken, which says nothing about the data."""


@dataclass(frozen=True)
class Failure:
    """An expectation that did not hold. `rows` are positions in the frame, empty when it speaks about the whole."""

    column: str
    expectation: str
    expected: str
    observed: str
    critical: bool
    reason: str
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    values: tuple[Any, ...] = ()

    @property
    def told(self) -> str:
        """The failure in one line."""
        return f"{self.column}: {self.expectation} ({self.expected}), observed {self.observed}; {self.reason}"


def digest(path: str) -> str:
    """SHA-256 of a suite file: what it answers about equal rows depends on nothing else."""
    return hashlib.sha256((PROJECT / path).read_bytes()).hexdigest()


@cache
def _context() -> Any:
    """Great Expectations as a library that reports nothing and draws nothing."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def run(entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[Failure]:
    """Validate a frame as a whole and return what failed.

    Args:
        entries: one of the lists of a `Suite`.
        frame: the data; its index is ignored.
        parameters: values for `$PARAMETER`.

    Raises:
        CheckBroken: an expectation raised instead of answering.
    """
    return [failure for failure in _answers(entries, frame, parameters, "SUMMARY") if failure is not None]


def run_rows(entries: tuple[Entry, ...], table: pa.Table, parameters: dict[str, Any]) -> list[Failure]:
    """Validate rows and return what failed, naming every failing row, in the order of the entries.

    Args:
        entries: one of the lists of a `Suite`.
        table: the rows, shape (n_rows, n_columns).
        parameters: values for `$PARAMETER`.

    Raises:
        CheckBroken: an expectation raised instead of answering.
    """
    answers: dict[int, Failure | None] = {}
    by_column: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        if entry.by_value:
            by_column.setdefault(entry.columns[0], []).append(number)
    for column, numbers in by_column.items():
        values, codes = _distinct(table[column])
        asked = tuple(entries[number] for number in numbers)
        found = _row_answers(asked, pd.DataFrame({column: values.to_pandas()}), parameters)
        answers |= zip(numbers, [f and _everywhere(f, codes) for f in found], strict=True)
    rest = [number for number in range(len(entries)) if number not in answers]
    if rest:
        asked = tuple(entries[number] for number in rest)
        needed = set().union(*(entry.needed for entry in asked))
        frame = table.select([name for name in table.column_names if name in needed]).to_pandas()
        found = _row_answers(asked, frame, parameters)
        answers |= zip(rest, found, strict=True)
    return [failure for _, failure in sorted(answers.items()) if failure is not None]


def _distinct(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Values that hold every value of a column, and which of them each row has; nearly unique ones stay as they are."""
    sample = column.slice(0, SAMPLE)
    if 2 * pc.count_distinct(sample, mode="all").as_py() > len(sample):
        return column.combine_chunks(), np.arange(len(column))
    encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    return encoded.dictionary, encoded.indices.to_numpy()


def _everywhere(failure: Failure, codes: np.ndarray) -> Failure:
    """A failure of single values as the failure of all rows that have them."""
    value = dict(zip(failure.rows.tolist(), failure.values, strict=True))
    failing = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
    failing[failure.rows] = True
    rows = np.flatnonzero(failing[codes])
    values = tuple(value[code] for code in codes[rows].tolist())
    return replace(failure, rows=rows, values=values, observed=_share(len(rows), len(codes), values))


def _share(count: int, total: int, values: tuple[Any, ...]) -> str:
    sample = ", ".join(list(dict.fromkeys(map(str, values[:20])))[:5])
    return f"{count} of {total} values ({100 * count / max(total, 1):.3g} %), such as {sample}"


def _row_answers(entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[Failure | None]:
    complete = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": [ROW],
        "return_unexpected_index_query": False,
    }
    answers = _answers(entries, frame.assign(**{ROW: np.arange(len(frame))}), parameters, complete)
    for entry, failure in zip(entries, answers, strict=True):
        if failure is not None and not len(failure.rows):
            raise CheckBroken(f"{entry.place} failed and named no row, observed {failure.observed}; move it to 'file'")
    return answers


def _answers(
    entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any], result_format: str | dict[str, Any]
) -> list[Failure | None]:
    """For each entry None where it holds, or its failure."""
    answers: dict[int, Failure | None] = {}
    by_condition: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        by_condition.setdefault(entry.kwargs.get(CONDITION, ""), []).append(number)
    for condition, numbers in by_condition.items():
        # Great Expectations names the wrong rows of two columns under a condition, so it sees the rows of the condition only.
        chosen = frame.query(condition) if condition else frame
        asked = [number for number in numbers if len(chosen) or not entries[number].columns]
        found = _ask(tuple(entries[number] for number in asked), chosen, parameters, result_format)
        answers |= dict.fromkeys(numbers) | dict(zip(asked, found, strict=True))
    return [answers[number] for number in range(len(entries))]


def _ask(
    entries: tuple[Entry, ...], frame: pd.DataFrame, parameters: dict[str, Any], result_format: str | dict[str, Any]
) -> list[Failure | None]:
    if not entries:
        return []
    context = _context()
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.validator.validator import Validator

    # A batch definition of a data source would take a fingerprint of the frame, twice, which costs more than the checks.
    validator = Validator(PandasExecutionEngine(batch_data_dict={"frame": frame}), data_context=context)
    asked = [
        ExpectationConfiguration(
            type=entry.type,
            kwargs={name: value for name, value in entry.kwargs.items() if name not in (CONDITION, PARSER)},
            severity="critical" if entry.critical else "warning",
            meta={"entry": number},
        )
        for number, entry in enumerate(entries)
    ]
    try:
        ready = validator.process_expectations_for_validation(asked, parameters)
        results = validator.graph_validate(ready, runtime_configuration={"result_format": result_format})
    except Exception as error:
        if len(entries) == 1:
            raise CheckBroken(f"{entries[0].place} cannot be evaluated: {error}") from error
        return [answer for entry in entries for answer in _ask((entry,), frame, parameters, result_format)]
    told = {r.expectation_config.meta["entry"]: r for r in results}
    return [None if told[number].success else _failure(entry, told[number]) for number, entry in enumerate(entries)]


def _failure(entry: Entry, result: Any) -> Failure:
    info = result.exception_info or {}
    broken = [i for i in ([info] if "raised_exception" in info else info.values()) if i.get("raised_exception")]
    if broken:
        raise CheckBroken(f"{entry.place} cannot be evaluated: {broken[0]['exception_message']}")
    asked = result.expectation_config.kwargs
    bounds = {k: v for k, v in asked.items() if k not in (*COLUMNS, "batch_id") and v is not None}
    bounds |= {CONDITION: entry.kwargs[CONDITION]} if CONDITION in entry.kwargs else {}
    found = result.result
    index = found.get("unexpected_index_list") or []
    if "unexpected_count" in found and "element_count" in found:
        observed = _share(found["unexpected_count"], found["element_count"], tuple(found["partial_unexpected_list"]))
    else:
        observed = str(found.get("observed_value", "not there"))
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


def _value(found: dict[str, Any], columns: tuple[str, ...]) -> Any:
    """What a failing row holds: the value of the column, or of each of the columns."""
    values = tuple(found.get(column) for column in columns)
    return values[0] if len(values) == 1 else values
