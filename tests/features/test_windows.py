"""Windows equal a brute-force reading of what was known, however often and in whatever parts they were published."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config, Window
from ml.features.history import history
from ml.features.publish import publish_features
from tests.features import streams
from tests.features.streams import DAY, HOUR, START

MINUTE = dt.timedelta(minutes=1)


@settings(max_examples=15, deadline=None)
@given(told=streams.stream, cuts=streams.cuts, hours=streams.cadences, complete=st.booleans())
def test_windows_equal_brute_force(
    told: list[tuple], cuts: list[int], hours: int, complete: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = streams.deployment(tmp_path_factory.mktemp("windows"), hours, complete)
    events, labels = streams.rows_of(told)
    streams.fill(config, events, labels, START + 60 * DAY)
    for cut in cuts:
        publish_features(config, START + cut * HOUR)
    for window in config.windows:
        assert_every_tick_is_published_once(config, window, START + cuts[-1] * HOUR)
        for row in streams.published(config, window):
            expected = streams.brute_force(config, window, row, events, labels)
            assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)
        streams.assert_rows_are_where_events_are(config, window, events)


def assert_every_tick_is_published_once(config: Config, window: Window, as_of: dt.datetime) -> None:
    """From the tick after the oldest event to the newest one whose lag is over, none twice and none left out."""
    ticks = [tick for part in history(config, window) for tick, _ in part.snapshots]
    assert ticks == sorted(ticks)
    assert set(np.diff(ticks)) <= {window.interval}
    for tick in ticks:
        assert (tick - START) % window.interval == dt.timedelta()
    if ticks:
        assert ticks[-1] <= as_of - HOUR < ticks[-1] + window.interval


@settings(max_examples=10, deadline=None)
@given(told=streams.stream, cuts=streams.cuts, hours=streams.cadences)
def test_increments_equal_the_whole(
    told: list[tuple], cuts: list[int], hours: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Published tick by tick or at once: the same rows of amounts that came in time, but for the time of their creation."""
    events, labels = streams.rows_of(told)
    events = [event | {"known_at": event["event_time"]} for event in events]
    whole, parts = (streams.deployment(tmp_path_factory.mktemp(name), hours) for name in ("whole", "parts"))
    for config in (whole, parts):
        streams.fill(config, events, labels, START + 60 * DAY)
    publish_features(whole, START + cuts[-1] * HOUR)
    for cut in cuts:
        publish_features(parts, START + cut * HOUR)
    window = whole.windows[0]
    expected, found = (
        [{k: v for k, v in row.items() if k != "created_timestamp"} for row in streams.published(config, window)]
        for config in (whole, parts)
    )
    assert found == expected


def _of_amounts(tmp_path: Path, amounts: list[float | None], parts: int = 1, digits: int = 6) -> dict[str, float | None]:
    """Features of the midnight after a day on which a customer's events had these amounts, published in so many parts."""
    config = streams.deployment(tmp_path, hours=6, digits=digits)
    rows = [streams.event(i, 24 + 20 * i / len(amounts), "A", "X", amount, 0) for i, amount in enumerate(amounts)]
    before = streams.event(len(rows), 1, "A", "X", 7.0, 0)
    events = [event | {"known_at": event["event_time"]} for event in [before, *rows]]
    after = START
    for part in range(1, parts + 1):
        now = START + DAY + HOUR + part * DAY / parts
        streams.fill(config, events, [], now, after)
        publish_features(config, now)
        after = now
    last = streams.published(config, config.windows[0])[-1]
    assert last["event_timestamp"] == START + 2 * DAY
    return {name: last[f"customer_amount_{name}_1d"] for name in ("count", "sum", "mean")}


@pytest.mark.parametrize("parts", [1, 4])
def test_a_missing_measure_is_no_zero(tmp_path: Path, parts: int) -> None:
    told = _of_amounts(tmp_path, [10.0, None, None, 10.0], parts)
    assert told == {"count": 4, "sum": 20.0, "mean": 10.0}


@pytest.mark.parametrize("parts", [1, 4])
def test_a_mean_over_no_value_is_missing_though_there_are_events(tmp_path: Path, parts: int) -> None:
    assert _of_amounts(tmp_path, [None, None], parts) == {"count": 2, "sum": 0.0, "mean": None}


