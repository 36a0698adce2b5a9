"""Whether the days of events have as many rows as is usual, however their rows are cut into files.

The rows of a day are those in the lake and those of the files that land now; usual is the median of the days before it. A day
has too many rows as soon as they are there, and the file that brings the excess is at fault. It has too few only once it is
over and its file was due. A file is stopped when half of its rows or more belong to such days: a history is not lost for one
odd day. Rows that are late for a day that is in the lake already can only mend it.
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
# The median of fewer days says more about the first of them than about what is usual.
FEWEST_DAYS = 3
HALF = 0.5
REACH = dt.timedelta(days=2 * DAYS)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Delivery:
    """The rows of one file: the day, by the feed's clock, and the id of each, shape (n_rows,); null where unreadable."""

    days: pa.ChunkedArray
    ids: pa.ChunkedArray

    @cached_property
    def rows(self) -> Counter[dt.date]:
        """Rows by day."""
        counted = pc.value_counts(self.days.drop_null())
        return Counter(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))


def delivery(config: Config, columns: pa.Table) -> Delivery:
    """The rows of a file of events, as `ml.quality.parse.parse` reads them."""
    local = pc.local_timestamp(columns["event_time"].cast(pa.timestamp("us", config.events.timezone)))
    return Delivery(pc.floor_temporal(local, unit="day").cast(pa.date32()), columns["event_id"])


def check_days(config: Config, as_of: dt.datetime, lake: Lake, files: list[Delivery]) -> list[tuple[list[str], list[str]]]:
    """Problems that stop each file, and warnings, in the order in which the files are to come into the lake."""
    entries = [entry for entry in events_suite(config).file if entry.of_days]
    if not entries:
        return [([], []) for _ in files]
    volume = _Volume(config, as_of, lake, files)
    found = []
    for file in files:
        problems: list[str] = []
        warnings: list[str] = []
        for entry in entries:
            for told, stops in volume.faults(file, entry):
                (problems if stops and entry.critical else warnings).append(told)
        if not problems:
            volume.take(file)
        found.append((problems, warnings))
    return found


class _Volume:
    """Rows by day: what the lake has, what was taken of this run's files so far, and what all of them bring."""

    def __init__(self, config: Config, as_of: dt.datetime, lake: Lake, files: list[Delivery]) -> None:
        self._config, self._lake, self._as_of = config, lake, as_of
        self._landed: Counter[dt.date] = sum((file.rows for file in files), Counter())
        self._in_lake = self._count_lake(min(self._landed), max(self._landed)) if self._landed else Counter()
        self._known = Counter(self._in_lake)
        self._taken: list[Delivery] = []

    def take(self, file: Delivery) -> None:
        """Count a file that is not stopped."""
        self._known += file.rows
        self._taken.append(file)

    def faults(self, file: Delivery, entry: Entry) -> list[tuple[str, bool]]:
        """Days of a file that have too many or too few rows, in words, and whether the file is to be stopped for that."""
        if not len(file.days):
            return [] if self._config.has_empty_days else [(_told("the file", entry, 1, None, 0), True)]
        known = self._known + file.rows
        over, under = {}, {}
        for day in sorted(file.rows):
            low, high = self._bounds(entry, known, day)
            if high is not None and known[day] > high and (distinct := self._distinct(file, day)) > high:
                over[day] = _told(f"the day {day}", entry, low, high, distinct)
            elif low is not None and self._is_over(day) and (came := self._in_lake[day] + self._landed[day]) < low:
                under[day] = _told(f"the day {day}", entry, low, high, came)
        faults = []
        for days in (over, under):
            most = sum(file.rows[day] for day in days) >= HALF * sum(file.rows.values())
            for day, told in days.items():
                late = days is under and self._in_lake[day] > 0
                if most or not late:
                    faults.append((told, most and not late))
        return faults

    def _bounds(self, entry: Entry, known: Counter[dt.date], day: dt.date) -> tuple[int | None, int | None]:
        """The least and the most rows of a day by an entry; None where nothing is known of what is usual yet."""
        before = [known[d] for d in sorted(known) if d < day and self._is_over(d)][-DAYS:]
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

    def _distinct(self, file: Delivery, day: dt.date) -> int:
        """Events of a day with this file, those that are delivered again counted once."""
        arrived = pa.concat_arrays(
            chunk for told in (*self._taken, file) for chunk in told.ids.filter(pc.equal(told.days, day)).chunks
        )
        with self._lake.connect({schema.EVENTS: schema.events(self._config)}) as connection:
            connection.register("arrived", pa.table({"event_id": arrived}))
            (found,) = connection.execute(
                "SELECT count(DISTINCT event_id) FROM (SELECT event_id FROM arrived UNION ALL "
                f"SELECT event_id FROM {schema.EVENTS} WHERE {self._between(day, day)})"
            ).fetchone() or (0,)
        return int(found)

    def _between(self, first: dt.date, last: dt.date) -> str:
        """Condition that an event is of one of these days, both included."""
        return f"event_time >= {instant(self._begin(first))} AND event_time < {instant(self._begin(last + DAY))}"

    def _begin(self, day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time(), ZoneInfo(self._config.events.timezone))


def _told(what: str, entry: Entry, low: int | None, high: int | None, rows: int) -> str:
    bounds = ", ".join(f"{name} {bound}" for name, bound in (("min_value", low), ("max_value", high)) if bound is not None)
    return f"{what}: {entry.type} ({bounds}), observed {rows}; {entry.reason}"
