"""What came in: batches with what became of their rows, the quarantine, and how fresh the lake is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from ml.config import Config, suites
from ml.config.suites import Entry
from ml.overview.status import Status, status
from ml.quality import quarantine, results
from ml.quality.quarantine import BatchSummary
from ml.quality.results import Validated

BATCHES = 200


@dataclass(frozen=True)
class LandedBatch:
    """A file that was taken in; rows = accepted + quarantined + rejected.

    Parameters:
        kind: of its rows, such as `events`.
        first_event, last_event: of its events; None for a file of labels.
        known_at: when the system could first have read it.
    """

    batch_id: str
    file: str
    kind: str
    rows: int
    accepted: int
    quarantined: int
    rejected: int
    first_event: dt.datetime | None
    last_event: dt.datetime | None
    known_at: dt.datetime


@dataclass(frozen=True)
class Check:
    """One expectation of a suite, with what happens where it does not hold.

    Parameters:
        suite: of which files, or of the training set.
        columns: that it is about; empty for the whole table.
        expectation: its name in Great Expectations, in words, with its bounds.
        consequence: `quarantine` of the row, `stop` of the file or the training, or a `warning`.
        reason: why it is expected.
        holds, observed: in the newest validation; None and empty where it did not check this.
    """

    suite: str
    columns: tuple[str, ...]
    expectation: str
    consequence: str
    reason: str
    holds: bool | None
    observed: str


@dataclass(frozen=True)
class Checks:
    """A suite with what its newest validation came to; `validated` is None before the first."""

    suite: str
    validated: Validated | None
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class DataStory:
    """What there is to tell of the data.

    Parameters:
        newest_event: instant of the newest event in the lake; None while it is empty.
        batches: the newest first, as many as `BATCHES`; `batches_in_all` counts all of them.
        quarantine: batches with rows in quarantine, oldest first.
        checks: what files and the training set are checked for, with what that came to last.
    """

    status: Status
    newest_event: dt.datetime | None
    batches: tuple[LandedBatch, ...]
    batches_in_all: int
    quarantine: tuple[BatchSummary, ...]
    checks: tuple[Checks, ...]


def data(config: Config) -> DataStory:
    """The story of a deployment's data until now."""
    with quarantine.opened(config) as lake:
        seen, waiting = status(config, lake=lake), quarantine.summary_in(lake)
        batches, in_all, newest = _batches(lake)
    return DataStory(
        status=seen,
        newest_event=newest,
        batches=tuple(batches),
        batches_in_all=in_all,
        quarantine=tuple(waiting),
        checks=tuple(_checks(config)),
    )


def _checks(config: Config) -> Iterator[Checks]:
    suites_by_kind = {
        "events": suites.events_suite(config),
        "labels": suites.labels_suite(config),
        "training_set": suites.training_suite(config),
    }
    for kind, suite in suites_by_kind.items():
        if suite is not None:
            validated = results.newest(config, kind)
            entries = [(entry, "stop") for entry in suite.file] + [(entry, "quarantine") for entry in suite.rows]
            name = kind.replace("_", " ")
            yield Checks(name, validated, tuple(_check(name, entry, word, validated) for entry, word in entries))


def _check(suite: str, entry: Entry, consequence: str, validated: Validated | None) -> Check:
    words = results.in_words(entry)
    seen = validated.results if validated else ()
    found = next((each for each in seen if (each.columns, each.expectation) == (entry.columns, words)), None)
    return Check(
        suite=suite,
        columns=entry.columns,
        expectation=words,
        consequence=consequence if entry.critical else "warning",
        reason=entry.reason,
        holds=found.holds if found else None,
        observed=found.observed if found else "",
    )


def _batches(lake: duckdb.DuckDBPyConnection) -> tuple[list[LandedBatch], int, dt.datetime | None]:
    columns = ", ".join(LandedBatch.__dataclass_fields__)
    rows = lake.execute(f"SELECT {columns} FROM batches ORDER BY known_at DESC, file DESC LIMIT {BATCHES}").fetchall()
    in_all, newest = lake.execute("SELECT count(*), max(last_event) FROM batches").fetchone() or (0, None)
    return [LandedBatch(*row) for row in rows], int(in_all), newest
