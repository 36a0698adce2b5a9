"""The ASOF join answers what a reading of all rows would, and what Feast's own store does where that is right."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, RequestSource, ValueType
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Float64, Int64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.store.asof import AVAILABLE, CREATED, EVENT, AsofOfflineStore, _may_be_beaten, _without_beaten

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
TTLS = [None, dt.timedelta(hours=4), dt.timedelta(hours=1, minutes=30, seconds=1)]
KEYS = [("card",), ("card", "shop")]
CARD = Entity(name="card", join_keys=["card"], value_type=ValueType.STRING)
SHOP = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)


def _row(card: str, hour: float, created: float, value: float, shop: str = "X") -> dict[str, Any]:
    """A row of the history; times in hours after START."""
    return {
        "card": card,
        "shop": shop,
        "event_timestamp": START + hour * HOUR,
        "created_timestamp": START + created * HOUR,
        "value": value,
        "twin": -value,
    }


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def _source(path: Path | str, **options: Any) -> FileSource:
    options = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"} | options
    return FileSource(path=str(path), file_format=ParquetFormat(), **options)


def _view(source: FileSource, name: str = "facts", entities: tuple[Entity, ...] = (CARD,), **options: Any) -> FeatureView:
    options = {"schema": [Field(name="value", dtype=Float64), Field(name="twin", dtype=Float64)], "ttl": None} | options
    return FeatureView(name=name, entities=list(entities), source=source, **options)


def _store(folder: Path, objects: list[Any], kind: str = OURS) -> FeatureStore:
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


def _answers(store: FeatureStore, frame: pd.DataFrame, features: Any, created: bool = True, full: bool = False) -> pd.DataFrame:
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


def _same_as_feast(
    folder: Path, objects: Callable[[], list[Any]], frame: pd.DataFrame, features: Any, created: bool = True, full: bool = False
) -> pd.DataFrame:
    """The answers, once found to be cell for cell and type for type those of Feast's own store."""
    ours, theirs = (_answers(_store(folder, objects(), kind), frame, features, created, full) for kind in (OURS, FEASTS))
    pd.testing.assert_frame_equal(ours, theirs)
    return ours


def _asked(*hours: float, card: str | list[Any] = "A") -> pd.DataFrame:
    return pd.DataFrame({"card": card, "event_timestamp": [START + hour * HOUR for hour in hours]})


def _values(told: pd.DataFrame, name: str = "value") -> list[float | None]:
    return [None if pd.isna(value) else value for value in told[name]]


def _brute_force(
    rows: list[dict[str, Any]], asked: dict[str, Any], ttl: dt.timedelta | None, created: bool, keys: tuple[str, ...]
) -> set[float | None]:
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
    newest = max(((row["event_timestamp"], row["created_timestamp"]) for row in usable), default=None)
    return {row["value"] for row in usable if (row["event_timestamp"], row["created_timestamp"]) == newest} or {None}


hours = st.integers(0, 12)
any_stream = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("XY"), hours, st.integers(-3, 9)), max_size=20)
orderly_stream = st.lists(
    st.tuples(st.sampled_from("AB"), st.just("X"), hours, st.just(1)), max_size=20, unique_by=lambda row: (row[0], row[2])
)
one_entity = st.lists(st.tuples(st.just("A"), st.just("X"), st.integers(0, 3), st.integers(0, 3)), max_size=12)
streams = st.one_of(any_stream, orderly_stream, one_entity)
questions = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("XY"), hours), max_size=12)


@pytest.fixture(scope="module")
def stream_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FeatureStore]:
    """A folder that is read as one history, and a store with a view of it for each TTL and choice of keys."""
    folder = tmp_path_factory.mktemp("streams")
    _write(folder / "history" / "rows.parquet", [])
    views = [
        _view(_source(folder / "history" / "*.parquet", name=f"s{i}{j}"), f"v{i}{j}", (CARD, SHOP)[: len(keys)], ttl=ttl)
        for (i, ttl), (j, keys) in itertools.product(enumerate(TTLS), enumerate(KEYS))
    ]
    return folder / "history", _store(folder, [CARD, SHOP, *views])


