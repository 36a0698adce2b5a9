"""An offline store for Feast on DuckDB's `ASOF JOIN`, a drop-in for Feast's own duckdb store.

Feast's store joins an event with every older row of its entity and ranks the candidates; this store sorts each side once and
merges them. It reads the same sources and returns the same values. In `feature_store.yaml`:

    offline_store:
      type: ml.store.asof.AsofOfflineStore

The join is by *availability*. With `filter_by_created_timestamp` a row can be used from max(event, created) on, otherwise from
its event time on. A row is *superseded* if another row of its entity, available no later, has a later event time, or the same
event time and a later creation: a row created late about the past does not replace a newer one. A superseded row is never the
result, and of the others the last one available at an instant is the result, which is what an ASOF join finds.

This module does not depend on the rest of the project.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import ibis
import ibis.expr.datatypes as dtypes
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.feature_view import FeatureView
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.duckdb import (
    DuckDBOfflineStore,
    DuckDBOfflineStoreConfig,
    _read_data_source,
    _validate_lance_feature_views,
    _write_data_source,
)
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from feast.saved_dataset import ValidationReference
from ibis.expr.types import Table

from ml.errors import BadInput

EVENT, CREATED, AVAILABLE = "__event", "__created", "__available"
INSTANT = dtypes.Timestamp(timezone="UTC")
NEVER = datetime.min.replace(tzinfo=UTC)
OLDER = 0.5
"""Share of a history from which on a second join is cheaper than its rows of before."""


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """The options of Feast's duckdb store under this store's name."""

    type: Literal["ml.store.asof.AsofOfflineStore"] = "ml.store.asof.AsofOfflineStore"


class AsofRetrievalJob(IbisRetrievalJob):
    """Feast's job for ibis tables with one copy less on the way to pandas."""

    def to_df(self, validation_reference: ValidationReference | None = None, timeout: int | None = None) -> pd.DataFrame:
        return self.to_arrow(validation_reference=validation_reference, timeout=timeout).to_pandas()


class AsofOfflineStore(DuckDBOfflineStore):
    """Feast's duckdb store with another point-in-time join; all else is inherited."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """Features of each row of `entity_df` as of its event timestamp; every row is returned once, in any order.

        Raises:
            TypeError: `entity_df` is SQL; this store takes a frame, as Feast's duckdb store does.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise TypeError(f"entity_df is {type(entity_df).__name__}, expected a pandas DataFrame")
        _validate_lance_feature_views(feature_views)
        time = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes.items()))
        instants = pd.to_datetime(entity_df[time], utc=True).dt.as_unit("us")
        span = (instants.min().to_pydatetime(), instants.max().to_pydatetime())
        entity_table = _in_microseconds(pa.Table.from_pandas(entity_df, preserve_index=False))
        entity_table = entity_table.set_column(entity_table.column_names.index(time), time, pa.array(instants))
        rows = ibis.memtable(entity_table)
        for view in feature_views:
            names = [ref.split(":")[1] for ref in feature_refs if ref.startswith(f"{view.projection.name_to_use()}:")]
            prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
            features = {prefix + name: name for name in names}
            rows = _join(rows, time, span, view, features, str(config.repo_path), filter_by_created_timestamp)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        for substrait in [view for view in on_demand if view.mode == "substrait"]:
            rows = substrait.transform_ibis(rows, full_feature_names)
        return AsofRetrievalJob(
            rows,
            [view for view in on_demand if view.mode != "substrait"],
            full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in entity_table.column_names if column != time],
                min_event_timestamp=span[0],
                max_event_timestamp=span[1],
            ),
            data_source_writer=_write_data_source,
            staging_location=config.offline_store.staging_location,
            staging_location_endpoint_override=config.offline_store.staging_location_endpoint_override,
            repo_path=str(config.repo_path),
        )


