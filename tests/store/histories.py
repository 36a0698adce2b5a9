"""Histories of features, and the two stores that answer questions about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64

OURS, FEASTS = "ml.store.asof.AsofOfflineStore", "duckdb"
START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
INSTANT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("card", pa.string()),
        ("shop", pa.string()),
        ("event_timestamp", INSTANT),
        ("created_timestamp", INSTANT),
        ("value", pa.float64()),
        ("twin", pa.float64()),
    ]
)
CARD = Entity(name="card", join_keys=["card"], value_type=ValueType.STRING)
SHOP = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)


def a_row(card: str, hour: float, created: float, value: float, shop: str = "X") -> dict[str, Any]:
    """A row of the history; times in hours after START."""
    return {
        "card": card,
        "shop": shop,
        "event_timestamp": START + hour * HOUR,
        "created_timestamp": START + created * HOUR,
        "value": value,
        "twin": -value,
    }


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def file_source(path: Path | str, **options: Any) -> FileSource:
    options = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"} | options
    return FileSource(path=str(path), file_format=ParquetFormat(), **options)


def feature_view(
    source: FileSource, name: str = "facts", entities: tuple[Entity, ...] = (CARD,), **options: Any
) -> FeatureView:
    options = {"schema": [Field(name="value", dtype=Float64), Field(name="twin", dtype=Float64)], "ttl": None} | options
    return FeatureView(name=name, entities=list(entities), source=source, **options)


def feature_store(folder: Path, objects: list[Any], kind: str = OURS) -> FeatureStore:
    store = FeatureStore(
        config=RepoConfig(
            project="asof",
            provider="local",
            registry=str(folder / f"{kind}.db"),
            offline_store={"type": kind},
            online_store={"type": "sqlite", "path": str(folder / f"{kind}.online")},
            entity_key_serialization_version=3,
        )
    )
    store.apply(objects)
    return store


def answers_of(
    store: FeatureStore, frame: pd.DataFrame, features: Any, created: bool = True, full: bool = False
) -> pd.DataFrame:
    """The store's answers in the order of `frame`, each row of which must come back once."""
    job = store.get_historical_features(
        entity_df=frame.assign(number=range(len(frame))),
        features=features,
        full_feature_names=full,
        filter_by_created_timestamp=created,
    )
    told = job.to_df().sort_values("number", ignore_index=True)
    assert told["number"].tolist() == list(range(len(frame)))
    return told.drop(columns="number")


def same_as_feast(
    folder: Path, objects: Callable[[], list[Any]], frame: pd.DataFrame, features: Any, created: bool = True, full: bool = False
) -> pd.DataFrame:
    """The answers, once found to be cell for cell and type for type those of Feast's own store."""
    ours, theirs = (
        answers_of(feature_store(folder, objects(), kind), frame, features, created, full) for kind in (OURS, FEASTS)
    )
    pd.testing.assert_frame_equal(ours, theirs)
    return ours


def questions_at(*hours: float, card: str | list[Any] = "A") -> pd.DataFrame:
    return pd.DataFrame({"card": card, "event_timestamp": [START + hour * HOUR for hour in hours]})


def values_of(told: pd.DataFrame, name: str = "value") -> list[float | None]:
    return [None if pd.isna(value) else value for value in told[name]]
