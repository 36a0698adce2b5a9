"""The step `load_batch`: loads validated rows into the lake, each batch exactly once, also beside concurrent loads."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from ml.config import Config
from ml.errors import Refused
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import landing, staging
from ml.quality.report import note
from ml.quality.validate import file_reports, stage
from ml.quality.waiting import readmit_answers, readmit_last_lines


class FilesMissing(Refused, RuntimeError):
    """Rows have to be checked again, but their files are no longer in the landing folder."""


@dataclass(frozen=True)
class Load:
    """The lake's versions after the commits, and the rows that this call added (none if they were loaded before).

    `note` has the new counts if the rows had to be checked again, and is empty otherwise; `readmitted` counts the answers that
    had waited for their events.
    """

    versions: dict[str, int]
    events: int
    labels: int
    note: str = ""
    readmitted: int = 0


def load_batch(config: Config, as_of: dt.datetime, staged: str) -> Load:
    """Commit the staged rows, and the answers that waited in quarantine for these events.

    If another process loaded rows or published features since the rows were checked, they are checked again first.

    Raises:
        FileNotFoundError: nothing was ever staged at this address.
        FilesMissing: rows have to be checked again, but their files are no longer in the landing folder.
    """
    loaded = _load(config, as_of, staged)
    readmitted = readmit_answers(config, as_of) + readmit_last_lines(config, as_of)
    return replace(loaded, versions=Lake(config.lake).versions(staging.ORDER), readmitted=readmitted) if readmitted else loaded


def _load(config: Config, as_of: dt.datetime, staged: str) -> Load:
    lake = Lake(config.lake)
    with lake.writing():
        staging.finish_interrupted(config, lake)
        record = staging.read(config, staged)
        pending = set(record.batches) - lake.committed(schema.BATCHES, record.batches)
        if not pending:
            staging.retire(config, staged)
            return Load(lake.versions(staging.ORDER), 0, 0)
        summary = ""
        if staging.lake_state(config, lake) != record.state or not staging.is_staged(config, staged):
            files = [file for file in landing.find_files(config) if file.digest in pending]
            absent = pending - {file.digest for file in files}
            if absent:
                names = [report["file"] for report in record.reports if report["batch_id"] in absent]
                raise FilesMissing(
                    f"the lake moved on since these files were checked, and they are gone from {config.landing}: {names}; "
                    "put them back, or run validate_batch again to go on without them"
                )
            staged = stage(config, as_of, lake, files)
            summary = f"checked again, because the lake had moved on: {note(file_reports(config, staged), [])}"
        added = staging.commit(config, lake, staged)
        return Load(lake.versions(staging.ORDER), added[schema.EVENTS], added[schema.LABELS], summary)
