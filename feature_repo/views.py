"""Feast entities, feature views and the feature service of a deployment, derived from its `windows` and `request` sections.

`ml.store.feast.open_store` applies them to the deployment's registry whenever they have changed.
"""

from __future__ import annotations

from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.data_format import ParquetFormat
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Float64, Int64, UnixTimestamp

from ml.config import Config, Window
from ml.config.names import in_feast
from ml.features import request
from ml.features.catalogue import REQUEST, catalogue
from ml.features.history import folder

SERVICE = "model_input"
TYPES = {"int64": Int64, "double": Float64}

# Feast keeps this text in its registry and makes the function from it again, without our imports.
CALL = """
def request(inputs):
    from ml.features.request import compute
    return compute(inputs, {clock!r}, {timezone!r}, {compared!r})
"""


def definitions(config: Config) -> list[Any]:
    """All objects that Feast needs to know of a deployment."""
    keys = {name: in_feast(key) for name, key in config.entities.items()}
    entities = {name: Entity(name=name, join_keys=[key], value_type=ValueType.STRING) for name, key in keys.items()}
    views = [_view(config, window, entities[window.entity]) for window in config.snapshot_windows]
    served = [*views, *_on_demand(config, {view.name: view for view in views})]
    service = [FeatureService(name=SERVICE, features=served)] if served else []
    return [*entities.values(), *served, *service]


def _view(config: Config, window: Window, entity: Entity) -> FeatureView:
    return FeatureView(
        name=window.view,
        entities=[entity],
        ttl=None,
        schema=_fields(config, window.view),
        source=FileSource(
            name=f"{window.view}_published",
            path=str(folder(config, window) / "*.parquet"),
            file_format=ParquetFormat(),
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        online=True,
    )


def _on_demand(config: Config, views: dict[str, FeatureView]) -> list[OnDemandFeatureView]:
    """What is computed from the event itself, if anything is: the same function in training and in serving.

    The view says what its fields mean: Feast infers these from the function's answer and takes a described one for another.
    """
    needed = {window.view for window in config.snapshot_windows for name in config.request.ratios if name in window.features}
    clock, timezone, compared = config.request.clock, config.events.timezone, request.ratios(config)
    fields = _fields(config, REQUEST)
    if not fields:
        return []
    at_events = [name for window in config.event_windows for name in config.request.ratios if name in window.features]
    numbers = [Field(name=name, dtype=Float64) for name in (*map(in_feast, config.measures), *at_events)]
    view = OnDemandFeatureView(
        name=REQUEST,
        sources=[
            RequestSource(name="event", schema=[Field(name="event_time", dtype=UnixTimestamp), *numbers]),
            *[views[name] for name in sorted(needed)],
        ],
        schema=[Field(name=field.name, dtype=field.dtype) for field in fields],
        description="; ".join(f"{field.name}: {field.description}" for field in fields),
        feature_transformation=PandasTransformation(
            udf=lambda inputs: request.compute(inputs, clock, timezone, compared),
            udf_string=CALL.format(clock=clock, timezone=timezone, compared=compared),
        ),
        mode="pandas",
    )
    return [view]


def _fields(config: Config, view: str) -> list[Field]:
    return [Field(name=f.name, dtype=TYPES[f.type], description=f.description) for f in catalogue(config) if f.view == view]