@settings(max_examples=60, deadline=None)
@given(stream=streams, asked=questions, ttl=st.sampled_from(TTLS), keys=st.sampled_from(KEYS), created=st.booleans())
def test_the_join_equals_brute_force(
    stream: list, asked: list, ttl: dt.timedelta | None, keys: tuple, created: bool, stream_store: tuple[Path, FeatureStore]
) -> None:
    """Ties, gaps, late corrections, duplicate questions, unknown entities, expired rows, one key and two, no rows at all."""
    folder, store = stream_store
    rows = [_row(card, hour, hour + later, float(i), shop) for i, (card, shop, hour, later) in enumerate(stream)]
    for old in folder.iterdir():
        old.unlink()
    _write(folder / f"{len(rows)}.parquet", rows)
    frame = pd.DataFrame(
        [(card, shop, START + hour * HOUR) for card, shop, hour in asked], columns=["card", "shop", "event_timestamp"]
    ).astype({"event_timestamp": "datetime64[us, UTC]"})
    view = f"v{TTLS.index(ttl)}{KEYS.index(keys)}"
    told = _answers(store, frame, [f"{view}:value", f"{view}:twin"], created)
    for question, value, twin in zip(frame.to_dict("records"), _values(told), _values(told, "twin"), strict=True):
        assert value in _brute_force(rows, question, ttl, created, keys)
        assert twin == (None if value is None else -value), "the cells of an answer come from one row"


times = st.integers(0, 4).map(lambda hour: START + hour * HOUR)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("AB"), times, times), min_size=1, max_size=8))
def test_beaten_rows_go_and_no_history_that_has_one_passes_for_orderly(rows: list) -> None:
    history = ibis.memtable(
        pa.table(
            {
                "key": pa.array([key for key, _, _ in rows]),
                EVENT: pa.array([event for _, event, _ in rows], INSTANT),
                CREATED: pa.array([created for _, _, created in rows], INSTANT),
                AVAILABLE: pa.array([max(event, created) for _, event, created in rows], INSTANT),
            }
        )
    )
    unbeaten = [
        (key, event, created)
        for key, event, created in rows
        if not any(
            key == other and max(later, at) <= max(event, created) and (later, at) > (event, created)
            for other, later, at in rows
        )
    ]
    left = _without_beaten(history, ["key"]).to_pyarrow().select(["key", EVENT, CREATED]).to_pylist()
    assert sorted(tuple(row.values()) for row in left) == sorted(unbeaten)
    assert _may_be_beaten(history, ["key"]) or unbeaten == rows


def test_snapshots_that_are_published_in_turn_are_joined_as_they_stand() -> None:
    """A row that is there twice is joined as it stands, too: either is right."""
    snapshots = [(card, day * 24, day * 24 + lag) for day in range(5) for card, lag in (("A", 1), ("B", 3))]

    def history(rows: list[tuple[str, int, int]]) -> ibis.Table:
        columns = {EVENT: 1, CREATED: 2, AVAILABLE: 2}
        moments = {name: pa.array([START + row[i] * HOUR for row in rows], INSTANT) for name, i in columns.items()}
        return ibis.memtable(pa.table({"key": pa.array([row[0] for row in rows]), **moments}))

    assert not _may_be_beaten(history(snapshots), ["key"])
    assert not _may_be_beaten(history(snapshots).limit(0), ["key"])
    assert _may_be_beaten(history([*snapshots, ("A", 0, 100)]), ["key"])
    assert not _may_be_beaten(history([*snapshots, snapshots[3]]), ["key"])


@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize("ttl", [None, dt.timedelta(days=2)])
@pytest.mark.parametrize("lag", [lambda hour: 1, lambda hour: hour * 7 % 30], ids=["orderly", "late"])
def test_a_long_history_is_read_as_feast_reads_it(
    tmp_path: Path, created: bool, ttl: dt.timedelta | None, lag: Callable[[int], int]
) -> None:
    rows = [
        _row(f"C{card}", hour, hour + lag(hour), 100.0 * card + hour)
        for card in range(20)
        for hour in range(card % 5, 200, 1 + card)
    ]
    _write(tmp_path / "rows.parquet", rows)
    frame = _asked(*[i * 7 % 300 / 2 for i in range(400)], card=[f"C{i % 22}" for i in range(400)])
    told = _same_as_feast(
        tmp_path,
        lambda: [CARD, _view(_source(tmp_path / "rows.parquet"), ttl=ttl)],
        frame,
        ["facts:value", "facts:twin"],
        created,
    )
    assert 0 < told["value"].notna().sum() < len(told)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[float | None]]:
    """The values of card A at some hours, of a history of `rows`."""

    def values(rows: list[dict[str, Any]], *hours: float, created: bool = True) -> list[float | None]:
        _write(tmp_path / "rows.parquet", rows)
        store = _store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"))])
        return _values(_answers(store, _asked(*hours), ["facts:value"], created))

    return values


