"""Feast answers a training row with what was published by then, keeps every row, and says the same online."""

from __future__ import annotations

import datetime as dt
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml.artifacts import Folder
from ml.config import Config, load
from ml.features.publish import publish_features
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.store import feast, kept
from tests.deployments import land, payments, small, small_told, write

AS_OF = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Ten days of fifty payments, ingested, published and materialized."""
    config = small(tmp_path_factory.mktemp("store"))
    for day in range(1, 11):
        land(config, f"payments_2025-03-{day:02d}.parquet", payments(50, dt.date(2025, 3, day), start=1000 * day))
    told = validate_batch(config, AS_OF)
    load_batch(config, AS_OF, told.staged)
    publish_features(config, AS_OF)
    feast.materialize(config, AS_OF)
    return config


def _event(number: int, time: str, customer: str = "C001", amount: float = 20.0) -> dict[str, object]:
    return {
        "event_id": f"Q{number}",
        "event_time": pd.Timestamp(time, tz="UTC"),
        "customer_id": customer,
        "terminal_id": "T001",
        "amount": amount,
    }


def test_a_row_sees_the_snapshot_that_was_published_by_then(config: Config) -> None:
    """A day's file comes an hour after midnight: until then the day before is not known."""
    times = ["2025-03-05 00:59:59", "2025-03-05 01:00:00"]
    told = feast.retrieve(config, pd.DataFrame([_event(i, time) for i, time in enumerate(times)]))
    of_c001_in_a_day = 7
    assert told["customer_amount_count_7d"].tolist() == [3 * of_c001_in_a_day, 4 * of_c001_in_a_day]


def test_rows_come_back_all_and_in_their_order(config: Config) -> None:
    events = pd.DataFrame(
        [_event(i, f"2025-03-{1 + i % 10:02d} 12:00:00", customer=f"C{i % 9:03d}") for i in range(200)]
        + [_event(1000 + i, "2025-03-06 12:00:00") for i in range(5)]
    ).sample(frac=1, random_state=3, ignore_index=True)
    told = feast.retrieve(config, events)
    assert len(told) == len(events)
    alone = feast.retrieve(config, events.iloc[[17]].reset_index(drop=True))
    pd.testing.assert_frame_equal(told.iloc[[17]].reset_index(drop=True), alone)


