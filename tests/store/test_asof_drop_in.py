"""Whoever uses Feast's duckdb store can name ours instead: keys, names, types, time zones and the other ways to read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, Field, RequestSource, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Float64, Int64, String

from ml.store.asof import AsofOfflineStore
from tests.store.histories import (
    CARD,
    HOUR,
    SCHEMA,
    START,
    a_row,
    answers_of,
    feature_store,
    feature_view,
    file_source,
    questions_at,
    same_as_feast,
    values_of,
    write,
)


def test_one_view_under_two_names_and_keys_is_two_sets_of_features(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0), a_row("B", 0, 1, 2.0)])
    view = feature_view(file_source(tmp_path / "rows.parquet"))
    service = FeatureService(
        name="pair",
        features=[
            view.with_name("sender").with_join_key_map({"card": "sent_by"})[["value"]],
            view.with_name("receiver").with_join_key_map({"card": "sent_to"}),
        ],
    )
    frame = pd.DataFrame({"sent_by": ["A", "B", "C"], "sent_to": ["B", "A", "A"], "event_timestamp": START + 2 * HOUR})
    told = same_as_feast(tmp_path, lambda: [CARD, view, service], frame, service, full=True)
    assert values_of(told, "sender__value") == [1.0, 2.0, None]
    assert values_of(told, "receiver__twin") == [-2.0, -1.0, -1.0]


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    names = {"card_id": "card", "at": "event_timestamp", "written": "created_timestamp", "amount": "value"}
    theirs = {new: old for old, new in names.items()}
    schema = pa.schema([field.with_name(theirs.get(field.name, field.name)) for field in SCHEMA])
    row = {theirs.get(name, name): value for name, value in a_row("A", 0, 1, 1.0).items()}
    write(tmp_path / "rows.parquet", [row], schema)
    view = feature_view(file_source(tmp_path / "rows.parquet", field_mapping=names))
    told = same_as_feast(tmp_path, lambda: [CARD, view], questions_at(0, 1), ["facts:value", "facts:twin"])
    assert values_of(told) == [None, 1.0]


def test_on_demand_features_are_computed_from_the_answers(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 2.0)])
    view = feature_view(file_source(tmp_path / "rows.parquet"))
    request = RequestSource(name="request", schema=[Field(name="amount", dtype=Float64)])
    ratio = OnDemandFeatureView(
        name="ratio",
        sources=[view, request],
        schema=[Field(name="share", dtype=Float64)],
        feature_transformation=PandasTransformation(
            udf=lambda inputs: pd.DataFrame({"share": inputs["amount"] / inputs["value"]}),
            udf_string="def share(inputs):\n    return (inputs['amount'] / inputs['value']).to_frame('share')\n",
        ),
        mode="pandas",
    )
    frame = questions_at(0, 1).assign(amount=[5.0, 6.0])
    told = same_as_feast(tmp_path, lambda: [CARD, view, ratio], frame, ["facts:value", "ratio:share"])
    assert values_of(told, "share") == [None, 3.0]


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.date_range("2025-01-01", periods=4, freq="h", tz="America/New_York")),
        pd.Series(pd.date_range("2025-01-01", periods=4, freq="h")),
        pd.Series(pd.date_range("2025-01-01", periods=4, freq="h", unit="us")),
        pd.Series(["2025-01-01T00:00:00+05:00", "2025-01-01T00:59:59Z", "2025-01-01T01:00:00Z", "2025-01-01T03:00:00+01:00"]),
    ],
    ids=["zone", "naive", "microseconds", "text"],
)
def test_the_questions_may_tell_their_time_in_any_zone(tmp_path: Path, times: pd.Series) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", hour, hour + 1, float(hour)) for hour in range(12)])
    frame = pd.DataFrame({"card": "A", "event_timestamp": times})
    told = same_as_feast(tmp_path, lambda: [CARD, feature_view(file_source(tmp_path / "rows.parquet"))], frame, ["facts:value"])
    instants = pd.to_datetime(times, utc=True)
    late = [(instant - START) // HOUR - 1 for instant in instants]
    assert values_of(told) == [None if hour < 0 else float(hour) for hour in late]


def test_a_nanosecond_before_is_before(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0)])
    at = pd.Timestamp(START + HOUR)
    frame = pd.DataFrame({"card": "A", "event_timestamp": [at - pd.Timedelta(1, "ns"), at]})
    told = answers_of(
        feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"))]),
        frame,
        ["facts:value"],
    )
    assert values_of(told) == [None, 1.0]


@pytest.mark.parametrize("unit", [pa.timestamp("us"), pa.timestamp("ms", "Asia/Tokyo")])
def test_the_history_may_tell_its_time_in_any_zone(tmp_path: Path, unit: pa.DataType) -> None:
    """A time without a zone is UTC."""
    schema = SCHEMA
    for name in ("event_timestamp", "created_timestamp"):
        schema = schema.set(schema.get_field_index(name), pa.field(name, unit))
    table = pa.Table.from_pylist([a_row("A", 0, 1, 1.0)], SCHEMA).cast(schema)
    pq.write_table(table, tmp_path / "rows.parquet")
    told = same_as_feast(
        tmp_path,
        lambda: [CARD, feature_view(file_source(tmp_path / "rows.parquet"))],
        questions_at(0.99, 1),
        ["facts:value"],
    )
    assert values_of(told) == [None, 1.0]


def test_a_question_without_an_entity_has_no_answer(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0), a_row("A", 0, 1, 2.0) | {"card": None}])
    frame = questions_at(1, 1, 1, card=["A", None, np.nan])
    told = same_as_feast(tmp_path, lambda: [CARD, feature_view(file_source(tmp_path / "rows.parquet"))], frame, ["facts:value"])
    assert values_of(told) == [1.0, None, None]


def test_a_question_without_a_time_has_no_answer(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0)])
    frame = questions_at(1, 2).assign(event_timestamp=[START + HOUR, pd.NaT])
    view = feature_view(file_source(tmp_path / "rows.parquet"), ttl=24 * HOUR)
    assert values_of(same_as_feast(tmp_path, lambda: [CARD, view], frame, ["facts:value"])) == [
        1.0,
        None,
    ]


def test_a_view_without_entities_answers_every_question(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 5, 6, 2.0), a_row("B", 0, 7, 1.0), a_row("B", 8, 9, 3.0)])
    view = feature_view(file_source(tmp_path / "rows.parquet"), entities=())
    told = same_as_feast(tmp_path, lambda: [view], questions_at(5, 7, 9, card=["A", "B", "C"]), ["facts:value"])
    assert values_of(told) == [None, 2.0, 3.0]


@pytest.mark.parametrize("keys", [[1, 2, 3], [1.0, np.nan, 3.0]], ids=["whole", "with gaps"])
def test_entities_may_be_numbers(tmp_path: Path, keys: list[float]) -> None:
    schema = SCHEMA.set(0, pa.field("card", pa.int64()))
    write(
        tmp_path / "rows.parquet",
        [a_row("", 0, 1, 1.0) | {"card": 1}, a_row("", 0, 1, 3.0) | {"card": 3}],
        schema,
    )
    card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
    view = feature_view(file_source(tmp_path / "rows.parquet"), entities=(card,))
    told = same_as_feast(tmp_path, lambda: [card, view], questions_at(1, 1, 1, card=keys), ["facts:value"])
    assert values_of(told) == [1.0, None, 3.0]


def test_features_keep_their_types(tmp_path: Path) -> None:
    schema = pa.schema([*SCHEMA, ("count", pa.int64()), ("label", pa.string()), ("flag", pa.bool_())])
    extra = {"count": 2**53 + 1, "label": "x", "flag": True}
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0) | extra], schema)
    fields = [Field(name="count", dtype=Int64), Field(name="label", dtype=String)]
    view = feature_view(file_source(tmp_path / "rows.parquet"), schema=fields, ttl=24 * HOUR)
    told = same_as_feast(tmp_path, lambda: [CARD, view], questions_at(1, 25), ["facts:count", "facts:label"])
    assert told["label"].tolist() == ["x", None]
    alone = same_as_feast(tmp_path, lambda: [CARD, view], questions_at(1), ["facts:count"])
    assert alone["count"].tolist() == [2**53 + 1]


def test_what_is_asked_comes_back_in_the_types_of_feasts_store(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0)])
    frame = questions_at(1, 2, 3).assign(
        at=pd.Series(pd.date_range("2025-01-01 00:00:00.123456", periods=3, freq="h")),
        kind=pd.Series(["a", None, "b"], dtype="category"),
        count=pd.Series([1, None, 3], dtype="Int64"),
        small=pd.Series([1, 2, 3], dtype="int32"),
        text=pd.Series(["a", None, "b"], dtype="string"),
        flag=pd.Series([True, None, False]),
        day=dt.date(2025, 1, 1),
    )
    told = same_as_feast(tmp_path, lambda: [CARD, feature_view(file_source(tmp_path / "rows.parquet"))], frame, ["facts:value"])
    assert told.columns.tolist() == [*frame.columns, "value"]


def test_an_empty_history_answers_nothing_and_no_questions_get_no_answers(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [])
    store = feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"), ttl=HOUR)])
    assert values_of(answers_of(store, questions_at(1, 2), ["facts:value"])) == [None, None]
    assert answers_of(store, questions_at(1).head(0), ["facts:value"]).columns.tolist() == [
        "card",
        "event_timestamp",
        "value",
    ]


def test_the_callers_frame_is_left_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0)])
    frame = pd.DataFrame({"card": ["A"], "event_timestamp": ["2025-01-02"], "number": [0]})
    before = frame.copy()
    feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"))]).get_historical_features(
        frame, ["facts:value"]
    ).to_df()
    pd.testing.assert_frame_equal(frame, before)


def test_answers_are_saved_as_a_data_set(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 1, 1.0), a_row("A", 5, 5, 2.0)])
    store = feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"))])
    job = store.get_historical_features(questions_at(1, 5), ["facts:value"], filter_by_created_timestamp=True)
    store.create_saved_dataset(job, "saved", SavedDatasetFileStorage(path=str(tmp_path / "saved.parquet")))
    assert sorted(pq.read_table(tmp_path / "saved.parquet")["value"].to_pylist()) == [1.0, 2.0]


LATEST = [
    a_row("A", 1, 2, 1.0),
    a_row("A", 5, 6, 3.0),
    a_row("A", 5, 9, 4.0),
    a_row("A", 3, 12, 2.0),
    a_row("A", 20, 20, 5.0),
    a_row("B", 0, 30, 6.0),
]


def _pulled(job: Any) -> list[tuple[str, float]]:
    return sorted(job.to_df()[["card", "value"]].itertuples(index=False, name=None))


def test_the_latest_values_are_those_of_the_last_event_and_of_its_last_creation(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", LATEST)
    source = file_source(tmp_path / "rows.parquet")
    config = feature_store(tmp_path, [CARD, feature_view(source)]).config
    names = (["card"], ["value"], "event_timestamp", "created_timestamp")
    latest = AsofOfflineStore.pull_latest_from_table_or_query(config, source, *names, START, START + 19 * HOUR)
    assert _pulled(latest) == [("A", 4.0), ("B", 6.0)]
    span = {"start_date": START + HOUR, "end_date": START + 5 * HOUR}
    every = AsofOfflineStore.pull_all_from_table_or_query(config, source, *names, **span)
    assert _pulled(every) == [("A", 1.0), ("A", 2.0), ("A", 3.0), ("A", 4.0)]


def test_what_is_materialized_is_the_latest(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", LATEST)
    store = feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"), online=True)])
    store.materialize(START, START + 19 * HOUR)
    told = store.get_online_features(["facts:value"], [{"card": "A"}, {"card": "B"}, {"card": "C"}]).to_dict()
    assert told["value"] == [4.0, 6.0, None]


def test_sql_for_entities_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [])
    store = feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"))])
    with pytest.raises(TypeError, match="expected a pandas DataFrame"):
        store.get_historical_features(entity_df="SELECT 1", features=["facts:value"])