def test_a_value_created_in_the_future_is_not_in_the_past(ask: Callable) -> None:
    """A correction of yesterday's value, made tomorrow, is not what was known today."""
    assert ask([_row("A", 0, 1, 1.0), _row("A", 0, 48, 2.0)], 0, 1, 47, 48) == [None, 1.0, 1.0, 2.0]


def test_a_late_word_about_the_past_does_not_replace_what_is_newer(ask: Callable) -> None:
    assert ask([_row("A", 5, 6, 5.0), _row("A", 2, 9, 2.0)], 6, 9, 20) == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("created", [True, False])
def test_of_two_values_of_one_event_the_later_created_counts(ask: Callable, created: bool) -> None:
    """Also where both were there before the event, so that they became available at once."""
    assert ask([_row("A", 5, 4, 2.0), _row("A", 5, 3, 1.0)], 5, created=created) == [2.0]


@pytest.mark.parametrize("created", [True, False])
def test_a_value_of_unknown_creation_loses_every_tie_and_is_never_known_in_time(ask: Callable, created: bool) -> None:
    unknown = _row("A", 5, 0, 2.0) | {"created_timestamp": None}
    assert ask([_row("A", 5, 3, 1.0), unknown], 5, created=created) == [1.0]
    assert ask([unknown], 5, created=created) == [None if created else 2.0]


def test_a_value_without_an_event_time_is_no_answer(ask: Callable) -> None:
    assert ask([_row("A", 0, 1, 1.0) | {"event_timestamp": None}], 5) == [None]


def test_without_a_created_column_the_event_time_alone_counts(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 40, 1.0), _row("A", 5, 40, 2.0)])
    source = _source(tmp_path / "rows.parquet", created_timestamp_column="")
    told = _same_as_feast(tmp_path, lambda: [CARD, _view(source)], _asked(-1, 0, 4, 5), ["facts:value"])
    assert _values(told) == [None, 1.0, 1.0, 2.0]


def test_one_view_under_two_names_and_keys_is_two_sets_of_features(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0), _row("B", 0, 1, 2.0)])
    view = _view(_source(tmp_path / "rows.parquet"))
    service = FeatureService(
        name="pair",
        features=[
            view.with_name("sender").with_join_key_map({"card": "sent_by"})[["value"]],
            view.with_name("receiver").with_join_key_map({"card": "sent_to"}),
        ],
    )
    frame = pd.DataFrame({"sent_by": ["A", "B", "C"], "sent_to": ["B", "A", "A"], "event_timestamp": START + 2 * HOUR})
    told = _same_as_feast(tmp_path, lambda: [CARD, view, service], frame, service, full=True)
    assert _values(told, "sender__value") == [1.0, 2.0, None]
    assert _values(told, "receiver__twin") == [-2.0, -1.0, -1.0]


def test_columns_of_other_names_are_mapped(tmp_path: Path) -> None:
    names = {"card_id": "card", "at": "event_timestamp", "written": "created_timestamp", "amount": "value"}
    theirs = {new: old for old, new in names.items()}
    schema = pa.schema([field.with_name(theirs.get(field.name, field.name)) for field in SCHEMA])
    row = {theirs.get(name, name): value for name, value in _row("A", 0, 1, 1.0).items()}
    _write(tmp_path / "rows.parquet", [row], schema)
    view = _view(_source(tmp_path / "rows.parquet", field_mapping=names))
    told = _same_as_feast(tmp_path, lambda: [CARD, view], _asked(0, 1), ["facts:value", "facts:twin"])
    assert _values(told) == [None, 1.0]


