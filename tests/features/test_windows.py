"""Windows equal a brute-force reading of what was known, however the days were cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from ml.features.publish import publish_features
from tests.features import streams
from tests.features.streams import DAY, HOUR, START


@settings(max_examples=30, deadline=None)
@given(told=streams.stream, cuts=streams.cuts)
def test_windows_equal_brute_force(told: list[tuple], cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    config = streams.deployment(tmp_path_factory.mktemp("windows"))
    events, labels = streams.rows_of(told)
    streams.fill(config, events, labels, START + 60 * DAY)
    for cut in cuts:
        publish_features(config, START + cut * DAY + HOUR)
    for window in config.windows:
        for row in streams.published(config, window):
            expected = streams.brute_force(config, window, row, events, labels)
            assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)
        streams.assert_rows_are_where_events_are(config, window, events)


@settings(max_examples=10, deadline=None)
@given(told=streams.stream, cuts=streams.cuts)
def test_increments_equal_the_whole(told: list[tuple], cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Published day by day or at once: the same rows of amounts that came in time, but for the time of their creation."""
    events, labels = streams.rows_of([(*drawn[:4], 0, drawn[5]) for drawn in told])
    whole, parts = (streams.deployment(tmp_path_factory.mktemp(name)) for name in ("whole", "parts"))
    for config in (whole, parts):
        streams.fill(config, events, labels, START + 60 * DAY)
    publish_features(whole, START + 40 * DAY + HOUR)
    for cut in cuts:
        publish_features(parts, START + cut * DAY + HOUR)
    window = whole.windows[0]
    expected, found = (
        [{k: v for k, v in row.items() if k != "created_timestamp"} for row in streams.published(config, window)]
        for config in (whole, parts)
    )
    assert found == expected


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
