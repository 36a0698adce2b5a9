"""The step `maintain`: housekeeping of the lake and of the staging folder. It changes no row and can run at any time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.lake.maintenance import compact, kept_versions, vacuum
from ml.lake.tables import Lake
from ml.quality import staging


@dataclass(frozen=True)
class Maintenance:
    """By table: newest version, file counts before and after, deleted files; `swept` counts deleted staging folders."""

    versions: dict[str, int]
    files_before: dict[str, int]
    files_after: dict[str, int]
    deleted: dict[str, int]
    swept: int


def maintain(config: Config, as_of: dt.datetime) -> Maintenance:
    """Delete replaced files that no kept version needs, then merge small files; delete old staging folders.

    The next run deletes the files that this run replaces, so that a reader who has just opened the newest version can finish.
    The newest version of each table is kept, and so are the versions that a registered model or a frozen training set names.
    Loads wait until maintenance is done.
    """
    lake = Lake(config.lake)
    kept = kept_versions(config)
    with lake.writing():
        staging.finish_interrupted(config, lake)
        swept = staging.sweep(config, lake)
        tables = lake.tables()
        before = {table: lake.count_files(table) for table in tables}
        deleted = {table: vacuum(lake, table, kept.get(table, ())) for table in tables}
        for table in tables:
            compact(lake, table)
        after = {table: lake.count_files(table) for table in tables}
        return Maintenance(lake.versions(tables), before, after, deleted, swept)
