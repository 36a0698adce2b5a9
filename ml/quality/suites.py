"""Runs Great Expectations suites on frames and answers in our words: which column, which expectation, what was found.

A suite is a YAML file under `expectations/` with the lists `file` (about the whole; a critical failure stops the batch) and
`rows` (about single values; a critical failure sets the row aside, a warning is reported). Entries are GX's own expectation
configurations, with a `reason`; `{$PARAMETER: name}` takes a value that the caller computes, for example `as_of`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ml.config import PROJECT

ROW = "__row"


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


@cache
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
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def run(
    entries: tuple[dict[str, Any], ...], frame: pd.DataFrame, parameters: dict[str, Any], rows: bool = False
) -> list[Failure]:
    """Validate a frame and return what failed.

    Args:
        entries: one of the lists of a `Suite`.
        frame: the data; its index is ignored.
        parameters: values for `$PARAMETER`.
        rows: whether to name every failing row (needed to set rows aside).

    Raises:
        CheckBroken: an expectation raised instead of answering.
    """
    import great_expectations as gx
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    if not entries:
        return []
    numbered = frame.assign(**{ROW: np.arange(len(frame))}) if rows else frame
    source = _context().data_sources.add_or_update_pandas("frames")
    batch = (
        source.add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
        .get_batch(batch_parameters={"dataframe": numbered})
    )
    suite = gx.ExpectationSuite(
        name="suite",
        expectations=[
            ExpectationConfiguration(
                type=e["type"], kwargs=dict(e.get("kwargs", {})), severity=e["severity"], meta={"reason": e["reason"]}
            ).to_domain_obj()
            for e in entries
        ],
    )
    complete = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": [ROW],
        "return_unexpected_index_query": False,
    }
    result = batch.validate(suite, result_format=complete if rows else "SUMMARY", expectation_parameters=parameters)
    return [_failure(r) for r in result.results if not r.success]


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
        share = found["unexpected_percent"] or 0.0
        sample = ", ".join(str(v) for v in list(dict.fromkeys(map(str, found["partial_unexpected_list"])))[:5])
        observed = f"{found['unexpected_count']} of {found['element_count']} values ({share:.3g} %), such as {sample}"
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
