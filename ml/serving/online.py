"""Features from the online store: what is resolved once is resolved at the start, and one read a view is left for a request.

Feast's own `get_online_features` resolves the service at each call (https://github.com/feast-dev/feast/issues/3440), raises
while a view is materializing (https://github.com/feast-dev/feast/issues/6780) and says no age
(https://github.com/feast-dev/feast/issues/6821). Here its online store is read below that, view by view, and ages are kept.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.config import Config, Window
from ml.config.names import in_feast
from ml.features import request
from ml.store.feast import MISSING_KEY, open_store

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.infra.online_stores.online_store import OnlineStore

Event = Mapping[str, Any]
NO_SNAPSHOT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""What Feast's Redis store says of an entity that it does not have; its SQLite store says None."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of some events: arrays of shape (n_events,) by name, NaN if missing, and the instants of the snapshots by view.

    `is_fallback` says that the store did not answer, so that all windows are those of an entity without events.
    """

    columns: dict[str, np.ndarray]
    snapshots: dict[str, list[dt.datetime | None]]
    is_fallback: bool

    def joined(self, columns: dict[str, np.ndarray]) -> Features:
        """These features and further ones."""
        return Features(self.columns | columns, self.snapshots, self.is_fallback)

    def rows(self, start: int, end: int) -> Features:
        """The features of some of the events."""
        columns = {name: values[start:end] for name, values in self.columns.items()}
        return Features(columns, {view: all_[start:end] for view, all_ in self.snapshots.items()}, self.is_fallback)

    def take(self, rows: Sequence[int]) -> Features:
        """The features of the events in these places."""
        columns = {name: values[list(rows)] for name, values in self.columns.items()}
        snapshots = {view: [all_[row] for row in rows] for view, all_ in self.snapshots.items()}
        return Features(columns, snapshots, self.is_fallback)


class OnlineFeatures:
    """A reader of the online store; each thread that reads has a connection of its own."""

    def __init__(self, config: Config) -> None:
        store = open_store(config, joins=False)
        self._config, self._repository = config, store.config
        self._views = [_View.of(config, window, store.get_feature_view(window.view)) for window in config.snapshot_windows]
        self._ratios = request.ratios(config)
        self._threads = threading.local()
        if store.config.online_store.type == "sqlite":
            _let_readers_read(str(store.config.online_store.path))

    def read(self, events: Sequence[Event]) -> Features:
        """The windows of events; blocks as long as the store takes."""
        columns: dict[str, np.ndarray] = {}
        snapshots: dict[str, list[dt.datetime | None]] = {}
        for view in self._views:
            keys = [view.key(event) for event in events]
            # A list of its own: Feast's Redis store appends to the one that it is given.
            rows = self._store.online_read(self._repository, view.feast, keys, list(view.features))
            snapshots[view.name] = [None if instant == NO_SNAPSHOT else instant for instant, _ in rows]
            for name in view.features:
                columns[name] = np.array([_number(values, name) for _, values in rows], dtype=np.float64)
        return Features(columns, snapshots, is_fallback=False)

    def unknown(self, events: Sequence[Event]) -> Features:
        """The windows of entities that have no history."""
        columns = {name: np.full(len(events), np.nan) for view in self._views for name in view.features}
        return Features(columns, {view.name: [None] * len(events) for view in self._views}, is_fallback=True)

    def complete(self, events: Sequence[Event], features: Features) -> dict[str, np.ndarray]:
        """All columns that a model may take: the event's own, its windows, and what is computed from both."""
        config = self._config
        columns = {name: _numbers(events, name) for name in config.measures}
        columns |= {name: _texts(events, name) for name in config.categories}
        numbers = features.columns | {in_feast(name): columns[name] for name in config.measures}
        times = [event["event_time"] for event in events]
        computed = request.compute_few(times, numbers, config.request.clock, config.events.timezone, self._ratios)
        return columns | features.columns | computed

    @property
    def _store(self) -> OnlineStore:
        from feast.infra.online_stores.helpers import get_online_store_from_config

        if not hasattr(self._threads, "store"):
            self._threads.store = get_online_store_from_config(self._repository.online_store)
        store: OnlineStore = self._threads.store
        return store


@dataclass(frozen=True, eq=False)
class _View:
    """A view of the store with what its reads need: its name, its features, and the column of its entity."""

    feast: FeatureView
    name: str
    features: list[str]
    column: str

    @classmethod
    def of(cls, config: Config, window: Window, view: FeatureView) -> _View:
        return cls(view, window.view, window.features, config.entities[window.entity])

    def key(self, event: Event) -> Any:
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        key = event.get(self.column)
        value = Value(string_val=MISSING_KEY if key is None else key)
        return EntityKey(join_keys=[in_feast(self.column)], entity_values=[value])


def _number(values: Mapping[str, Any] | None, name: str) -> float:
    value = (values or {}).get(name)
    kind = value.WhichOneof("val") if value is not None else None
    return float(getattr(value, kind)) if kind else float("nan")


def _numbers(events: Sequence[Event], name: str) -> np.ndarray:
    return np.array([np.nan if event.get(name) is None else event[name] for event in events], dtype=np.float64)


def _texts(events: Sequence[Event], name: str) -> np.ndarray:
    return np.array([event.get(name) or "" for event in events], dtype=object)


def _let_readers_read(path: str) -> None:
    """Switch the file to write-ahead logging, so that a materialization does not lock readers out; the file remembers it."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
