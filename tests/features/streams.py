"""Random streams of events and late labels, put into a lake as they become known, and a brute-force reading of the windows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from ml.config import Config, Window, load
from ml.features.history import folder, history
from ml.lake import schema
from ml.lake.tables import Lake
from tests import deployments

START = dt.datetime(2025, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)

# By hours between snapshots: what the label windows are delayed by.
DELAYS = {24: 7, 6: "168 hours", 1: "161 hours"}
# The same where unanswered events are left out: before the labels' own delay has passed.
EARLY = {24: 1, 6: "6 hours", 1: "5 hours"}

Rows = list[dict[str, Any]]


def deployment(
    tmp_path: Path, hours: int = 24, complete: bool = False, delays: dict[int, Any] | None = None, digits: int = 6
) -> Config:
    """Two views whose snapshots are so many hours apart; where a day has several, labels are delayed by no whole days."""
    delays = delays or (EARLY if complete else DELAYS)
    told = deployments.raw()
    told["labels"]["delay"] |= {"value": 90, "unit": "hours"}
    told["labels"]["complete"] = complete
    told["windows"] = [
        {"entity": "customer", "column": "amount", "aggregates": ["count", "sum", "mean"], "days": [1, 3]},
        {"entity": "terminal", "column": "label", "aggregates": ["count", "sum", "mean"], "days": [2], "delay": delays[hours]},
    ]
    for window in told["windows"]:
        window["digits"] = digits
        window["publish"] = {"value": hours, "unit": "hours", "reason": "as the test asks"}
    told["request"]["ratios"] = []
    return load(deployments.write(tmp_path, told))


def event(
    number: int, hours: float, customer: str | None, terminal: str | None, amount: float | None, late_days: int
) -> dict[str, Any]:
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
        "batch_id": f"{midnight + (1 + late_days) * DAY:%Y-%m-%d}",
    }


def label(event: dict[str, Any], after_days: float, value: int = 1, source: str = "customer") -> dict[str, Any]:
    known = max(event["event_time"] + after_days * DAY, event["known_at"])
    return {
        "event_id": event["event_id"],
        "label": value,
        "source": source,
        "reported_at": known,
        "known_at": known,
        "batch_id": f"{known:%Y-%m-%dT%H}",
    }


sources = st.sampled_from(["chargeback", "analyst", "customer", "somebody"])

stream = st.lists(
    st.tuples(
        st.integers(0, 4 * 24 * 20).map(lambda quarters: quarters / 4),
        st.sampled_from(["A", "B", "C", None]),
        st.sampled_from(["X", "Y", None]),
        st.none() | st.integers(1, 5000).map(lambda cents: cents / 100),
        st.sampled_from([0, 0, 0, 1, 4, 9]),
        st.lists(st.tuples(st.sampled_from([0, 1, 7, 7.3, 9, 15]), st.sampled_from([1, 1, 0]), sources), max_size=3),
    ),
    min_size=1,
    max_size=25,
)

cadences = st.sampled_from([24, 6, 1])

# Hours from START after which something is published.
cuts = st.sets(st.integers(24, 40 * 24), max_size=6).map(lambda hours: [*sorted(hours), 40 * 24 + 1])


def rows_of(told: list[tuple]) -> tuple[Rows, Rows]:
    """Events and labels of a drawn stream; an event may have several answers, which may disagree."""
    events = [event(i, hours, c, t, amount, late) for i, (hours, c, t, amount, late, _) in enumerate(told)]
    return events, [label(e, *answer) for e, (*_, answers) in zip(events, told, strict=True) for answer in answers]


def winner(config: Config, event: dict[str, Any], labels: Rows, by: dt.datetime) -> int:
    """The answer about an event that counted by an instant: 0 or 1."""
    rank = {source: place for place, source in enumerate(config.labels.sources)}
    told = [label for label in labels if label["event_id"] == event["event_id"] and label["known_at"] <= by]
    told.sort(key=lambda t: (-rank.get(t["source"], len(rank)), t["reported_at"], t["known_at"], t["label"]))
    return told[-1]["label"] if told else 0


def fill(config: Config, events: Rows, labels: Rows, until: dt.datetime, after: dt.datetime = START) -> None:
    """Commit what became known in (after, until]."""
    for table, rows in ((schema.EVENTS, events), (schema.LABELS, labels)):
        new = [row for row in rows if after < row["known_at"] <= until]
        if new:
            of_now = [row | {"batch_id": f"{row['batch_id']} until {until}"} for row in new]
            Lake(config.lake).append_batches(table, pa.Table.from_pylist(of_now, schema.of(table, config)))


def published(config: Config, window: Window) -> Rows:
    rows: Rows = []
    for path in sorted(folder(config, window).glob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def contents(place: Path) -> dict[str, bytes]:
    """Complete files of a folder by name."""
    return {path.name: path.read_bytes() for path in place.glob("*.parquet")}


def brute_force(config: Config, window: Window, row: dict[str, Any], events: Rows, labels: Rows) -> dict[str, Any]:
    """A window read straight from its definition."""
    key = config.entities[window.entity]
    until, created = row["event_timestamp"], row["created_timestamp"]
    fraud = {e["event_id"] for e in events if winner(config, e, labels, created)}
    heard = {label["event_id"] for label in labels if label["known_at"] <= created}
    answered: dict[str, Any] = {}
    for days in window.days:
        end = until - window.delay_span
        inside = [
            e for e in events if e[key] == row[key] and end - days * DAY <= e["event_time"] < end and e["known_at"] <= created
        ]
        told = [float(e["event_id"] in fraud) if window.column == "label" else e["amount"] for e in inside]
        if window.column == "label" and config.labels.complete:
            told = [float(e["event_id"] in fraud) if e["event_id"] in heard else None for e in inside]
        values = [value for value in told if value is not None]
        answers = {"count": len(inside), "sum": sum(values), "mean": sum(values) / len(values) if values else None}
        answered |= {window.feature(a, days): answers[a] for a in window.aggregates}
    return answered


def assert_rows_are_where_events_are(config: Config, window: Window, events: Rows) -> None:
    """A row for each snapshot whose longest window holds an event, one of zeros at the tick after, and no other."""
    key, longest = config.entities[window.entity], max(window.days)
    counted = window.feature("count", longest)
    created = {tick: instant for part in history(config, window) for tick, instant in part.snapshots}
    found = {(row[key], row["event_timestamp"]): row[counted] for row in published(config, window)}
    expected = set()
    for e in [e for e in events if e[key] is not None]:
        begin = e["event_time"] + window.delay_span
        held = {tick for tick in created if begin < tick <= begin + longest * DAY and e["known_at"] <= created[tick]}
        expected |= {(e[key], tick) for tick in held}
    after = {(entity, tick + window.interval) for entity, tick in expected if tick + window.interval in created}
    assert {place for place, count in found.items() if count > 0} == expected
    assert set(found) == expected | after
