"""The windows that end at each event, kept up to date by the service: it sees an event before any file of it is ingested.

The events of the last days are held in the memory of the service's one process, each once by its id, in the order of their
time. They come from the requests, and at the start from the prediction log and the lake; later files of the lake are followed,
so that events which nobody asked to be scored count too. What the lake says of an event replaces what a request said of it,
since training reads the lake. A window at an event holds what happened strictly before it, as in `ml.features.at_events`, and
never the event itself.
"""

from __future__ import annotations

import datetime as dt
import heapq
import json
import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ml.config import Config, EventWindow
from ml.features.at_events import MINUTE
from ml.features.ticks import EPOCH, MICROSECOND
from ml.features.windows import scale
from ml.lake import schema
from ml.lake.sql import quoted, stored
from ml.lake.tables import Lake, instant
from ml.serving.follow import Follower
from ml.serving.log import unloaded
from ml.serving.online import Event

HELD = 1_000_000
"""Events that are held, at most: some 800 MB. With more, the oldest go, and windows that reach back to them are missing."""
LATE = 2
"""Times the longest window for which events are held: one that comes as late as that window is long has whole windows too."""
SECONDS = 10.0
"""Between two looks at the lake."""
ROWS = 1000
"""Rows of the lake that are added at once, while requests wait."""


class _Held(NamedTuple):
    """An event: microseconds since 1970, the keys of its entities, and its measures in units of the window's last digit."""

    time: int
    keys: tuple[str | None, ...]
    values: tuple[int | None, ...]


class _Ring:
    """The events of one entity in the order of their time, with the totals of what lies before each."""

    __slots__ = ("_order", "_totals")

    def __init__(self, values: int) -> None:
        self._order: list[tuple[int, str]] = []
        self._totals: list[tuple[int, ...]] = [(0,) * (2 * values)]

    def __len__(self) -> int:
        return len(self._order)

    def insert(self, event_id: str, held: _Held) -> None:
        """Put an event in its place."""
        place = bisect_left(self._order, (held.time, event_id))
        self._order.insert(place, (held.time, event_id))
        self._totals.insert(place, self._totals[place])
        self._change(place + 1, _amounts(held), 1)

    def remove(self, event_id: str, held: _Held) -> None:
        """Take an event out."""
        place = bisect_left(self._order, (held.time, event_id))
        del self._order[place]
        if place == 0:  # only differences of totals matter
            del self._totals[0]
            return
        del self._totals[place]
        self._change(place, _amounts(held), -1)

    def sums(self, since: int, until: int) -> tuple[int, list[int]]:
        """The number of events in [since, until), and for each measure the number of its values and their sum."""
        first, end = bisect_left(self._order, (since,)), bisect_left(self._order, (until,))
        return end - first, [late - early for early, late in zip(self._totals[first], self._totals[end], strict=True)]

    def _change(self, place: int, amounts: Sequence[int], sign: int) -> None:
        for later in range(place, len(self._totals)):
            self._totals[later] = tuple(total + sign * more for total, more in zip(self._totals[later], amounts, strict=True))