def test_on_demand_features_are_computed_from_the_answers(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 2.0)])
    view = _view(_source(tmp_path / "rows.parquet"))
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
    frame = _asked(0, 1).assign(amount=[5.0, 6.0])
    told = _same_as_feast(tmp_path, lambda: [CARD, view, ratio], frame, ["facts:value", "ratio:share"])
    assert _values(told, "share") == [None, 3.0]


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
    _write(tmp_path / "rows.parquet", [_row("A", hour, hour + 1, float(hour)) for hour in range(12)])
    frame = pd.DataFrame({"card": "A", "event_timestamp": times})
    told = _same_as_feast(tmp_path, lambda: [CARD, _view(_source(tmp_path / "rows.parquet"))], frame, ["facts:value"])
    instants = pd.to_datetime(times, utc=True)
    late = [(instant - START) // HOUR - 1 for instant in instants]
    assert _values(told) == [None if hour < 0 else float(hour) for hour in late]


def test_a_nanosecond_before_is_before(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0)])
    at = pd.Timestamp(START + HOUR)
    frame = pd.DataFrame({"card": "A", "event_timestamp": [at - pd.Timedelta(1, "ns"), at]})
    told = _answers(_store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"))]), frame, ["facts:value"])
    assert _values(told) == [None, 1.0]


@pytest.mark.parametrize("unit", [pa.timestamp("us"), pa.timestamp("ms", "Asia/Tokyo")])
def test_the_history_may_tell_its_time_in_any_zone(tmp_path: Path, unit: pa.DataType) -> None:
    """A time without a zone is UTC."""
    schema = SCHEMA
    for name in ("event_timestamp", "created_timestamp"):
        schema = schema.set(schema.get_field_index(name), pa.field(name, unit))
    table = pa.Table.from_pylist([_row("A", 0, 1, 1.0)], SCHEMA).cast(schema)
    pq.write_table(table, tmp_path / "rows.parquet")
    told = _same_as_feast(tmp_path, lambda: [CARD, _view(_source(tmp_path / "rows.parquet"))], _asked(0.99, 1), ["facts:value"])
    assert _values(told) == [None, 1.0]


def test_a_question_without_an_entity_has_no_answer(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0), _row("A", 0, 1, 2.0) | {"card": None}])
    frame = _asked(1, 1, 1, card=["A", None, np.nan])
    told = _same_as_feast(tmp_path, lambda: [CARD, _view(_source(tmp_path / "rows.parquet"))], frame, ["facts:value"])
    assert _values(told) == [1.0, None, None]


def test_a_question_without_a_time_has_no_answer(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0)])
    frame = _asked(1, 2).assign(event_timestamp=[START + HOUR, pd.NaT])
    view = _view(_source(tmp_path / "rows.parquet"), ttl=24 * HOUR)
    assert _values(_same_as_feast(tmp_path, lambda: [CARD, view], frame, ["facts:value"])) == [1.0, None]


def test_a_view_without_entities_answers_every_question(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 5, 6, 2.0), _row("B", 0, 7, 1.0), _row("B", 8, 9, 3.0)])
    view = _view(_source(tmp_path / "rows.parquet"), entities=())
    told = _same_as_feast(tmp_path, lambda: [view], _asked(5, 7, 9, card=["A", "B", "C"]), ["facts:value"])
    assert _values(told) == [None, 2.0, 3.0]


@pytest.mark.parametrize("keys", [[1, 2, 3], [1.0, np.nan, 3.0]], ids=["whole", "with gaps"])
def test_entities_may_be_numbers(tmp_path: Path, keys: list[float]) -> None:
    schema = SCHEMA.set(0, pa.field("card", pa.int64()))
    _write(tmp_path / "rows.parquet", [_row("", 0, 1, 1.0) | {"card": 1}, _row("", 0, 1, 3.0) | {"card": 3}], schema)
    card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
    view = _view(_source(tmp_path / "rows.parquet"), entities=(card,))
    told = _same_as_feast(tmp_path, lambda: [card, view], _asked(1, 1, 1, card=keys), ["facts:value"])
    assert _values(told) == [1.0, None, 3.0]


def test_features_keep_their_types(tmp_path: Path) -> None:
    schema = pa.schema([*SCHEMA, ("count", pa.int64()), ("label", pa.string()), ("flag", pa.bool_())])
    extra = {"count": 2**53 + 1, "label": "x", "flag": True}
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0) | extra], schema)
    fields = [Field(name="count", dtype=Int64), Field(name="label", dtype=String)]
    view = _view(_source(tmp_path / "rows.parquet"), schema=fields, ttl=24 * HOUR)
    told = _same_as_feast(tmp_path, lambda: [CARD, view], _asked(1, 25), ["facts:count", "facts:label"])
    assert told["label"].tolist() == ["x", None]
    alone = _same_as_feast(tmp_path, lambda: [CARD, view], _asked(1), ["facts:count"])
    assert alone["count"].tolist() == [2**53 + 1]