def _in_microseconds(table: pa.Table) -> pa.Table:
    """`table` with timestamps in microseconds, as DuckDB and Feast's store use them."""
    units = [
        field.with_type(pa.timestamp("us", field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(units), safe=False)


def _join(
    rows: Table,
    time: str,
    span: tuple[datetime, datetime],
    view: FeatureView,
    features: dict[str, str],
    repo_path: str,
    filter_by_created: bool,
) -> Table:
    """`rows` with the features of one view as of `time`, all of which lie in `span`; `features` maps new names to names."""
    entity_keys = view.projection.join_key_map or {entity.name: entity.name for entity in view.entity_columns}
    keys = {f"__key_{i}": key for i, key in enumerate(entity_keys)}
    history = _history(view, keys, features, repo_path, filter_by_created)
    first, last = span
    history = history.filter(history[EVENT] <= last)
    if view.ttl:
        history = history.filter(history[EVENT] + ibis.interval(view.ttl) >= first)
    predicates = list(zip(entity_keys.values(), keys, strict=True))
    ticks = _ticks(history)
    if _may_be_superseded(history, list(keys), ticks):
        history = _drop_superseded(history, list(keys))
    elif (since := _begin_of_recent(ticks, first)) is not None:
        history = _with_older_of_missing(rows, time, history, predicates, since)
    joined = _asof(rows, time, history, predicates)
    values = {name: joined[name] for name in features}
    if view.ttl:
        fresh = joined[EVENT] + ibis.interval(view.ttl) >= joined[time]
        values = {name: fresh.ifelse(value, ibis.null()) for name, value in values.items()}
    return joined.select(*rows.columns, **values)


def _history(view: FeatureView, keys: dict[str, str], features: dict[str, str], repo_path: str, by_creation: bool) -> Table:
    """The usable rows of a view's source: keys and features under their new names, and the three times in UTC."""
    source = view.batch_source
    if source is None:
        raise BadInput(f"feature view {view.name!r} has no batch source to join with")
    table = _read_data_source(source, repo_path)
    table = table.rename({new: old for old, new in source.field_mapping.items() if old in table.columns})
    event = created = available = table[source.timestamp_field].cast(INSTANT)
    if source.created_timestamp_column:
        created = table[source.created_timestamp_column].cast(INSTANT)
        if by_creation:
            available = created.isnull().ifelse(ibis.null(), ibis.greatest(event, created))
    times = {EVENT: event, CREATED: created.fill_null(NEVER), AVAILABLE: available}
    history = table.select(**{new: table[name] for new, name in (keys | features).items()}, **times)
    return history.drop_null([EVENT, AVAILABLE])


def _asof(rows: Table, time: str, history: Table, predicates: list[tuple[str, str]]) -> Table:
    """Each row with the last row of its keys' history that is available at its time."""
    equal = [rows[entity_key] == history[key] for entity_key, key in predicates]
    return rows.asof_join(history, on=rows[time] >= history[AVAILABLE], predicates=equal)


def _ticks(history: Table) -> pa.Table:
    """The distinct event times, in order: their rows, when these became available, and whether any was created otherwise."""
    events = history.group_by(EVENT).agg(
        rows=history.count(),
        first_available=history[AVAILABLE].min(),
        last_available=history[AVAILABLE].max(),
        differs=(history[AVAILABLE] != history[CREATED]).any(),
    )
    return events.order_by(EVENT).to_pyarrow()


def _may_be_superseded(history: Table, keys: list[str], ticks: pa.Table) -> bool:
    """Whether a row may be superseded; False is certain, and needs no sorting of rows.

    It is False if each event became available after all earlier events of all entities, and no two rows of an entity with equal
    availability differ in creation, because availability equals creation or because there are no two such rows.
    """
    first, last = (ticks[name].cast(pa.int64()).to_numpy() for name in ("first_available", "last_available"))
    if (first[1:] <= np.maximum.accumulate(last)[:-1]).any():
        return True
    if not pc.any(ticks["differs"]).as_py():
        return False
    rows = history.group_by([*keys, AVAILABLE]).agg(count=history.count())
    return bool((rows["count"] > 1).any().to_pyarrow().as_py())


def _begin_of_recent(ticks: pa.Table, first: datetime) -> datetime | None:
    """The newest event time all of whose rows were available at an instant; None unless most rows are older."""
    if pd.isna(first):
        return None
    available = pc.less_equal(ticks["last_available"], pa.scalar(first, ticks["last_available"].type))
    since = pc.max(ticks[EVENT].filter(available))
    older = pc.sum(ticks["rows"].filter(pc.less(ticks[EVENT], since))).as_py() or 0
    return since.as_py() if older > OLDER * sum(ticks["rows"].to_pylist()) else None


def _with_older_of_missing(rows: Table, time: str, history: Table, predicates: list[tuple[str, str]], since: datetime) -> Table:
    """`history` from an event time on, all of which was available at all rows, and what is older of the keys that it lacks.

    A part of a long table then takes the newest snapshots and not all that were ever published.
    """
    recent = history.filter(history[EVENT] >= since)
    asked = rows.select(time, *dict.fromkeys(entity_key for entity_key, _ in predicates))
    joined = _asof(asked, time, recent, predicates)
    lacking = joined.filter(joined[EVENT].isnull()).select(**{key: joined[entity_key] for entity_key, key in predicates})
    missing = lacking.distinct().to_pyarrow()
    if not missing.num_rows:
        return recent
    older = history.filter(history[EVENT] < since).semi_join(ibis.memtable(missing), [key for _, key in predicates])
    return recent.union(older)


def _drop_superseded(history: Table, keys: list[str]) -> Table:
    """`history` without superseded rows; rows that tie in entity, event time and creation all stay, as any of them is right."""
    identity = [*keys, AVAILABLE, EVENT, CREATED]
    rows = history.select(identity)
    order = {"group_by": keys, "order_by": [AVAILABLE, EVENT, CREATED]}
    rows = rows.mutate(
        **{f"next{time}": rows[time].lead().over(**order) for time in (AVAILABLE, EVENT, CREATED)},
        newest=rows[EVENT].max().over(**order, rows=(None, 0)),
    )
    at_once = (rows["next" + AVAILABLE] == rows[AVAILABLE]) & (
        (rows["next" + EVENT] != rows[EVENT]) | (rows["next" + CREATED] != rows[CREATED])
    )
    return history.anti_join(rows.filter(at_once | (rows[EVENT] < rows["newest"])), identity)
