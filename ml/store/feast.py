"""Opens a deployment's Feast store, joins features to events as of each event, and fills the online store."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from string import Template
from threading import Lock
from typing import TYPE_CHECKING

import pandas as pd
import yaml

from ml import artifacts
from ml.config import PROJECT, Config
from ml.config.names import in_feast
from ml.errors import Refused
from ml.features import history, request
from ml.features.at_events import at_events
from ml.features.history import newest_publication
from ml.store import kept
from ml.store.locations import online_store, registry

if TYPE_CHECKING:
    from feast import FeatureStore

REPOSITORY = PROJECT / "feature_repo"
FEAST, APPLIED = "feast", "applied"
JOIN = "ml.store.asof.AsofOfflineStore"
# Key of a missing entity in the online store, which needs one. Keys are stripped of blanks, so no entity has this key.
MISSING_KEY = " nobody"
# ibis has one default database per process.
_IBIS = Lock()


class RowsLost(Refused, RuntimeError):
    """The point-in-time join did not return exactly its input rows."""


@dataclass(frozen=True)
class Materialization:
    """The newest tick in the online store, by view."""

    as_of: str
    views: dict[str, str]


def feature_names(config: Config) -> list[str]:
    """All features that Feast adds to an event, in the order of the training set's columns."""
    return [*[name for window in config.windows for name in window.features], *request.names(config)]


def open_store(config: Config, joins: bool = True) -> FeatureStore:
    """The Feast store of a deployment, with its definitions applied.

    Args:
        joins: whether the history is read too; otherwise neither its files nor the libraries of the join are needed.
    """
    from feast import FeatureStore, RepoConfig

    store = artifacts.local(config)
    store.scratch(FEAST)
    text = Template((REPOSITORY / "feature_store.yaml").read_text())
    filled = text.substitute(
        PERENNIAL_NAME=config.name,
        PERENNIAL_REGISTRY=json.dumps(registry(config)),
        PERENNIAL_ONLINE_STORE=json.dumps(online_store(config)),
        PERENNIAL_OFFLINE_STORE=JOIN if joins else "file",
    )
    raw = yaml.safe_load(filled)
    for window in config.snapshot_windows if joins else []:
        history.files(config, window)  # Feast reads this machine's copies
    with store.lock(FEAST, "registry"):
        return _applied(config, FeatureStore(config=RepoConfig(**raw, repo_path=REPOSITORY)))


def _applied(config: Config, store: FeatureStore) -> FeatureStore:
    """Apply the deployment's definitions to the store if they changed; missing tables of the registry are created."""
    from feature_repo.views import definitions

    _ = store.registry
    source = (REPOSITORY / "views.py").read_text()
    digest = hashlib.sha256(f"{source}\n{config.home}\n{config.model_dump_json()}".encode()).hexdigest()
    local = artifacts.local(config)
    if not local.has(FEAST, APPLIED) or local.get(FEAST, APPLIED).read_text() != digest:
        with _quiet():
            store.apply(definitions(config))
        local.put_text(FEAST, APPLIED, digest, replace=True)
    return store


def _quiet() -> warnings.catch_warnings:
    """Suppress warnings of Feast and ibis about their own internals."""
    return warnings.catch_warnings(action="ignore")


@contextmanager
def _reading() -> Iterator[None]:
    """Suppress warnings, and free the memory of Feast's reads at the end of the block.

    ibis keeps all tables that it has read in its default database until the process ends
    (https://github.com/ibis-project/ibis/issues/11464).
    """
    import ibis

    with _IBIS:
        previous, backend = ibis.options.default_backend, ibis.duckdb.connect()
        ibis.options.default_backend = backend
        try:
            with _quiet():
                yield
        finally:
            ibis.options.default_backend = previous
            backend.disconnect()


