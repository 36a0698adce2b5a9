"""Runs Great Expectations suites on frames and answers in our words: which column, which expectation, what was found.

A suite is a YAML file under `expectations/` with the lists `file` (about the whole; a critical failure stops the batch) and
`rows` (about single values; a critical failure sets the row aside, a warning is reported). Entries are GX's own expectation
configurations, with a `reason`; `{$PARAMETER: name}` takes a value that the caller computes, for example `as_of`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ml.config import PROJECT

ROW = "__row"
SAMPLE = 10_000
# Expectations that answer about each value from that value alone, so that they need to see it once however often it occurs.
BY_VALUE = {
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_be_null",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_not_match_regex",
    "expect_column_value_lengths_to_be_between",
    "expect_column_value_lengths_to_equal",
}


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


@dataclass(frozen=True)
class Suite:
    """The two lists of a suite file."""

    name: str
    file: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]

    def columns(self) -> set[str]:
        """All columns that the suite speaks about."""
        return {e["kwargs"]["column"] for e in (*self.file, *self.rows) if "column" in e.get("kwargs", {})}


def digest(path: str) -> str:
    """SHA-256 of a suite file: what it answers about equal rows depends on nothing else."""
    return hashlib.sha256((PROJECT / path).read_bytes()).hexdigest()


def load(path: str) -> Suite:
    """Read a suite file, path relative to the project.

    Raises:
        ValueError: an entry lacks `type`, `severity` or `reason`, or the file has other keys than `file` and `rows`.
    """
    raw = yaml.safe_load((PROJECT / path).read_text())
    if not isinstance(raw, dict) or set(raw) - {"file", "rows"}:
        raise ValueError(f"{path}: expected the lists 'file' and 'rows'")
    for part, entries in raw.items():
        for i, entry in enumerate(entries):
            lacking = {"type", "severity", "reason"} - set(entry)
            if lacking:
                raise ValueError(f"{path}: {part}.{i} lacks {sorted(lacking)}")
    return Suite(Path(path).stem, tuple(raw.get("file", ())), tuple(raw.get("rows", ())))


@cache
def _context() -> Any:
    """Great Expectations as a library that reports nothing and draws nothing."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def run(entries: tuple[dict[str, Any], ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[Failure]:
    """Validate a frame as a whole and return what failed.

    Args:
        entries: one of the lists of a `Suite`.
        frame: the data; its index is ignored.
        parameters: values for `$PARAMETER`.

    Raises:
        CheckBroken: an expectation raised instead of answering.
    """
    return [failure for failure in _answers(entries, frame, parameters, "SUMMARY") if failure is not None]


def run_rows(entries: tuple[dict[str, Any], ...], table: pa.Table, parameters: dict[str, Any]) -> list[Failure]:
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
        if entry["type"] in BY_VALUE and "mostly" not in entry["kwargs"]:
            by_column.setdefault(entry["kwargs"]["column"], []).append(number)
    for column, numbers in by_column.items():
        values, codes = _distinct(table[column])
        asked = tuple(entries[number] for number in numbers)
        found = _row_answers(asked, pd.DataFrame({column: values.to_pandas()}), parameters)
        answers |= zip(numbers, [f and _everywhere(f, codes) for f in found], strict=True)
    rest = [number for number in range(len(entries)) if number not in answers]
    if rest:
        found = _row_answers(tuple(entries[number] for number in rest), table.to_pandas(), parameters)
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


def _row_answers(entries: tuple[dict[str, Any], ...], frame: pd.DataFrame, parameters: dict[str, Any]) -> list[Failure | None]:
    complete = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": [ROW],
        "return_unexpected_index_query": False,
    }
    return _answers(entries, frame.assign(**{ROW: np.arange(len(frame))}), parameters, complete)


def _answers(
    entries: tuple[dict[str, Any], ...], frame: pd.DataFrame, parameters: dict[str, Any], result_format: str | dict[str, Any]
) -> list[Failure | None]:
    """For each entry None where it holds, or its failure."""
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
            type=e["type"],
            kwargs=dict(e.get("kwargs", {})),
            severity=e["severity"],
            meta={"reason": e["reason"], "entry": number},
        )
        for number, e in enumerate(entries)
    ]
    results = validator.graph_validate(
        validator.process_expectations_for_validation(asked, parameters), runtime_configuration={"result_format": result_format}
    )
    answers: dict[int, Failure | None] = {
        r.expectation_config.meta["entry"]: None if r.success else _failure(r) for r in results
    }
    return [answers[number] for number in range(len(entries))]


def _failure(result: Any) -> Failure:
    told = result.expectation_config
    info = result.exception_info or {}
    broken = [i for i in ([info] if "raised_exception" in info else info.values()) if i.get("raised_exception")]
    if broken:
        raise CheckBroken(f"{told.type} on {told.kwargs.get('column', 'the table')}: {broken[0]['exception_message']}")
    bounds = {k: v for k, v in told.kwargs.items() if k not in ("column", "batch_id") and v is not None}
    found = result.result
    index = found.get("unexpected_index_list") or []
    if "unexpected_count" in found:
        observed = _share(found["unexpected_count"], found["element_count"], tuple(found["partial_unexpected_list"]))
    else:
        observed = str(found.get("observed_value", "not there"))
    column = told.kwargs.get("column", "the file")
    return Failure(
        column=column,
        expectation=told.type,
        expected=", ".join(f"{k} {v}" for k, v in bounds.items()) or "holds",
        observed=observed,
        critical=str(getattr(told.severity, "value", told.severity)) == "critical",
        reason=(told.meta or {}).get("reason", ""),
        rows=np.array([int(i[ROW]) for i in index], dtype=np.int64),
        values=tuple(i.get(column) for i in index),
    )
