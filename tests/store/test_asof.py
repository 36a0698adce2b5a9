"""The ASOF join answers what a reading of all rows would, and what Feast's own store does where that is right."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
INSTANT = pa.timestamp("us", "UTC")
Keys = tuple[str, ...]
Ttl = dt.timedelta | None


def _store(
    folder: Path, rows: list[dict[str, Any]], kind: str, ttl: dt.timedelta | None, keys: tuple[str, ...]
) -> FeatureStore:
    folder.mkdir(parents=True, exist_ok=True)
    columns = pa.schema(
        [
            *[pa.field(f"the_{key}" if key == "card" else key, pa.string()) for key in keys],
            pa.field("event_timestamp", INSTANT),
            pa.field("created_timestamp", INSTANT),
            pa.field("value", pa.float64()),
        ]
    )
    renamed = [{f"the_{k}" if k == "card" else k: v for k, v in row.items()} for row in rows]
    pq.write_table(pa.Table.from_pylist(renamed, columns), folder / "rows.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="asof",
            provider="local",
            registry=str(folder / f"{kind.replace('.', '_')}.db"),
            offline_store={"type": kind},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    entities = [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in keys]
    source = FileSource(
        name="rows",
        path=str(folder / "rows.parquet"),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
        field_mapping={"the_card": "card"} if "card" in keys else None,
    )
    view = FeatureView(name="facts", entities=entities, ttl=ttl, schema=[Field(name="value", dtype=Float64)], source=source)
    store.apply([*entities, view])
    return store


def _ask(store: FeatureStore, asked: list[dict[str, Any]], created: bool) -> list[float | None]:
    frame = pd.DataFrame(asked).assign(number=range(len(asked)))
    job = store.get_historical_features(entity_df=frame, features=["facts:value"], filter_by_created_timestamp=created)
    told = job.to_df().sort_values("number")
    assert told["number"].tolist() == list(range(len(asked)))
    return [None if pd.isna(value) else value for value in told["value"]]


def _brute_force(rows: list[dict[str, Any]], asked: dict[str, Any], ttl: Ttl, created: bool, keys: Keys) -> set[float | None]:
    """All values that are right: several where two rows tie in both times."""
    now = asked["event_timestamp"]
    usable = [
        row
        for row in rows
        if all(row[key] == asked[key] for key in keys)
        and row["event_timestamp"] <= now
        and (not created or row["created_timestamp"] <= now)
        and (ttl is None or row["event_timestamp"] + ttl >= now)
    ]
    if not usable:
        return {None}
    newest = max((row["event_timestamp"], row["created_timestamp"]) for row in usable)
    return {row["value"] for row in usable if (row["event_timestamp"], row["created_timestamp"]) == newest}


hours = st.integers(0, 12)
streams = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("XY"), hours, st.integers(-3, 9)), max_size=20)
questions = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("XY"), hours), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stream=streams,
    questions=questions,
    ttl=st.sampled_from([None, dt.timedelta(hours=4), dt.timedelta(hours=1, minutes=30)]),
    created=st.booleans(),
    keys=st.sampled_from([("card",), ("card", "shop")]),
)
def test_the_join_equals_brute_force(
    stream: list,
    questions: list,
    ttl: dt.timedelta | None,
    created: bool,
    keys: tuple,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Ties, gaps, late corrections, duplicate questions, unknown entities, expired rows, one key and two, no rows at all."""
    rows = [
        {
            "card": card,
            "shop": shop,
            "event_timestamp": START + hour * HOUR,
            "created_timestamp": START + (hour + later) * HOUR,
            "value": float(number),
        }
        for number, (card, shop, hour, later) in enumerate(stream)
    ]
    asked = [{"card": card, "shop": shop, "event_timestamp": START + hour * HOUR} for card, shop, hour in questions]
    store = _store(
        tmp_path_factory.mktemp("asof"),
        [{k: v for k, v in row.items() if k in (*keys, "event_timestamp", "created_timestamp", "value")} for row in rows],
        "ml.store.asof.AsofOfflineStore",
        ttl,
        keys,
    )
    for question, answer in zip(asked, _ask(store, asked, created), strict=True):
        assert answer in _brute_force(rows, question, ttl, created, keys)


@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize("ttl", [None, dt.timedelta(hours=48)])
def test_on_clean_data_both_stores_say_the_same(tmp_path: Path, created: bool, ttl: dt.timedelta | None) -> None:
    rows = [
        {
            "card": f"C{card}",
            "event_timestamp": START + hour * HOUR,
            "created_timestamp": START + (hour + 1) * HOUR,
            "value": float(100 * card + hour),
        }
        for card in range(20)
        for hour in range(card % 5, 200, 1 + card)
    ]
    asked = [{"card": f"C{i % 22}", "event_timestamp": START + (i * 7 % 300) * HOUR / 2} for i in range(400)]
    ours, theirs = (
        _ask(_store(tmp_path / kind, rows, kind, ttl, ("card",)), asked, created)
        for kind in ("ml.store.asof.AsofOfflineStore", "duckdb")
    )
    assert ours == theirs


def test_a_value_created_in_the_future_is_not_in_the_past(tmp_path: Path) -> None:
    """A correction of yesterday's value, made tomorrow, is not what was known today."""
    yesterday = {"card": "A", "event_timestamp": START, "created_timestamp": START + HOUR, "value": 1.0}
    correction = yesterday | {"created_timestamp": START + 48 * HOUR, "value": 2.0}
    store = _store(tmp_path, [yesterday, correction], "ml.store.asof.AsofOfflineStore", None, ("card",))
    asked = [{"card": "A", "event_timestamp": START + hour * HOUR} for hour in (0, 1, 47, 48)]
    assert _ask(store, asked, created=True) == [None, 1.0, 1.0, 2.0]


def test_a_late_word_about_the_past_does_not_replace_what_is_newer(tmp_path: Path) -> None:
    newer = {"card": "A", "event_timestamp": START + 5 * HOUR, "created_timestamp": START + 6 * HOUR, "value": 5.0}
    late = {"card": "A", "event_timestamp": START + 2 * HOUR, "created_timestamp": START + 9 * HOUR, "value": 2.0}
    store = _store(tmp_path, [newer, late], "ml.store.asof.AsofOfflineStore", None, ("card",))
    asked = [{"card": "A", "event_timestamp": START + hour * HOUR} for hour in (6, 9, 20)]
    assert _ask(store, asked, created=True) == [5.0, 5.0, 5.0]


def test_sql_for_entities_is_refused(tmp_path: Path) -> None:
    store = _store(tmp_path, [], "ml.store.asof.AsofOfflineStore", None, ("card",))
    with pytest.raises(TypeError, match="expected a pandas DataFrame"):
        store.get_historical_features(entity_df="SELECT 1", features=["facts:value"])