def test_what_is_asked_comes_back_in_the_types_of_feasts_store(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0)])
    frame = _asked(1, 2, 3).assign(
        at=pd.Series(pd.date_range("2025-01-01 00:00:00.123456", periods=3, freq="h")),
        kind=pd.Series(["a", None, "b"], dtype="category"),
        count=pd.Series([1, None, 3], dtype="Int64"),
        small=pd.Series([1, 2, 3], dtype="int32"),
        text=pd.Series(["a", None, "b"], dtype="string"),
        flag=pd.Series([True, None, False]),
        day=dt.date(2025, 1, 1),
    )
    told = _same_as_feast(tmp_path, lambda: [CARD, _view(_source(tmp_path / "rows.parquet"))], frame, ["facts:value"])
    assert told.columns.tolist() == [*frame.columns, "value"]


def test_an_empty_history_answers_nothing_and_no_questions_get_no_answers(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [])
    store = _store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"), ttl=HOUR)])
    assert _values(_answers(store, _asked(1, 2), ["facts:value"])) == [None, None]
    assert _answers(store, _asked(1).head(0), ["facts:value"]).columns.tolist() == ["card", "event_timestamp", "value"]


def test_the_callers_frame_is_left_as_it_was(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0)])
    frame = pd.DataFrame({"card": ["A"], "event_timestamp": ["2025-01-02"], "number": [0]})
    before = frame.copy()
    _store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"))]).get_historical_features(frame, ["facts:value"]).to_df()
    pd.testing.assert_frame_equal(frame, before)


def test_answers_are_saved_as_a_data_set(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [_row("A", 0, 1, 1.0), _row("A", 5, 5, 2.0)])
    store = _store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"))])
    job = store.get_historical_features(_asked(1, 5), ["facts:value"], filter_by_created_timestamp=True)
    store.create_saved_dataset(job, "saved", SavedDatasetFileStorage(path=str(tmp_path / "saved.parquet")))
    assert sorted(pq.read_table(tmp_path / "saved.parquet")["value"].to_pylist()) == [1.0, 2.0]


LATEST = [
    _row("A", 1, 2, 1.0),
    _row("A", 5, 6, 3.0),
    _row("A", 5, 9, 4.0),
    _row("A", 3, 12, 2.0),
    _row("A", 20, 20, 5.0),
    _row("B", 0, 30, 6.0),
]


def _pulled(job: Any) -> list[tuple[str, float]]:
    return sorted(job.to_df()[["card", "value"]].itertuples(index=False, name=None))


def test_the_latest_values_are_those_of_the_last_event_and_of_its_last_creation(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", LATEST)
    source = _source(tmp_path / "rows.parquet")
    config = _store(tmp_path, [CARD, _view(source)]).config
    names = (["card"], ["value"], "event_timestamp", "created_timestamp")
    latest = AsofOfflineStore.pull_latest_from_table_or_query(config, source, *names, START, START + 19 * HOUR)
    assert _pulled(latest) == [("A", 4.0), ("B", 6.0)]
    span = {"start_date": START + HOUR, "end_date": START + 5 * HOUR}
    every = AsofOfflineStore.pull_all_from_table_or_query(config, source, *names, **span)
    assert _pulled(every) == [("A", 1.0), ("A", 2.0), ("A", 3.0), ("A", 4.0)]


def test_what_is_materialized_is_the_latest(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", LATEST)
    store = _store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"), online=True)])
    store.materialize(START, START + 19 * HOUR)
    told = store.get_online_features(["facts:value"], [{"card": "A"}, {"card": "B"}, {"card": "C"}]).to_dict()
    assert told["value"] == [4.0, 6.0, None]


def test_sql_for_entities_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "rows.parquet", [])
    store = _store(tmp_path, [CARD, _view(_source(tmp_path / "rows.parquet"))])
    with pytest.raises(TypeError, match="expected a pandas DataFrame"):
        store.get_historical_features(entity_df="SELECT 1", features=["facts:value"])
