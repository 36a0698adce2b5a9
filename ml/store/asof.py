"""An offline store for Feast on DuckDB's `ASOF JOIN`, a drop-in for Feast's own duckdb store.

Feast's store joins an event with every older row of its entity and numbers the candidates; this one sorts each side once and
walks both. It reads the same sources and answers the same values. In `feature_store.yaml`:

    offline_store:
      type: ml.store.asof.AsofOfflineStore

The join is by *availability*. With `filter_by_created_timestamp` a row can be used from max(event, created) on, otherwise from
its event time on. A row is *beaten* if another of its entity, available no later, has a later event time, or the same event
time and was created later: what is created late about the past does not replace what is newer. A beaten row is never an answer,
and of the others the last one available at an instant is the answer at that instant, which is what an ASOF join finds.

Nothing here knows the rest of this project.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import ibis
import ibis.expr.datatypes as dtypes
import pandas as pd
import pyarrow as pa
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

EVENT, CREATED, AVAILABLE = "__event", "__created", "__available"
INSTANT = dtypes.Timestamp(timezone="UTC")
NEVER = datetime.min.replace(tzinfo=UTC)


class AsofOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """The options of Feast's duckdb store under this store's name."""

    type: Literal["ml.store.asof.AsofOfflineStore"] = "ml.store.asof.AsofOfflineStore"


class AsofRetrievalJob(IbisRetrievalJob):
    """Feast's job for ibis tables with one copy of the answer less on the way to pandas."""

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
        """Features of each row of `entity_df` as of its event timestamp; every row comes back once, in no certain order.

        Raises:
            TypeError: `entity_df` is SQL; this store takes a frame, as Feast's duckdb store does.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise TypeError(f"entity_df is {type(entity_df).__name__}, expected a pandas DataFrame")
        _validate_lance_feature_views(feature_views)
        time = offline_utils.infer_event_timestamp_from_entity_df(dict(entity_df.dtypes.items()))
        instants = pd.to_datetime(entity_df[time], utc=True).dt.as_unit("us")
        span = (instants.min().to_pydatetime(), instants.max().to_pydatetime())
        asked = _in_microseconds(pa.Table.from_pandas(entity_df, preserve_index=False))
        asked = asked.set_column(asked.column_names.index(time), time, pa.array(instants))
        rows = ibis.memtable(asked)
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
                keys=[column for column in asked.column_names if column != time],
                min_event_timestamp=span[0],
                max_event_timestamp=span[1],
            ),
            data_source_writer=_write_data_source,
            staging_location=config.offline_store.staging_location,
            staging_location_endpoint_override=config.offline_store.staging_location_endpoint_override,
            repo_path=str(config.repo_path),
        )


def _in_microseconds(table: pa.Table) -> pa.Table:
    """`table` with its timestamps as DuckDB computes with them and Feast's store returns them."""
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
    """`rows` with the features of one view as of `time`, all of which lie in `span`; `features` gives names by new name."""
    asked_keys = view.projection.join_key_map or {entity.name: entity.name for entity in view.entity_columns}
    keys = {f"__key_{i}": key for i, key in enumerate(asked_keys)}
    history = _history(view, keys, features, repo_path, filter_by_created)
    first, last = span
    history = history.filter(history[EVENT] <= last)
    if view.ttl:
        history = history.filter(history[EVENT] + ibis.interval(view.ttl) >= first)
    if _may_be_beaten(history, list(keys)):
        history = _without_beaten(history, list(keys))
    joined = rows.asof_join(
        history,
        on=rows[time] >= history[AVAILABLE],
        predicates=[rows[asked] == history[key] for asked, key in zip(asked_keys.values(), keys, strict=True)],
    )
    values = {name: joined[name] for name in features}
    if view.ttl:
        fresh = joined[EVENT] + ibis.interval(view.ttl) >= joined[time]
        values = {name: fresh.ifelse(value, ibis.null()) for name, value in values.items()}
    return joined.select(*rows.columns, **values)


def _history(view: FeatureView, keys: dict[str, str], features: dict[str, str], repo_path: str, by_creation: bool) -> Table:
    """The usable rows of a view's source: keys and features under their new names, and the three times in UTC."""
    source = view.batch_source
    if source is None:
        raise ValueError(f"feature view {view.name!r} has no batch source to join with")
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


def _may_be_beaten(history: Table, keys: list[str]) -> bool:
    """Whether a row may be beaten; the answer no is certain and takes no sorting of rows.

    It is no if each event became available after all earlier events, of whichever entity, and no two rows of an entity that
    became available at once differ in creation: because availability is the time of creation, or because there are no two.
    """
    events = history.group_by(EVENT).agg(
        opened=history[AVAILABLE].min(),
        closed=history[AVAILABLE].max(),
        apart=(history[AVAILABLE] != history[CREATED]).any(),
    )
    events = events.mutate(reached=events["closed"].max().over(order_by=EVENT, rows=(None, -1)))
    told = events.aggregate(overlap=(events["opened"] <= events["reached"]).any(), apart=events["apart"].any()).to_pyarrow()
    if told["overlap"][0].as_py():
        return True
    if not told["apart"][0].as_py():
        return False
    rows = history.group_by([*keys, AVAILABLE]).agg(count=history.count())
    return bool((rows["count"] > 1).any().to_pyarrow().as_py())


def _without_beaten(history: Table, keys: list[str]) -> Table:
    """`history` without its beaten rows; of rows that tie in entity, event time and creation all stay: any of them is right."""
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
