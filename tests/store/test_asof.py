"""The ASOF join answers what a reading of all rows would, and what Feast's own store does where that is right."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.store import asof
from ml.store.asof import AVAILABLE, CREATED, EVENT, _drop_superseded, _may_be_superseded, _ticks
from tests.store.histories import (
    CARD,
    HOUR,
    INSTANT,
    SHOP,
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

TTLS = [None, dt.timedelta(hours=4), dt.timedelta(hours=1, minutes=30, seconds=1)]
KEYS = [("card",), ("card", "shop")]


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
    write(folder / "history" / "rows.parquet", [])
    views = [
        feature_view(
            file_source(folder / "history" / "*.parquet", name=f"s{i}{j}"),
            f"v{i}{j}",
            (CARD, SHOP)[: len(keys)],
            ttl=ttl,
        )
        for (i, ttl), (j, keys) in itertools.product(enumerate(TTLS), enumerate(KEYS))
    ]
    return folder / "history", feature_store(folder, [CARD, SHOP, *views])


@settings(max_examples=60, deadline=None)
@given(stream=streams, asked=questions, ttl=st.sampled_from(TTLS), keys=st.sampled_from(KEYS), created=st.booleans())
def test_the_join_equals_brute_force(
    stream: list, asked: list, ttl: dt.timedelta | None, keys: tuple, created: bool, stream_store: tuple[Path, FeatureStore]
) -> None:
    """Ties, gaps, late corrections, duplicate questions, unknown entities, expired rows, one key and two, no rows at all."""
    folder, store = stream_store
    rows = [a_row(card, hour, hour + later, float(i), shop) for i, (card, shop, hour, later) in enumerate(stream)]
    for old in folder.iterdir():
        old.unlink()
    write(folder / f"{len(rows)}.parquet", rows)
    frame = pd.DataFrame(
        [(card, shop, START + hour * HOUR) for card, shop, hour in asked],
        columns=["card", "shop", "event_timestamp"],
    ).astype({"event_timestamp": "datetime64[us, UTC]"})
    view = f"v{TTLS.index(ttl)}{KEYS.index(keys)}"
    told = answers_of(store, frame, [f"{view}:value", f"{view}:twin"], created)
    for question, value, twin in zip(frame.to_dict("records"), values_of(told), values_of(told, "twin"), strict=True):
        assert value in _brute_force(rows, question, ttl, created, keys)
        assert twin == (None if value is None else -value), "the cells of an answer come from one row"


def may_be_superseded(history: ibis.Table) -> bool:
    """What the join asks of a history with one key."""
    return _may_be_superseded(history, ["key"], _ticks(history))


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
    left = _drop_superseded(history, ["key"]).to_pyarrow().select(["key", EVENT, CREATED]).to_pylist()
    assert sorted(tuple(row.values()) for row in left) == sorted(unbeaten)
    assert may_be_superseded(history) or unbeaten == rows


def test_snapshots_that_are_published_in_turn_are_joined_as_they_stand() -> None:
    """A row that is there twice is joined as it stands, too: either is right."""
    snapshots = [(card, day * 24, day * 24 + lag) for day in range(5) for card, lag in (("A", 1), ("B", 3))]

    def history(rows: list[tuple[str, int, int]]) -> ibis.Table:
        columns = {EVENT: 1, CREATED: 2, AVAILABLE: 2}
        moments = {name: pa.array([START + row[i] * HOUR for row in rows], INSTANT) for name, i in columns.items()}
        return ibis.memtable(pa.table({"key": pa.array([row[0] for row in rows]), **moments}))

    assert not may_be_superseded(history(snapshots))
    assert not may_be_superseded(history(snapshots).limit(0))
    assert may_be_superseded(history([*snapshots, ("A", 0, 100)]))
    assert not may_be_superseded(history([*snapshots, snapshots[3]]))


def test_late_questions_read_new_snapshots_and_of_old_ones_what_the_new_ones_lack(
    stream_store: tuple[Path, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = stream_store
    for old in folder.iterdir():
        old.unlink()
    # A has every snapshot, B ends after the second, C begins with the last, and D has none.
    held = [(card, hour) for hour in range(6) for card in "ABC" if card == "A" or (hour < 2 if card == "B" else hour == 5)]
    rows = [a_row(card, hour, hour + 1, float(i)) for i, (card, hour) in enumerate(held)]
    write(folder / "rows.parquet", rows)
    asked = [{"card": card, "event_timestamp": START + hour * HOUR} for hour in (5, 6) for card in "ABCD"]
    frame = pd.DataFrame(asked).astype({"event_timestamp": "datetime64[us, UTC]"}).assign(shop="X")
    taken = []

    def spied(*given: Any) -> ibis.Table:
        taken.append(asof_with_older(*given))
        return taken[-1]

    asof_with_older = asof._with_older_of_missing
    monkeypatch.setattr(asof, "_with_older_of_missing", spied)
    told = values_of(answers_of(store, frame, ["v00:value"], True))
    for question, value in zip(asked, told, strict=True):
        assert value in _brute_force(rows, question, None, True, ("card",))
    assert len(taken) == 1, "the newest snapshots are not read alone"


@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize("ttl", [None, dt.timedelta(days=2)])
@pytest.mark.parametrize("lag", [lambda hour: 1, lambda hour: hour * 7 % 30], ids=["orderly", "late"])
def test_a_long_history_is_read_as_feast_reads_it(
    tmp_path: Path, created: bool, ttl: dt.timedelta | None, lag: Callable[[int], int]
) -> None:
    rows = [
        a_row(f"C{card}", hour, hour + lag(hour), 100.0 * card + hour)
        for card in range(20)
        for hour in range(card % 5, 200, 1 + card)
    ]
    write(tmp_path / "rows.parquet", rows)
    frame = questions_at(*[i * 7 % 300 / 2 for i in range(400)], card=[f"C{i % 22}" for i in range(400)])
    told = same_as_feast(
        tmp_path,
        lambda: [CARD, feature_view(file_source(tmp_path / "rows.parquet"), ttl=ttl)],
        frame,
        ["facts:value", "facts:twin"],
        created,
    )
    assert 0 < told["value"].notna().sum() < len(told)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[float | None]]:
    """The values of card A at some hours, of a history of `rows`."""

    def values(rows: list[dict[str, Any]], *hours: float, created: bool = True) -> list[float | None]:
        write(tmp_path / "rows.parquet", rows)
        store = feature_store(tmp_path, [CARD, feature_view(file_source(tmp_path / "rows.parquet"))])
        return values_of(answers_of(store, questions_at(*hours), ["facts:value"], created))

    return values


def test_a_value_created_in_the_future_is_not_in_the_past(ask: Callable) -> None:
    """A correction of yesterday's value, made tomorrow, is not what was known today."""
    assert ask([a_row("A", 0, 1, 1.0), a_row("A", 0, 48, 2.0)], 0, 1, 47, 48) == [None, 1.0, 1.0, 2.0]


