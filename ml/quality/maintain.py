"""The step `maintain`: housekeeping of the lake and of what was staged for it. It changes no row and can be run at any time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.lake.maintenance import compact, kept_versions, vacuum
from ml.lake.tables import Lake
from ml.quality import staging


@dataclass(frozen=True)
class Maintenance:
    """By table: newest version, files before and after, replaced files deleted; and folders of staged rows deleted."""

    versions: dict[str, int]
    files_before: dict[str, int]
    files_after: dict[str, int]
    deleted: dict[str, int]
    swept: int


def maintain(config: Config, as_of: dt.datetime) -> Maintenance:
    """Delete replaced files that no kept version needs, then rewrite small files into large ones; sweep what was staged.

    What this run replaces is deleted by the next one, so that a reader who has just opened the newest version can finish.
    Kept are the newest version of each table and those that a registered model or a frozen training set names. Loads wait
    until it is done.
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
