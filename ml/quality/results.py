"""What each expectation came to in the newest validation, kept for who looks at the data.

Great Expectations' own pages of results, its Data Docs, are not built: they load style and scripts from six other hosts, and
their counts would be those of distinct values, since that is what is validated (`ml.quality.suites`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ml import artifacts
from ml.config import Config
from ml.config.expectations import COLUMNS
from ml.config.suites import PARAMETER, Entry
from ml.quality.suites import Result

KIND = "validations"
LONGEST = 300
"""Characters of what was observed: a column may hold anything."""


@dataclass(frozen=True)
class KeptResult:
    """One expectation in words, and what it came to.

    Parameters:
        columns: that it is about; empty for the whole table.
        expectation: its name in Great Expectations, in words, with its bounds.
        holds: whether it held; in every file, for one about files.
        observed: in the file that failed last, or else in the last one, for one about files.
    """

    columns: tuple[str, ...]
    expectation: str
    holds: bool
    observed: str


@dataclass(frozen=True)
class Validated:
    """The newest validation of what a suite is for: as of when, of which file (the last of `files`), or training set."""

    as_of: dt.datetime
    subject: str
    files: int
    results: tuple[KeptResult, ...]


def in_words(entry: Entry) -> str:
    """An expectation with its bounds."""
    bounds = [f"{key} {_bound(value)}" for key, value in entry.kwargs.items() if key not in COLUMNS]
    words = entry.type.removeprefix("expect_").replace("_", " ")
    return f"{words}: {', '.join(bounds)}" if bounds else words


def _bound(value: Any) -> str:
    return str(value[PARAMETER]) if isinstance(value, dict) and PARAMETER in value else str(value)


def keep(config: Config, as_of: dt.datetime, kind: str, subject: str, results: Sequence[Result], files: int = 1) -> None:
    """Keep the results of a validation in place of those of the one before.

    Args:
        kind: `events`, `labels` or `training_set`.
        subject: the last file, or the training set.
        results: of several files one after the other.
    """
    by_entry: dict[str, Result] = {}
    for result in results:
        before = by_entry.get(result.entry.place)
        if before is None or before.failure is None or result.failure is not None:
            by_entry[result.entry.place] = result
    checked = [
        KeptResult(each.entry.columns, in_words(each.entry), each.failure is None, each.observed[:LONGEST])
        for each in by_entry.values()
    ]
    record = asdict(Validated(as_of, subject, files, tuple(checked))) | {"as_of": as_of.isoformat()}
    artifacts.of(config).put_text(KIND, f"{kind}.json", json.dumps(record), replace=True)


def newest(config: Config, kind: str) -> Validated | None:
    """The newest validation of a kind; None before the first."""
    found = artifacts.find(config, KIND, f"{kind}.json")
    if found is None:
        return None
    record = json.loads(found.read_text())
    results = tuple(KeptResult(**each | {"columns": tuple(each["columns"])}) for each in record["results"])
    return Validated(dt.datetime.fromisoformat(record["as_of"]), record["subject"], record["files"], results)
