"""An offline store for Feast on DuckDB's `ASOF JOIN`, a drop-in for Feast's own duckdb store.

Feast's store joins an event with every older row of its entity and numbers the candidates; this one sorts each side once and
walks both. It reads the same sources and answers the same values. In `feature_store.yaml`:

    offline_store:
      type: ml.store.asof.AsofOfflineStore

The join is by *availability*. With `filter_by_created_timestamp` a row can be used from max(event, created) on, otherwise from
its event time on. Ordered by availability, a row is the answer from then on exactly if no row before it has a later event
time: what was created late about the past does not replace what is newer. The rows whose event time is a running maximum are
therefore all that a join needs, and the last of them at or before an instant is the answer at that instant.

Nothing here knows the rest of this project.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import ibis
import ibis.expr.datatypes as dtypes
import pandas as pd
from feast.feature_view import FeatureView
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.duckdb import (
    DuckDBOfflineStore,
    DuckDBOfflineStoreConfig,
    _read_data_source,
    _write_data_source,
)
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig

AVAILABLE, EVENT = "__available", "__event"
UTC = dtypes.Timestamp(timezone="UTC")


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """The options of Feast's duckdb store under this store's name."""

    type: Literal["ml.store.asof.AsofOfflineStore"] = "ml.store.asof.AsofOfflineStore"


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
        """Features of each row of `entity_df` as of its event timestamp; every row comes back once.

        Raises:
            TypeError: `entity_df` is SQL; this store takes a frame, as Feast's duckdb store does.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise TypeError(f"entity_df is {type(entity_df).__name__}, expected a pandas DataFrame")
        time = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes.items()))
        instants = pd.to_datetime(entity_df[time], utc=True)
        asked = entity_df.assign(**{time: instants})
        rows = ibis.memtable(asked)
        features: list[str] = []
        for view in feature_views:
            names = [ref.split(":")[1] for ref in feature_refs if ref.startswith(f"{view.projection.name_to_use()}:")]
            prefix = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
            rows = _join(rows, time, view, names, prefix, str(config.repo_path), filter_by_created_timestamp)
            features += [prefix + name for name in names]
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        result = rows.select([*asked.columns, *features])
        for substrait in [view for view in on_demand if view.mode == "substrait"]:
            result = substrait.transform_ibis(result, full_feature_names)
        return IbisRetrievalJob(
            result,
            [view for view in on_demand if view.mode != "substrait"],
            full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in asked.columns if column != time],
                min_event_timestamp=instants.min().to_pydatetime(),
                max_event_timestamp=instants.max().to_pydatetime(),
            ),
            data_source_writer=_write_data_source,
            staging_location=config.offline_store.staging_location,
            staging_location_endpoint_override=config.offline_store.staging_location_endpoint_override,
            repo_path=str(config.repo_path),
        )


def _join(
    rows: Any, time: str, view: FeatureView, names: list[str], prefix: str, repo_path: str, filter_by_created: bool
) -> Any:
    """Left join of `rows` with the features of one view, as of `time`."""
    source = view.batch_source
    if source is None:
        raise ValueError(f"feature view {view.name!r} has no batch source to join with")
    table = _read_data_source(source, repo_path)
    table = table.rename({new: old for old, new in source.field_mapping.items() if old in table.columns})
    keys: dict[str, str] = view.projection.join_key_map or {entity.name: entity.name for entity in view.entity_columns}
    event, created = source.timestamp_field, source.created_timestamp_column or None
    usable = _usable(table, list(keys), event, created, filter_by_created)
    right = usable.select(
        **{f"__key_{i}": usable[key] for i, key in enumerate(keys)},
        **{AVAILABLE: usable[AVAILABLE], EVENT: usable[EVENT]},
        **{prefix + name: usable[name] for name in names},
    )
    joined = rows.asof_join(
        right,
        on=rows[time] >= right[AVAILABLE],
        predicates=[rows[asked] == right[f"__key_{i}"] for i, asked in enumerate(keys.values())],
    )
    return _expire(joined, time, view.ttl, [prefix + name for name in names], list(rows.columns))


def _usable(table: Any, keys: list[str], event: str, created: str | None, filter_by_created: bool) -> Any:
    """The rows that are an answer at some instant, at most one per entity and availability."""
    table = table.mutate(**{EVENT: table[event].cast(UTC)})
    order = [EVENT]
    available = table[EVENT]
    if created is not None:
        table = table.mutate(__created=table[created].cast(UTC))
        order.append("__created")
        if filter_by_created:
            table = table.filter(table["__created"].notnull())
            available = ibis.greatest(table[EVENT], table["__created"])
    table = table.mutate(**{AVAILABLE: available})
    within = ibis.window(group_by=keys, order_by=[AVAILABLE, *order])
    sofar = ibis.window(group_by=keys, order_by=[AVAILABLE, *order], preceding=None, following=0)
    table = table.mutate(
        __next=table[AVAILABLE].lead().over(within),
        __newest=table[EVENT].max().over(sofar),
    )
    last_of_its_instant = table["__next"].isnull() | (table["__next"] != table[AVAILABLE])
    return table.filter(last_of_its_instant & (table[EVENT] == table["__newest"]))


def _expire(joined: Any, time: str, ttl: timedelta | None, features: list[str], columns: list[str]) -> Any:
    """Drop the join's own columns, and the values of rows that were too old."""
    if ttl:
        fresh = joined[EVENT] + ibis.interval(ttl) >= joined[time]
        joined = joined.mutate(**{name: fresh.ifelse(joined[name], ibis.null()) for name in features})
    return joined.select([*columns, *features])
