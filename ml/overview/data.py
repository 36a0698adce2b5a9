"""What came in: batches with what became of their rows, the quarantine, and how fresh the lake is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.overview.status import Status, status
from ml.quality import quarantine
from ml.quality.quarantine import BatchSummary

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
class DataStory:
    """What there is to tell of the data.

    Parameters:
        newest_event: instant of the newest event in the lake; None while it is empty.
        batches: the newest first, as many as `BATCHES`; `batches_in_all` counts all of them.
        quarantine: batches with rows in quarantine, oldest first.
    """

    status: Status
    newest_event: dt.datetime | None
    batches: tuple[LandedBatch, ...]
    batches_in_all: int
    quarantine: tuple[BatchSummary, ...]


def data(config: Config) -> DataStory:
    """The story of a deployment's data until now."""
    seen = status(config)
    batches, in_all, newest = _batches(config)
    return DataStory(
        status=seen,
        newest_event=newest,
        batches=tuple(batches),
        batches_in_all=in_all,
        quarantine=tuple(quarantine.summary(config)),
    )


def _batches(config: Config) -> tuple[list[LandedBatch], int, dt.datetime | None]:
    columns = ", ".join(LandedBatch.__dataclass_fields__)
    with Lake(config.lake).connect({schema.BATCHES: schema.BATCHES_SCHEMA}) as connection:
        rows = connection.execute(f"SELECT {columns} FROM batches ORDER BY known_at DESC, file DESC LIMIT {BATCHES}").fetchall()
        in_all, newest = connection.execute("SELECT count(*), max(last_event) FROM batches").fetchone() or (0, None)
    return [LandedBatch(*row) for row in rows], int(in_all), newest