def materialize(config: Config, as_of: dt.datetime) -> Materialization:
    """Update the online store to the newest published snapshots."""
    written: dict[str, str] = {}
    store = open_store(config)
    for window in config.snapshot_windows:
        newest = newest_publication(config, window)
        if newest is None:
            continue
        since = store.get_feature_view(window.view).most_recent_end_time or dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        if since < newest.last:
            with _reading():
                store.materialize(start_date=since, end_date=newest.last, feature_views=[window.view])
        written[window.view] = newest.last.isoformat()
    return Materialization(as_of.isoformat(), written)


def retrieve(
    config: Config, events: pd.DataFrame, as_of: dt.datetime | None = None, versions: dict[str, int] | None = None
) -> pd.DataFrame:
    """Features of each event as the scoring service would have had them at its time.

    Args:
        events: `event_id` (unique), `event_time` (UTC), the entities' keys and the measures, shape (n_rows, …).
        as_of, versions: of the lake, for the windows that end at each event; see `ml.features.at_events`.

    Returns:
        One float64 column per feature of `feature_names`, rows in the order of `events`.

    Raises:
        RowsLost: the join did not return exactly its input rows.
    """
    return kept.once(config, events, as_of, versions, lambda: _joined(config, events, as_of, versions))


def _joined(config: Config, events: pd.DataFrame, as_of: dt.datetime | None, versions: dict[str, int] | None) -> pd.DataFrame:
    from feature_repo.views import SERVICE

    recent = at_events(config, events, as_of, versions)
    if not _is_of_feast(config):
        return recent
    entity_rows = events[["event_id", "event_time", *config.entities.values(), *config.measures]].rename(columns=in_feast)
    entity_rows = pd.concat([entity_rows.reset_index(drop=True), recent], axis=1)
    entity_rows["event_timestamp"] = entity_rows["event_time"]
    store = open_store(config)
    with _reading():
        job = store.get_historical_features(
            entity_df=entity_rows, features=store.get_feature_service(SERVICE), filter_by_created_timestamp=True
        )
        features = job.to_df().set_index("event_id")
    if len(features) != len(events) or not features.index.is_unique or not features.index.isin(events["event_id"]).all():
        raise RowsLost(
            f"{len(events)} events went into the point-in-time join and {len(features)} rows with {features.index.nunique()} "
            "event ids came out; nothing was frozen"
        )
    return features.loc[events["event_id"], feature_names(config)].reset_index(drop=True).astype("float64")


def retrieve_online(config: Config, requests: list[dict[str, object]]) -> pd.DataFrame:
    """Features of requests from the online store, one row each: entity keys, measures and `event_time` go in.

    A key or a measure may be None: an entity that is missing has no history, as in `retrieve`. Windows that end at each event
    are not in the store: a request brings them, or they are missing.
    """
    from feature_repo.views import SERVICE

    at_event = [name for window in config.event_windows for name in window.features]
    recent = pd.DataFrame({n: [asked.get(n) for asked in requests] for n in at_event}, index=range(len(requests)))
    if not _is_of_feast(config):
        return recent.astype("float64")
    store = open_store(config)
    response = store.get_online_features(
        features=store.get_feature_service(SERVICE), entity_rows=[_fill_missing(config, event) for event in requests]
    )
    found = pd.DataFrame(response.to_dict()).drop(columns=at_event, errors="ignore")
    return pd.concat([found, recent], axis=1)[feature_names(config)].astype("float64")


def _is_of_feast(config: Config) -> bool:
    """Whether Feast serves any feature of the deployment."""
    return bool(config.snapshot_windows or request.names(config))


def _fill_missing(config: Config, event: dict[str, object]) -> dict[str, object]:
    """A request with Feast's names, whose missing values are replaced by values of the column's type."""
    numbers = [*config.measures, *[name for window in config.event_windows for name in window.features]]
    placeholders = dict.fromkeys(config.entities.values(), MISSING_KEY) | dict.fromkeys(numbers, math.nan)
    complete = event | {name: value for name, value in placeholders.items() if pd.isna(event.get(name))}
    return {in_feast(name): value for name, value in complete.items()}
