"""Checks whether each day of events has a usual number of rows, however the rows are split into files.

The rows of a day are those in the lake and those of the files that land now; usual is the median of the days before it. A day
can have too many rows at any time, and the file that brings the excess is at fault. It can have too few only once it is over
and its file was due. A file is stopped when half of its rows or more belong to such days: one unusual day must not stop a file
of a long history. Late rows for a day that is in the lake already are never at fault for too few.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.config.suites import PARAMETER, Entry, events_suite
from ml.lake import schema
from ml.lake.tables import Lake, instant

DAYS = 28
# The median of fewer days is no estimate of a usual day.
FEWEST_DAYS = 3
HALF = 0.5
REACH = dt.timedelta(days=2 * DAYS)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class FileDays:
    """The rows of one file: local day and event id of each, shape (n_rows,); null where unreadable."""

    days: pa.ChunkedArray
    ids: pa.ChunkedArray

    @cached_property
    def rows(self) -> Counter[dt.date]:
        """Number of rows by day."""
        counted = pc.value_counts(self.days.drop_null())
        return Counter(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))


def file_days(config: Config, columns: pa.Table) -> FileDays:
    """The rows of a file of events, as `ml.quality.parse.parse` reads them."""
    local = pc.local_timestamp(columns["event_time"].cast(pa.timestamp("us", config.events.timezone)))
    return FileDays(pc.floor_temporal(local, unit="day").cast(pa.date32()), columns["event_id"])


def check_days(config: Config, as_of: dt.datetime, lake: Lake, files: list[FileDays]) -> list[tuple[list[str], list[str]]]:
    """Problems that stop each file, and warnings; files are given in the order in which they are loaded."""
    entries = [entry for entry in events_suite(config).file if entry.is_daily]
    if not entries:
        return [([], []) for _ in files]
    volume = _Volume(config, as_of, lake, files)
    results = []
    for file in files:
        problems: list[str] = []
        warnings: list[str] = []
        for entry in entries:
            for text, stops in volume.faults(file, entry):
                (problems if stops and entry.critical else warnings).append(text)
        if not problems:
            volume.take(file)
        results.append((problems, warnings))
    return results


class _Volume:
    """Rows by day: in the lake, in the files accepted so far, and in all files of this run."""

    def __init__(self, config: Config, as_of: dt.datetime, lake: Lake, files: list[FileDays]) -> None:
        self._config, self._lake, self._as_of = config, lake, as_of
        self._landed: Counter[dt.date] = sum((file.rows for file in files), Counter())
        self._in_lake = self._count_lake(min(self._landed), max(self._landed)) if self._landed else Counter()
        self._counts = Counter(self._in_lake)
        self._taken: list[FileDays] = []

    def take(self, file: FileDays) -> None:
        """Add the rows of a file that is not stopped."""
        self._counts += file.rows
        self._taken.append(file)

    def faults(self, file: FileDays, entry: Entry) -> list[tuple[str, bool]]:
        """Messages about days of a file with too many or too few rows, and whether each stops the file."""
        if not len(file.days):
            return [] if self._config.has_empty_days else [(_describe("the file", entry, 1, None, 0), True)]
        counts = self._counts + file.rows
        over, under = {}, {}
        for day in sorted(file.rows):
            low, high = self._bounds(entry, counts, day)
            if high is not None and counts[day] > high and (rows := self._distinct(file, day)) > high:
                over[day] = _describe(f"the day {day}", entry, low, high, rows)
            elif low is not None and self._is_over(day) and (rows := self._in_lake[day] + self._landed[day]) < low:
                under[day] = _describe(f"the day {day}", entry, low, high, rows)
        faults = []
        for days in (over, under):
            is_majority = sum(file.rows[day] for day in days) >= HALF * sum(file.rows.values())
            for day, text in days.items():
                late = days is under and self._in_lake[day] > 0
                if is_majority or not late:
                    faults.append((text, is_majority and not late))
        return faults

    def _bounds(self, entry: Entry, counts: Counter[dt.date], day: dt.date) -> tuple[int | None, int | None]:
        """The least and the most rows of a day by an entry; None while too few days are known."""
        before = [counts[d] for d in sorted(counts) if d < day and self._is_over(d)][-DAYS:]
        usual = float(np.median(before)) if len(before) >= FEWEST_DAYS else None
        events = self._config.events
        parameters = {
            "rows_low": max(1, int(events.volume_low.value * (usual or 0))),
            "rows_high": None if usual is None else int(events.volume_high.value * usual),
        }
        low, high = (
            parameters[value[PARAMETER]] if isinstance(value, dict) else value
            for value in (entry.kwargs.get("min_value"), entry.kwargs.get("max_value"))
        )
        return low, high

    def _is_over(self, day: dt.date) -> bool:
        """Whether the file of a day was due."""
        return self._as_of >= self._begin(day + DAY) + self._config.events.lag.span

    def _count_lake(self, first: dt.date, last: dt.date) -> Counter[dt.date]:
        with self._lake.connect({schema.EVENTS: schema.events(self._config)}) as connection:
            zone = self._config.events.timezone
            counted = connection.execute(
                f"SELECT (event_time AT TIME ZONE $zone)::DATE AS day, count(*) FROM {schema.EVENTS} "
                f"WHERE {self._between(first - REACH, last)} GROUP BY day",
                {"zone": zone},
            )
            return Counter(dict(counted.fetchall()))

    def _distinct(self, file: FileDays, day: dt.date) -> int:
        """Distinct events of a day in the lake, the accepted files and this file."""
        arrived = pa.concat_arrays(
            chunk for other in (*self._taken, file) for chunk in other.ids.filter(pc.equal(other.days, day)).chunks
        )
        with self._lake.connect({schema.EVENTS: schema.events(self._config)}) as connection:
            connection.register("arrived", pa.table({"event_id": arrived}))
            (count,) = connection.execute(
                "SELECT count(DISTINCT event_id) FROM (SELECT event_id FROM arrived UNION ALL "
                f"SELECT event_id FROM {schema.EVENTS} WHERE {self._between(day, day)})"
            ).fetchone() or (0,)
        return int(count)

    def _between(self, first: dt.date, last: dt.date) -> str:
        """SQL condition: an event belongs to one of these days, both included."""
        return f"event_time >= {instant(self._begin(first))} AND event_time < {instant(self._begin(last + DAY))}"

    def _begin(self, day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time(), ZoneInfo(self._config.events.timezone))


def _describe(subject: str, entry: Entry, low: int | None, high: int | None, rows: int) -> str:
    bounds = ", ".join(f"{name} {bound}" for name, bound in (("min_value", low), ("max_value", high)) if bound is not None)
    return f"{subject}: {entry.type} ({bounds}), observed {rows}; {entry.reason}"
