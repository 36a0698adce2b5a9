"""The step `load_batch`: what was validated becomes rows of the lake, each batch once, whoever else loads at the same time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import landing, staging
from ml.quality.report import note
from ml.quality.validate import reports, stage
from ml.quality.waiting import readmit_answers, readmit_last_lines


class FilesGone(RuntimeError):
    """Rows have to be checked again, and the files that they came from are not in the landing folder any more."""


@dataclass(frozen=True)
class Load:
    """The lake's versions after the commits, and the rows that this call added (none when it was done before).

    `note` counts the rows again if they had to be checked again, and is empty otherwise; `readmitted` are answers that had
    waited for their events.
    """

    versions: dict[str, int]
    events: int
    labels: int
    note: str = ""
    readmitted: int = 0


def load_batch(config: Config, as_of: dt.datetime, staged: str) -> Load:
    """Commit the staged rows, and the answers that waited in quarantine for the events among them.

    If others loaded, or published features, since the rows were checked, they are checked again first.

    Raises:
        FileNotFoundError: nothing was ever staged at this address.
        FilesGone: rows have to be checked again, and their files are gone.
    """
    loaded = _load(config, as_of, staged)
    readmitted = readmit_answers(config, as_of) + readmit_last_lines(config, as_of)
    return replace(loaded, versions=Lake(config.lake).versions(staging.ORDER), readmitted=readmitted) if readmitted else loaded


def _load(config: Config, as_of: dt.datetime, staged: str) -> Load:
    lake = Lake(config.lake)
    with lake.writing():
        staging.finish_interrupted(config, lake)
        record = staging.read(config, staged)
        lacking = set(record.batches) - lake.committed(schema.BATCHES, record.batches)
        if not lacking:
            staging.retire(config, staged)
            return Load(lake.versions(staging.ORDER), 0, 0)
        told = ""
        if staging.state(config, lake) != record.state or not staging.is_staged(config, staged):
            files = [file for file in landing.find_files(config) if file.digest in lacking]
            gone = lacking - {file.digest for file in files}
            if gone:
                names = [report["file"] for report in record.reports if report["batch_id"] in gone]
                raise FilesGone(
                    f"the lake moved on since these files were checked, and they are gone from {config.landing}: {names}; "
                    "put them back, or run validate_batch again to go on without them"
                )
            staged = stage(config, as_of, lake, files)
            told = f"checked again, because the lake had moved on: {note(reports(config, staged), [])}"
        added = staging.commit(config, lake, staged)
        return Load(lake.versions(staging.ORDER), added[schema.EVENTS], added[schema.LABELS], told)