class EventWindows:
    """The events of the last days and the windows over them, for requests of several threads.

    Args:
        now: the present.
        held: events that are held, at most.
    """

    def __init__(self, config: Config, now: Callable[[], dt.datetime], held: int = HELD) -> None:
        self._config, self._now, self._limit = config, now, held
        self._windows = config.event_windows
        self._keys = list(dict.fromkeys(config.entities[window.entity] for window in self._windows))
        self._measures = list(dict.fromkeys((window.column, scale(window)) for window in self._windows))
        self._places = [
            (window, self._keys.index(config.entities[window.entity]), self._measures.index((window.column, scale(window))))
            for window in self._windows
        ]
        longest = max((max(window.minutes) for window in self._windows), default=0)
        self._reach = LATE * longest * MINUTE
        self._events: dict[str, _Held] = {}
        self._rings: list[dict[str, _Ring]] = [{} for _ in self._keys]
        self._oldest: list[tuple[int, str]] = []
        self._horizon = -(2**63)
        self._lock = threading.Lock()
        self._lake_version = -1
        self._follower = Follower(self._load_lake, "events of the lake", SECONDS)

    @property
    def names(self) -> list[str]:
        """Columns of an event that the windows need; the prediction log keeps them, so that they survive a restart."""
        return [*self._keys, *dict.fromkeys(column for column, _ in self._measures)]

    def __len__(self) -> int:
        return len(self._events)

    def start(self) -> None:
        """Read what happened lately from the log and the lake, and follow the lake."""
        if self._windows:
            self.load()
            self._follower.start()

    def stop(self) -> None:
        """Follow no longer."""
        self._follower.stop()

    def load(self) -> None:
        """Add the events of the prediction log, in the order in which they were scored, and those of the lake."""
        # A record goes from the log into the lake, so the log is read first: nothing is missed on its way.
        logged = [row for row in map(self._of_record, unloaded(self._config, self._since())) if row is not None]
        for event_id, held in [*self._predictions(), *logged]:
            self._add(event_id, held)
        self._load_lake()

    def at(self, events: Sequence[Event]) -> dict[str, np.ndarray]:
        """The windows at events, by name, shape (n_events,); afterwards the events are held too."""
        if not self._windows:
            return {}
        known = [(event["event_id"], self._of_event(event)) for event in events]
        with self._lock:
            for event_id, held in known:
                self._add(event_id, held)
            rows = [self._at(event_id, held) for event_id, held in known]
        return {name: np.array(values, dtype=np.float64) for name, *values in zip(self._features, *rows, strict=True)}

    @property
    def _features(self) -> list[str]:
        return [name for window in self._windows for name in window.features]

    def _at(self, event_id: str, event: _Held) -> list[float]:
        """The windows of one event; those that reach back further than what is held are missing."""
        own, values = self._events.get(event_id), list[float]()
        for window, entity, measure in self._places:
            key = event.keys[entity]
            ring = self._rings[entity].get(key) if key is not None else None
            for minutes in window.minutes:
                since = event.time - minutes * MINUTE
                if key is None or since < self._horizon:
                    values += [math.nan] * len(window.aggregates)
                    continue
                n, sums = ring.sums(since, event.time) if ring is not None else (0, [0] * 2 * len(self._measures))
                v, x = sums[2 * measure : 2 * measure + 2]
                if (
                    own is not None and own.keys[entity] == key and since <= own.time < event.time
                ):  # sent again with a later time
                    mine = _amounts(own)[2 * measure : 2 * measure + 2]
                    n, v, x = n - 1, v - mine[0], x - mine[1]
                values += _aggregates(window, n, v, x)
        return values

    def _add(self, event_id: str, held: _Held, replaces: bool = False) -> None:
        """Hold an event, unless it is held already or is too old; with `replaces` it takes the place of what is held."""
        known = self._events.get(event_id)
        if known is not None:
            if not replaces or known == held:
                return
            self._remove(event_id, known)
        if held.time < self._horizon:
            return
        self._events[event_id] = held
        heapq.heappush(self._oldest, (held.time, event_id))
        for ring, key in zip(self._rings, held.keys, strict=True):
            if key is not None:
                ring.setdefault(key, _Ring(len(self._measures))).insert(event_id, held)
        self._horizon = max(self._horizon, held.time - self._reach)
        self._forget()

    def _forget(self) -> None:
        """Drop the events before the horizon, and the oldest beyond the limit."""
        while self._oldest and (self._oldest[0][0] < self._horizon or len(self._events) > self._limit):
            time, event_id = heapq.heappop(self._oldest)
            held = self._events.get(event_id)
            if held is not None and held.time == time:
                self._remove(event_id, held)
                self._horizon = max(self._horizon, time + 1)

    def _remove(self, event_id: str, held: _Held) -> None:
        del self._events[event_id]
        for ring, key in zip(self._rings, held.keys, strict=True):
            if key is not None:
                ring[key].remove(event_id, held)
                if not ring[key]:
                    del ring[key]

    def _of_event(self, event: Event) -> _Held:
        time = (event["event_time"] - EPOCH) // MICROSECOND
        values = tuple(_units(event.get(column), units) for column, units in self._measures)
        return _Held(time, tuple(event.get(key) for key in self._keys), values)

    def _of_record(self, record: dict[str, Any]) -> tuple[str, _Held] | None:
        """An event of the log; None for one that was logged before the windows were declared, or is in the future."""
        inputs = record.get("inputs") or {}  # a second score, and one that failed, have none
        if any(name not in inputs for name in self.names):
            return None
        event = {name: inputs[name] for name in self.names}
        event["event_time"] = dt.datetime.fromisoformat(record["event_time"])
        return record["event_id"], self._of_event(event)

    def _predictions(self) -> list[tuple[str, _Held]]:
        """The predictions of the lake, in the order in which they were scored."""
        with Lake(self._config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
            rows = connection.execute(
                f"""
                SELECT event_id, event_time, inputs FROM predictions
                WHERE inputs IS NOT NULL AND event_time >= {self._newest("predictions")} ORDER BY known_at, event_id"""
            ).fetchall()
        records = [{"event_id": i, "event_time": t.isoformat(), "inputs": json.loads(inputs) or {}} for i, t, inputs in rows]
        return [row for row in map(self._of_record, records) if row is not None]

    def _load_lake(self) -> None:
        """Add the events of the lake, if it has new ones."""
        lake, config = Lake(self._config.lake), self._config
        version = lake.version(schema.EVENTS)
        if version == self._lake_version:
            return
        names = ", ".join(quoted(stored(name)) for name in self.names)
        with lake.connect({schema.EVENTS: schema.events(config)}, None, {schema.EVENTS: version}) as connection:
            until = "" if config.feed is not None else f" AND event_time <= {instant(self._latest())}"
            rows = connection.execute(
                f"SELECT event_id, event_time, {names} FROM events WHERE event_time >= {self._newest('events')}{until}"
            )
            while some := rows.fetchmany(ROWS):
                events = [dict(zip(("event_id", "event_time", *self.names), row, strict=True)) for row in some]
                with self._lock:
                    for event in events:
                        self._add(event["event_id"], self._of_event(event), replaces=True)
        self._lake_version = version

    def _newest(self, table: str) -> str:
        """SQL of the instant from which on rows of a table matter."""
        until = "" if self._config.feed is not None else f" WHERE event_time <= {instant(self._latest())}"
        return f"(SELECT max(event_time) FROM {table}{until}) - INTERVAL {self._reach // MINUTE} MINUTE"

    def _latest(self) -> dt.datetime:
        """Until when an event is not in the future."""
        return self._now() + dt.timedelta(minutes=self._config.serving.ahead.value)

    def _since(self) -> float:
        """From when on segments of the log matter, in seconds since 1970; a feed that plays time itself has its own."""
        return 0.0 if self._config.feed is not None else self._latest().timestamp() - self._reach / 1e6


def _amounts(held: _Held) -> list[int]:
    """For each measure whether there is a value, and the value."""
    return [amount for value in held.values for amount in ((0, 0) if value is None else (1, value))]


def _units(value: float | None, units: int) -> int | None:
    """A measure as a whole number of units; halves are rounded away from zero, as DuckDB does."""
    if value is None or math.isnan(value):
        return None
    size = abs(value * units)
    whole = math.floor(size)
    return int(math.copysign(whole + (size - whole >= 0.5), value))


def _aggregates(window: EventWindow, n: int, v: int, x: int) -> Iterable[float]:
    total = float(x) / scale(window)
    found = {"count": float(n), "sum": total, "mean": total / v if v else math.nan}
    return [found[aggregate] for aggregate in window.aggregates]