def test_a_late_word_about_the_past_does_not_replace_what_is_newer(ask: Callable) -> None:
    assert ask([a_row("A", 5, 6, 5.0), a_row("A", 2, 9, 2.0)], 6, 9, 20) == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("created", [True, False])
def test_of_two_values_of_one_event_the_later_created_counts(ask: Callable, created: bool) -> None:
    """Also where both were there before the event, so that they became available at once."""
    assert ask([a_row("A", 5, 4, 2.0), a_row("A", 5, 3, 1.0)], 5, created=created) == [2.0]


@pytest.mark.parametrize("created", [True, False])
def test_a_value_of_unknown_creation_loses_every_tie_and_is_never_known_in_time(ask: Callable, created: bool) -> None:
    unknown = a_row("A", 5, 0, 2.0) | {"created_timestamp": None}
    assert ask([a_row("A", 5, 3, 1.0), unknown], 5, created=created) == [1.0]
    assert ask([unknown], 5, created=created) == [None if created else 2.0]


def test_a_value_without_an_event_time_is_no_answer(ask: Callable) -> None:
    assert ask([a_row("A", 0, 1, 1.0) | {"event_timestamp": None}], 5) == [None]


def test_without_a_created_column_the_event_time_alone_counts(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", [a_row("A", 0, 40, 1.0), a_row("A", 5, 40, 2.0)])
    source = file_source(tmp_path / "rows.parquet", created_timestamp_column="")
    told = same_as_feast(tmp_path, lambda: [CARD, feature_view(source)], questions_at(-1, 0, 4, 5), ["facts:value"])
    assert values_of(told) == [None, 1.0, 1.0, 2.0]
