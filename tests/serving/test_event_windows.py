"""The service's running windows are those that the lake gives, whatever comes late, twice, at once or without a value."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import artifacts
from ml.config import Config
from ml.features.at_events import at_events
from ml.lake import segments
from ml.lake.segments import PREDICTIONS
from ml.quality.predictions import load_predictions
from ml.serving.windows import EventWindows
from tests.features import streams
from tests.features.streams import DAY, START
from tests.features.test_at_events import deployment

NOON = START + DAY / 2
MINUTE = dt.timedelta(minutes=1)

# When an event happens, in minutes; how many events later it is scored; its customer and its amount; how often it is sent. No
# event comes later than the longest window is long, which would have no whole windows.
drawn = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 4, 5, 9, 10, 10, 11, 14, 15, 20, 60, 61, 70, 1430, 1435, 1440]),
        st.sampled_from([0, 0, 0, 1, 5]),
        st.sampled_from(["A", "A", "A", "B", None]),
        st.none() | st.integers(-300, 5000).map(lambda cents: cents / 100) | st.sampled_from([1e15, 5e-7, 2.5e-6]),
        st.sampled_from([1, 1, 1, 2]),
    ),
    min_size=2,
    max_size=24,
)


def _arriving(told: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Events in the order in which they are scored; each is known to the lake a microsecond after the one before."""
    in_time = sorted(told, key=lambda each: each[0])
    arriving = list[dict[str, Any]]()
    for number, (minutes, _, customer, amount, times) in sorted(enumerate(in_time), key=lambda each: each[0] + each[1][1]):
        arriving += [streams.event(number, 12 + minutes / 60, customer, "X", amount, 0)] * times
    return [event | {"known_at": START + 30 * DAY + i * dt.timedelta(microseconds=1)} for i, event in enumerate(arriving)]


def _record(event: dict[str, Any], number: int) -> dict[str, Any]:
    """The log's record of a scored event."""
    return {
        "id": f"{number:04d}",
        "event_id": event["event_id"],
        "event_time": event["event_time"].isoformat(),
        "scored_at": event["known_at"].isoformat(),
        "version": "1",
        "score": 0.5,
        "inputs": {name: event[name] for name in ("customer_id", "terminal_id", "amount")} | {"other": 1.0},
    }


def _leave(config: Config, records: list[dict[str, Any]], name: str, is_sealed: bool) -> None:
    """Leave a segment behind as a service that is gone did: published, or with a line that was cut short."""
    content = b"".join(map(segments.line, records))
    if is_sealed:
        artifacts.of(config).put(PREDICTIONS, f"{name}.jsonl", lambda path: path.write_bytes(content))
    else:
        folder = artifacts.local(config).scratch("serving", PREDICTIONS)
        (folder / f"{name}.open").write_bytes(
            content + segments.line(_record(streams.event(999, 12.1, "A", "X", 1.0, 0), 0))[:-3]
        )


def _running(config: Config, **more: Any) -> EventWindows:
    windows = EventWindows(config, lambda: START + 40 * DAY, **more)
    windows.load()
    return windows