def test_features_that_are_kept_are_those_of_the_same_events_and_publications(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = pd.DataFrame([_event(i, f"2025-03-{1 + i:02d} 12:00:00") for i in range(10)])
    dearer = events.assign(amount=2 * events["amount"])
    joined = [feast.retrieve(config, asked) for asked in (events, dearer)]
    assert not joined[0].equals(joined[1])
    with kept.keeping(Folder(tmp_path)):
        first = feast.retrieve(config, events)
        other = feast.retrieve(config, dearer)
        monkeypatch.setattr(feast, "open_store", lambda _: pytest.fail("joined again"))
        again = feast.retrieve(config, events)
        monkeypatch.setattr(kept.history, "digest", lambda *_: "published anew")
        with pytest.raises(pytest.fail.Exception, match="joined again"):
            feast.retrieve(config, events)
    for found, expected in ((first, joined[0]), (again, joined[0]), (other, joined[1])):
        pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(pytest.fail.Exception, match="joined again"):
        feast.retrieve(config, events)


def test_an_entity_that_nobody_knows_has_no_snapshot_but_keeps_its_row(config: Config) -> None:
    told = feast.retrieve(config, pd.DataFrame([_event(0, "2025-03-06 12:00:00", customer="STRANGER")]))
    assert np.isnan(told["customer_amount_count_1d"].iloc[0])
    assert told["clock_hour"].iloc[0] == 12.0


def test_a_missing_entity_has_no_history_and_neither_has_a_batch_of_them(config: Config) -> None:
    """Online as offline; a missing measure is missing in its ratios."""
    known, stranger = _event(0, "2025-03-11 03:00:00"), _event(1, "2025-03-11 03:00:00", customer="STRANGER")
    nobody = {**known, "event_id": "Q2", "customer_id": None, "amount": None}
    told = feast.retrieve(config, pd.DataFrame([known, stranger, nobody]))
    of_customers = [name for name in told if name.startswith("customer_")]
    assert told[of_customers].iloc[0].notna().all()
    pd.testing.assert_series_equal(told[of_customers].iloc[1], told[of_customers].iloc[2], check_names=False)
    assert told["terminal_amount_count_7d"].tolist() == [told["terminal_amount_count_7d"].iloc[0]] * 3
    assert told["amount_over_terminal_amount_mean_7d"].isna().tolist() == [False, False, True]
    requests = [{name: value for name, value in row.items() if name != "event_id"} for row in (known, stranger, nobody)]
    pd.testing.assert_frame_equal(told, feast.retrieve_online(config, requests))
    none = [{**nobody, "event_id": f"Q{i}", "terminal_id": None, "amount": 1.0} for i in range(2)]
    told = feast.retrieve(config, pd.DataFrame(none))
    assert told[[name for name in told if "_amount_" in name]].isna().all(axis=None)
    requests = [{name: value for name, value in row.items() if name != "event_id"} for row in none]
    pd.testing.assert_frame_equal(told, feast.retrieve_online(config, requests))


def test_lost_rows_stop_the_retrieval(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy:
        """A store whose join loses the last row."""

        def __init__(self, store: object) -> None:
            self.store = store

        def __getattr__(self, name: str) -> object:
            return getattr(self.store, name)

        def get_historical_features(self, **asked: object) -> object:
            job = self.store.get_historical_features(**asked)  # type: ignore[attr-defined]
            whole = job.to_df()
            job.to_df = lambda: whole.iloc[:-1]
            return job

    opened = feast.open_store
    monkeypatch.setattr(feast, "open_store", lambda config: Lossy(opened(config)))
    with pytest.raises(feast.RowsLost, match="2 events went into the point-in-time join and 1 rows"):
        feast.retrieve(config, pd.DataFrame([_event(i, "2025-03-06 12:00:00") for i in range(2)]))


def test_the_online_store_says_what_training_sees(config: Config) -> None:
    events = pd.DataFrame([_event(i, "2025-03-11 03:00:00", customer=f"C{i:03d}", amount=10.0 * i) for i in range(7)])
    offline = feast.retrieve(config, events)
    online = feast.retrieve_online(config, events.drop(columns="event_id").to_dict("records"))
    pd.testing.assert_frame_equal(offline, online)


def test_materializing_again_writes_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from feast import FeatureStore

    def written(*_: object, **asked: object) -> None:
        raise AssertionError(f"materialized again: {asked}")

    monkeypatch.setattr(FeatureStore, "materialize", written)
    assert set(feast.materialize(config, AS_OF).views.values()) == {"2025-03-11T00:00:00+00:00"}


def test_request_features_know_missing_and_zero_averages(config: Config) -> None:
    from ml.features import request

    inputs = pd.DataFrame(
        {
            "event_time": pd.to_datetime(["2025-03-08 05:30:00", "2025-03-10 23:00:00"], utc=True),
            "amount": [30.0, 30.0],
            "customer_amount_mean_7d": [15.0, np.nan],
        }
    )
    told = request.compute(inputs, True, "UTC", (("amount", "customer_amount_mean_7d"),))
    assert told["clock_hour"].tolist() == [5.5, 23.0]
    assert told["clock_weekend"].tolist() == [1.0, 0.0]
    assert told["clock_night"].tolist() == [1.0, 0.0]
    assert told["amount_over_customer_amount_mean_7d"].iloc[0] == 2.0
    assert np.isnan(told["amount_over_customer_amount_mean_7d"].iloc[1])


WITHOUT = {
    "request features": {"request": {"clock": False, "ratios": []}},
    "windows": {"windows": [], "request": {"clock": True, "ratios": []}},
    "windows and request features": {"windows": [], "request": {"clock": False, "ratios": []}},
}


@pytest.mark.parametrize("lacking", WITHOUT)
def test_a_deployment_may_have_only_some_kinds_of_features(lacking: str, tmp_path: Path) -> None:
    config = load(write(tmp_path, small_told() | WITHOUT[lacking]))
    land(config, "payments_2025-03-10.parquet", payments(50))
    load_batch(config, AS_OF, validate_batch(config, AS_OF).staged)
    publish_features(config, AS_OF)
    assert set(feast.materialize(config, AS_OF).views) == {window.view for window in config.windows}
    events = pd.DataFrame([_event(i, "2025-03-11 03:00:00", customer=f"C{i:03d}") for i in range(3)])
    offline = feast.retrieve(config, events)
    online = feast.retrieve_online(config, events.drop(columns="event_id").to_dict("records"))
    assert offline.columns.tolist() == feast.feature_names(config)
    pd.testing.assert_frame_equal(offline, online)
    assert len(offline) == 3
    if config.windows:
        assert offline["customer_amount_count_1d"].tolist() == [8, 7, 7]


def test_what_was_asked_and_read_is_not_kept_for_as_long_as_the_process_lives(config: Config) -> None:
    events = pd.DataFrame([_event(i, "2025-03-06 12:00:00") for i in range(20_000)])
    ibis.set_backend(ibis.duckdb.connect())
    named = "SELECT count(*) FROM (FROM duckdb_tables() SELECT internal UNION ALL FROM duckdb_views() SELECT internal)"

    def kept() -> tuple[int, int]:
        """Bytes in Arrow's memory, and views and tables in the database that a process has by default."""
        feast.retrieve(config, events)
        feast.materialize(config, AS_OF)
        gc.collect()
        [(tables,)] = ibis.options.default_backend.con.sql(f"{named} WHERE NOT internal").fetchall()
        return pa.total_allocated_bytes(), tables

    bytes_before, tables = kept()
    of_one = pa.Table.from_pandas(events).nbytes
    bytes_after, tables_after = [kept() for _ in range(5)][-1]
    assert bytes_after - bytes_before < of_one
    assert tables_after == tables == 0


def test_a_retrieval_that_fails_leaves_the_database_of_others_in_place(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    others = ibis.duckdb.connect()
    ibis.set_backend(others)
    monkeypatch.setattr("ml.store.asof.AsofRetrievalJob.to_df", lambda *_, **__: pd.DataFrame(1 / 0))
    with pytest.raises(ZeroDivisionError):
        feast.retrieve(config, pd.DataFrame([_event(1, "2025-03-06 12:00:00")]))
    assert ibis.options.default_backend is others
    assert others.con.sql("SELECT 1").fetchall() == [(1,)]


def test_threads_that_retrieve_at_once_get_their_own_answers(config: Config) -> None:
    asked = [pd.DataFrame([_event(i, f"2025-03-0{day} 12:00:00") for i in range(50)]) for day in (3, 4, 5, 6)]
    alone = [feast.retrieve(config, events) for events in asked]
    with ThreadPoolExecutor(len(asked)) as threads:
        for expected, found in zip(alone, threads.map(lambda events: feast.retrieve(config, events), asked), strict=True):
            pd.testing.assert_frame_equal(expected, found)