def test_a_measure_that_is_zero_is_a_value(tmp_path: Path) -> None:
    assert _of_amounts(tmp_path, [0.0, None, 10.0, -4.0]) == {"count": 4, "sum": 6.0, "mean": 2.0}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_window_keeps_as_many_digits_as_it_is_told_to(tmp_path: Path, parts: int) -> None:
    bids = [4e-7, 3e-12, 9e17]
    for name in ("6", "12", "large"):
        (tmp_path / name).mkdir()
    assert _of_amounts(tmp_path / "6", bids[:2], parts)["sum"] == 0
    assert _of_amounts(tmp_path / "12", bids[:2], parts, digits=12)["sum"] == 4.00003e-7
    assert _of_amounts(tmp_path / "large", bids, parts, digits=12)["sum"] == 9e17


def test_what_has_no_key_is_of_no_entity(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    events = [streams.event(0, 5, "A", None, 10.0, 0), streams.event(1, 6, None, None, 99.0, 0)]
    streams.fill(config, events, [streams.label(e, 2) for e in events], START + 20 * DAY)
    for day in (2, 3, 9):
        publish_features(config, START + day * DAY + HOUR)
    amounts, labels = (streams.published(config, window) for window in config.windows)
    assert {(row["customer_id"], row["customer_amount_sum_3d"]) for row in amounts} == {("A", 10.0), ("A", 0.0)}
    assert labels == []


def test_midnights_that_are_published_together_all_count_what_was_known_by_then(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    events = [streams.event(0, 5, "A", "X", 10.0, 0), streams.event(1, 30, "A", "X", 5.0, late_days=1)]
    streams.fill(config, events, [], START + 9 * DAY)
    publish_features(config, START + DAY + HOUR)
    publish_features(config, START + 6 * DAY + HOUR)
    counts = {row["event_timestamp"]: row["customer_amount_count_3d"] for row in streams.published(config, config.windows[0])}
    assert counts == {START + day * DAY: count for day, count in {1: 1, 2: 2, 3: 2, 4: 1, 5: 0}.items()}


def test_a_positive_counts_once_however_often_it_is_reported(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    event = streams.event(0, 5, "A", "X", 10.0, 0)
    streams.fill(config, [event], [streams.label(event, 2), streams.label(event, 8)], START + 20 * DAY)
    for day in (2, 8, 9, 10):
        publish_features(config, START + day * DAY + HOUR)
    means = [row["terminal_label_mean_2d"] for row in streams.published(config, config.windows[1])]
    assert means == [1.0, 1.0, None]


@pytest.mark.parametrize(("complete", "means"), [(False, [0.25, 0.25]), (True, [1, 0.5])])
def test_an_unanswered_event_is_no_negative_where_every_event_is_answered(
    tmp_path: Path, complete: bool, means: list[float]
) -> None:
    config = streams.deployment(tmp_path, complete=complete, delays=streams.DELAYS)
    events = [streams.event(number, 30 + number, "A", "X", 5.0, 0) for number in range(4)]
    labels = [streams.label(events[0], 7.5), streams.label(events[1], 8.5, value=0)]
    streams.fill(config, events, labels, START + 60 * DAY)
    for day in range(9, 13):
        publish_features(config, START + day * DAY + 2 * HOUR)
    rows = [row for row in streams.published(config, config.windows[1]) if row["terminal_label_count_2d"]]
    assert [row["terminal_label_count_2d"] for row in rows] == [4, 4]
    assert [row["terminal_label_mean_2d"] for row in rows] == means


def test_a_positive_that_a_better_source_denies_counts_no_more_from_then_on(tmp_path: Path) -> None:
    """A customer's no weighs less than the analyst's yes, the chargeback's no weighs more, and another yes changes nothing."""
    config = streams.deployment(tmp_path, hours=6)
    event = streams.event(0, 5, "A", "X", 10.0, 0)
    answers = [(7.1, 1, "analyst"), (7.6, 0, "customer"), (7.8, 0, "chargeback"), (8.1, 1, "analyst")]
    streams.fill(config, [event], [streams.label(event, *answer) for answer in answers], START + 20 * DAY)
    for hours in (7, 13, 19, 25, 31, 37):
        publish_features(config, START + 7 * DAY + hours * HOUR)
    assert [row["terminal_label_mean_2d"] for row in streams.published(config, config.windows[1])] == [0, 1, 1, 0, 0, 0]


def test_a_label_that_arrives_between_ticks_is_in_the_next_one_and_not_before(tmp_path: Path) -> None:
    """The lag is an hour: what is known at 6:59 is in the snapshot of 6 o'clock if that is made at 7, and not if at 6:30."""
    config = streams.deployment(tmp_path, hours=6)
    event = streams.event(0, 5, "A", "X", 10.0, 0)
    label = streams.label(event, 7) | {"known_at": START + 8 * DAY + 6 * HOUR + 59 * MINUTE}
    streams.fill(config, [event], [label], START + 20 * DAY)
    for hours in (1, 7, 13):
        publish_features(config, START + 8 * DAY + hours * HOUR)
    told = {r["event_timestamp"]: r["terminal_label_mean_2d"] for r in streams.published(config, config.windows[1])}
    begin = START + 7 * DAY
    assert told == {begin + hours * HOUR: mean for hours, mean in {6: 0, 12: 0, 18: 0, 24: 0, 30: 1, 36: 1}.items()}
    created = [created for part in history(config, config.windows[1]) for _, created in part.snapshots]
    assert created[-2:] == [START + 8 * DAY + 7 * HOUR, START + 8 * DAY + 13 * HOUR]


def test_a_tick_is_not_published_before_its_lag_is_over(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path, hours=6)
    streams.fill(config, [streams.event(0, 5, "A", "X", 10.0, 0)], [], START + 3 * DAY)
    publish_features(config, START + 2 * DAY + 6 * HOUR + 59 * MINUTE)
    assert history(config, config.windows[0])[-1].last == START + 2 * DAY
    publish_features(config, START + 2 * DAY + 7 * HOUR)
    assert history(config, config.windows[0])[-1].last == START + 2 * DAY + 6 * HOUR


def test_a_view_is_published_as_often_as_its_line_says(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    amounts, labels = config.windows
    often = labels.model_copy(update={"publish": labels.publish.model_copy(update={"value": 4})})
    config = config.model_copy(update={"windows": [amounts, often]})
    streams.fill(config, [streams.event(0, 5, "A", "X", 10.0, 0)], [], START + 3 * DAY)
    publish_features(config, START + DAY + 10 * HOUR)
    names = [history(config, window)[0].path.name[:27] for window in config.windows]
    assert names == ["2025-03-02_2025-03-02-" + names[0][22:], "2025-03-01T08_2025-03-02T08"]


def test_sums_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    amounts = [2.0**60, 1.0, -(2.0**60)]
    streams.fill(config, [streams.event(i, 5, "A", "X", a, i) for i, a in enumerate(amounts)], [], START + 9 * DAY)
    publish_features(config, START + DAY + HOUR)
    publish_features(config, START + 4 * DAY + HOUR)
    sums = [row["customer_amount_sum_3d"] for row in streams.published(config, config.windows[0])]
    assert sums == [2.0**60, 1.0, 1.0, 0.0]


def test_publishing_again_adds_nothing(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    streams.fill(config, [streams.event(0, 5, "A", "X", 10.0, 0)], [], START + 3 * DAY)
    first = publish_features(config, START + 3 * DAY)
    again = publish_features(config, START + 3 * DAY)
    assert first.rows > 0
    assert (again.rows, again.views) == (0, first.views)


def test_what_becomes_known_later_does_not_change_what_was_published(tmp_path: Path) -> None:
    config = streams.deployment(tmp_path)
    events = [streams.event(0, 5, "A", "X", 10.0, 0), streams.event(1, 6, "A", "X", 99.0, late_days=5)]
    streams.fill(config, events, [], START + 3 * DAY)
    publish_features(config, START + 3 * DAY)
    before = streams.published(config, config.windows[0])
    streams.fill(config, events, [], START + 8 * DAY, after=START + 3 * DAY)
    publish_features(config, START + 8 * DAY)
    assert streams.published(config, config.windows[0])[: len(before)] == before


def test_an_empty_lake_publishes_nothing(tmp_path: Path) -> None:
    assert publish_features(streams.deployment(tmp_path), START).rows == 0
