"""Windows equal a brute-force reading of what was known, and do not depend on how the days were cut."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.config import Config, Window, load
from ml.features.history import folder
from ml.features.publish import publish_features
from ml.lake import schema
from ml.lake.tables import Lake
from tests import deployments

START = dt.datetime(2025, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def _deployment(tmp_path: Path) -> Config:
    told = deployments.raw()
    told["windows"] = [
        {"entity": "customer", "column": "amount", "aggregates": ["count", "sum", "mean"], "days": [1, 3]},
        {"entity": "terminal", "column": "label", "aggregates": ["count", "mean"], "days": [2], "delay": 7},
    ]
    told["request"]["ratios"] = []
    return load(deployments.write(tmp_path, told))


def _fill(config: Config, events: list[dict[str, Any]], labels: list[dict[str, Any]]) -> None:
    lake = Lake(config.lake)
    for table, rows in ((schema.EVENTS, events), (schema.LABELS, labels)):
        for batch in sorted({row["batch_id"] for row in rows}):
            part = [row for row in rows if row["batch_id"] == batch]
            lake.append_batches(table, pa.Table.from_pylist(part, schema.of(table, config)))


def _event(number: int, hours: float, customer: str, terminal: str, amount: float, late_days: int) -> dict[str, Any]:
    time = START + hours * HOUR
    midnight = dt.datetime.combine(time.date(), dt.time(), dt.UTC)
    return {
        "event_id": f"E{number}",
        "event_time": time,
        "customer_id": customer,
        "terminal_id": terminal,
        "amount": amount,
        "merchant_category": "grocery",
        "channel": "chip",
        "country": "FR",
        "known_at": midnight + (1 + late_days) * DAY + HOUR,
        "batch_id": f"{number:03d}",
    }


def _label(event: dict[str, Any], after_days: int) -> dict[str, Any]:
    known = max(event["event_time"] + after_days * DAY, event["known_at"])
    return {
        "event_id": event["event_id"],
        "label": 1,
        "source": "customer",
        "reported_at": known,
        "known_at": known,
        "batch_id": event["batch_id"],
    }


def _published(config: Config, window: Window) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted(folder(config, window).glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def _brute_force(config: Config, window: Window, row: dict[str, Any], events: list, labels: list) -> dict[str, Any]:
    """A window read straight from its definition."""
    key = config.entities[window.entity]
    until, created = row["event_timestamp"], row["created_timestamp"]
    fraud = {label["event_id"] for label in labels if label["known_at"] <= created}
    told: dict[str, Any] = {}
    for days in window.days:
        end = until - window.delay * DAY
        inside = [
            e for e in events if e[key] == row[key] and end - days * DAY <= e["event_time"] < end and e["known_at"] <= created
        ]
        values = [float(e["event_id"] in fraud) if window.column == "label" else e["amount"] for e in inside]
        answers = {"count": len(values), "sum": sum(values), "mean": sum(values) / len(values) if values else None}
        told |= {window.feature(a, days): answers[a] for a in window.aggregates}
    return told


stream = st.lists(
    st.tuples(
        st.integers(0, 24 * 20),
        st.sampled_from(["A", "B", "C"]),
        st.sampled_from(["X", "Y"]),
        st.integers(1, 5000).map(lambda cents: cents / 100),
        st.sampled_from([0, 0, 0, 1, 4]),
        st.sampled_from([None, None, 1, 7, 9, 15]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=stream)
def test_windows_equal_brute_force(told: list[tuple], tmp_path_factory: pytest.TempPathFactory) -> None:
    config = _deployment(tmp_path_factory.mktemp("windows"))
    events = [_event(i, hours, c, t, amount, late) for i, (hours, c, t, amount, late, _) in enumerate(told)]
    labels = [_label(e, after) for e, (*_, after) in zip(events, told, strict=True) if after is not None]
    _fill(config, events, labels)
    publish_features(config, START + 40 * DAY)
    for window in config.windows:
        rows = _published(config, window)
        for row in rows:
            expected = _brute_force(config, window, row, events, labels)
            assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)
        _nothing_is_missing(config, window, rows, events)


def _nothing_is_missing(config: Config, window: Window, rows: list[dict], events: list[dict]) -> None:
    """Wherever the longest window holds an event, there is a snapshot, and after the last one a snapshot of zeros."""
    key = config.entities[window.entity]
    have = {(row[key], row["event_timestamp"]): row for row in rows}
    longest = window.feature("count", max(window.days))
    created = {row["event_timestamp"]: row["created_timestamp"] for row in rows}
    for (entity, midnight), row in have.items():
        if row[longest] > 0 and midnight + DAY in created:
            assert (entity, midnight + DAY) in have
    for event in events:
        first = dt.datetime.combine(event["event_time"].date(), dt.time(), dt.UTC) + (1 + window.delay) * DAY
        for midnight in (first + i * DAY for i in range(max(window.days))):
            if event["known_at"] <= midnight + HOUR and midnight <= START + 39 * DAY:
                assert (event[key], midnight) in have


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=stream, cuts=st.sets(st.integers(1, 38), max_size=5))
def test_increments_equal_the_whole(told: list[tuple], cuts: set[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Published day by day or at once: the same rows of amounts, but for the time of their creation."""
    events = [_event(i, hours, c, t, amount, 0) for i, (hours, c, t, amount, _, _) in enumerate(told)]
    labels = [_label(e, after) for e, (*_, after) in zip(events, told, strict=True) if after is not None]
    whole, parts = (_deployment(tmp_path_factory.mktemp(name)) for name in ("whole", "parts"))
    for config in (whole, parts):
        _fill(config, events, labels)
    publish_features(whole, START + 40 * DAY + HOUR)
    for cut in [*sorted(cuts), 40]:
        publish_features(parts, START + cut * DAY + HOUR)
    window = whole.windows[0]
    expected, found = (
        [{k: v for k, v in row.items() if k != "created_timestamp"} for row in _published(config, window)]
        for config in (whole, parts)
    )
    assert found == expected


def test_publishing_again_adds_nothing(tmp_path: Path) -> None:
    config = _deployment(tmp_path)
    _fill(config, [_event(0, 5, "A", "X", 10.0, 0)], [])
    first = publish_features(config, START + 3 * DAY)
    again = publish_features(config, START + 3 * DAY)
    assert first.rows > 0
    assert (again.rows, again.views) == (0, first.views)


def test_what_becomes_known_later_does_not_change_what_was_published(tmp_path: Path) -> None:
    config = _deployment(tmp_path)
    events = [_event(0, 5, "A", "X", 10.0, 0), _event(1, 6, "A", "X", 99.0, late_days=5)]
    _fill(config, events[:1], [])
    publish_features(config, START + 3 * DAY)
    before = _published(config, config.windows[0])
    _fill(config, events[1:], [])
    publish_features(config, START + 8 * DAY)
    assert _published(config, config.windows[0])[: len(before)] == before


def test_an_empty_lake_publishes_nothing(tmp_path: Path) -> None:
    assert publish_features(_deployment(tmp_path), START).rows == 0