def _served(windows: EventWindows, events: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(windows.at(events))


def _in_the_lake(config: Config, events: list[dict[str, Any]]) -> None:
    unique = list({event["event_id"]: event for event in reversed(events)}.values())
    streams.fill(config, unique, [], START + 60 * DAY)


@settings(max_examples=15, deadline=None)
@given(told=drawn, cut=st.integers(0, 24), ingested=st.integers(0, 24), sizes=st.sampled_from([1, 3]))
def test_each_event_is_served_what_the_lake_of_that_moment_gives(
    told: list[tuple[Any, ...]], cut: int, ingested: int, sizes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The service ends after `cut` events; `ingested` of them are in the lake, the others in several places of the log."""
    offline, online = (deployment(tmp_path_factory.mktemp(name)) for name in ("offline", "online"))
    events = _arriving(told)
    _in_the_lake(offline, events)
    running, begun = _running(online), 0
    cut = min(cut, len(events)) // sizes * sizes
    while begun < len(events):
        if begun == cut:
            records = [_record(event, number) for number, event in enumerate(events[:cut])]
            third = cut // 3
            _leave(online, records[:third], "1", is_sealed=True)
            load_predictions(online, START + 40 * DAY)
            _leave(online, records[third : 2 * third], "2", is_sealed=True)
            _leave(online, records[2 * third :], "3", is_sealed=False)
            _in_the_lake(online, events[: min(ingested, cut)])
            running = _running(online)
        together = events[begun : begun + sizes]
        found = _served(running, together)
        expected = at_events(offline, pd.DataFrame(together), together[-1]["known_at"])
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        begun += sizes


def test_an_event_counts_once_though_it_was_scored_twice_and_ingested(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    running = _running(config)
    event = streams.event(1, 12, "A", "X", 5.0, 0)
    for _ in range(2):
        assert _served(running, [event])["customer_amount_count_10min"].item() == 0
    _in_the_lake(config, [event])
    running._load_lake()
    later = streams.event(2, 12.1, "A", "X", 1.0, 0)
    assert _served(running, [later])[["customer_amount_count_10min", "customer_amount_sum_10min"]].to_numpy().tolist() == [
        [1, 5]
    ]
    assert len(running) == 2


def test_an_event_that_is_sent_again_with_another_time_is_not_in_its_own_windows(tmp_path: Path) -> None:
    running = _running(deployment(tmp_path))
    _served(running, [streams.event(0, 12, "A", "X", 3.0, 0), streams.event(1, 12.05, "A", "X", 5.0, 0)])
    again = _served(running, [streams.event(1, 12.1, "A", "X", 7.0, 0)])
    assert again["customer_amount_sum_10min"].item() == 3
    assert _served(running, [streams.event(2, 12.15, "A", "X", 1.0, 0)])["customer_amount_sum_10min"].item() == 8


def test_what_the_lake_says_replaces_what_was_sent(tmp_path: Path) -> None:
    config = deployment(tmp_path)
    running = _running(config)
    sent = streams.event(1, 12, "A", "X", 5.0, 0)
    _served(running, [sent, streams.event(2, 12.01, "A", "X", 1.0, 0)])
    _in_the_lake(config, [sent | {"amount": 6.0, "customer_id": "B", "event_time": sent["event_time"] + MINUTE}])
    running._load_lake()
    found = _served(running, [streams.event(3, 12.1, c, "X", 1.0, 0) for c in "AB"])
    assert found["customer_amount_sum_10min"].tolist() == [1, 6]


def test_files_of_the_lake_are_followed(tmp_path: Path) -> None:
    """What was not scored, because it came another way or while the service was away, counts once it is ingested."""
    config = deployment(tmp_path)
    running = _running(config)
    _in_the_lake(config, [streams.event(1, 12, "A", "X", 5.0, 0)])
    assert _served(running, [streams.event(2, 12.05, "A", "X", 1.0, 0)])["customer_amount_count_10min"].item() == 0
    running._load_lake()
    assert _served(running, [streams.event(3, 12.1, "A", "X", 1.0, 0)])["customer_amount_count_10min"].item() == 2


def test_memory_is_bounded_and_windows_that_reach_back_too_far_are_missing(tmp_path: Path) -> None:
    running = _running(deployment(tmp_path), held=10)
    for number in range(50):
        _served(running, [streams.event(number, 12 + number / 60, f"C{number}", "X", 1.0, 0)])
        assert len(running) <= 10
    found = _served(running, [streams.event(99, 12 + 50 / 60, "C49", "X", 1.0, 0)])
    assert np.isnan(found["customer_amount_count_1440min"].item())
    assert np.isnan(found["terminal_amount_count_60min"].item())
    assert len(running._rings[0]) + len(running._rings[1]) <= 11


def test_events_are_forgotten_when_no_window_can_reach_them(tmp_path: Path) -> None:
    """Held are two days: those of an event of now, and of one that comes a day late."""
    running = _running(deployment(tmp_path))
    for day in range(6):
        _served(running, [streams.event(day, 12 + 24 * day, "A", "X", 1.0, 0)])
    assert len(running) == 3
    late = _served(running, [streams.event(10, 12.1 + 24 * 4, "A", "X", 1.0, 0)])
    assert late["customer_amount_count_1440min"].item() == 1
    too_late = _served(running, [streams.event(11, 12.1 + 24 * 2, "A", "X", 1.0, 0)])
    assert np.isnan(too_late["customer_amount_count_1440min"].item())
