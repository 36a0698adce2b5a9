"""A history made again from the lake alone has the same bytes, whatever happened while it was published."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from ml import artifacts
from ml.artifacts import Folder
from ml.config import Config
from ml.features.history import digest, folder, history, kind_of, rebuild, write
from ml.features.publish import publish_features
from tests.features import streams
from tests.features.streams import DAY, HOUR, START, contents


def _in_another_unit(path: Path) -> None:
    """Leave a whole state that counts in other ticks and does not say so; one that is broken already stays as it is."""
    if not path.name.endswith(hashlib.sha256(path.read_bytes()).hexdigest()[:16]):
        return
    rows = feather.read_table(path, memory_map=False)
    told = {name: value for name, value in rows.schema.metadata.items() if name != b"every"}
    coarser = rows.set_column(1, "first", pc.divide(rows["first"], 24)).replace_schema_metadata(told)
    path.unlink()
    store, kind = Folder(path.parents[2]), f"features/{path.parent.name}"
    store.put_by_content(
        kind, lambda sha256: f"{path.name[:-17]}-{sha256[:16]}", lambda file: feather.write_feather(coarser, file)
    )


MEDDLE = {
    "nothing": lambda path: None,
    "lost": lambda path: path.unlink(),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "changed": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"otherwise"),
    "old": lambda path: path.write_bytes(b""),
    "in another unit": _in_another_unit,
}


def _states(config: Config) -> list[Path]:
    return [path for window in config.windows for path in folder(config, window).glob("state_*")]


def _assert_rebuilt(config: Config, into: Path) -> None:
    for window in config.windows:
        rebuild(config, window, history(config, window), Folder(into))
        assert contents(into / kind_of(config, window)) == contents(folder(config, window))


def _played(
    told: list[tuple],
    cuts: list[int],
    home: Path,
    meddled: list[str] | None = None,
    hours: int = 24,
    complete: bool = False,
) -> Config:
    """A deployment in which each publication, `cuts` hours from START, saw only the rows that had become known."""
    config = streams.deployment(home, hours, complete)
    events, labels = streams.rows_of(told)
    before = START
    for number, cut in enumerate(cuts):
        now = START + cut * HOUR
        streams.fill(config, events, labels, now, before)
        publish_features(config, now)
        for path in _states(config):
            MEDDLE[meddled[number % len(meddled)] if meddled else "nothing"](path)
        before = now
    return config


@settings(max_examples=12, deadline=None)
@given(
    told=streams.stream,
    cuts=streams.cuts,
    hours=streams.cadences,
    meddled=st.lists(st.sampled_from(sorted(MEDDLE)), min_size=1, max_size=4),
    complete=st.booleans(),
)
def test_increments_in_any_cut_are_rebuilt_byte_for_byte_whatever_became_of_the_state(
    told: list[tuple],
    cuts: list[int],
    hours: int,
    meddled: list[str],
    complete: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("history")
    _assert_rebuilt(_played(told, cuts, home, meddled, hours, complete), home / "again")


@pytest.fixture(scope="module")
def told() -> list[tuple]:
    """Three weeks of events, some late, some reported."""
    return [
        (5 + 7 * i, "ABC"[i % 3], "XY"[i % 2], 1.0 + i, (0, 0, 4)[i % 3], [(7, 1, "customer")] if i % 4 == 0 else [])
        for i in range(60)
    ]


@pytest.fixture(scope="module")
def undisturbed(told: list[tuple], tmp_path_factory: pytest.TempPathFactory) -> Config:
    return _played(told, [day * 24 + 1 for day in (10, 11, 14, 15)], tmp_path_factory.mktemp("undisturbed"))


def test_equal_contents_have_equal_digests(undisturbed: Config, tmp_path: Path) -> None:
    window = undisturbed.windows[0]
    published = history(undisturbed, window)
    assert [(p.first.day, p.last.day, p.initial) for p in published] == [
        (2, 11, True),
        (12, 12, False),
        (13, 15, False),
        (16, 16, False),
    ]
    other = undisturbed.model_copy(update={"home": tmp_path, "lake_folder": undisturbed.lake})
    rebuild(other, window, published[:3], artifacts.of(other))
    assert digest(other, window) != digest(undisturbed, window)
    rebuild(other, window, published, artifacts.of(other))
    assert digest(other, window) == digest(undisturbed, window)


def test_a_name_tells_its_files_content(undisturbed: Config) -> None:
    for window in undisturbed.windows:
        for part in history(undisturbed, window):
            rows = pq.read_table(part.path)
            assert rows.num_rows == pq.read_metadata(part.path).num_rows
            changed = write(rows.slice(1), part, artifacts.of(undisturbed), "other")
            assert changed.name != part.path.name
            assert write(rows, part, artifacts.of(undisturbed), "other").name == part.path.name


class Killed(BaseException):
    """Ends a publication at once, as a kill would."""


def _kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the process in the middle of, before or after the `number`th change to the disk."""
    count = iter(range(10_000))

    def interrupted(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(count) == number:
                raise Killed
            done = function(*args, **kwargs)
            if next(count) == number:
                raise Killed
            return done

        return call

    def torn(function: Any) -> Any:
        def call(rows: Any, path: Path, **options: Any) -> None:
            function(rows, path, **options)
            if next(count) == number:
                path.write_bytes(path.read_bytes()[:100])
                raise Killed

        return call

    monkeypatch.setattr(pq, "write_table", torn(pq.write_table))
    monkeypatch.setattr(feather, "write_feather", torn(feather.write_feather))
    monkeypatch.setattr(Path, "rename", interrupted(Path.rename))
    monkeypatch.setattr(Path, "unlink", interrupted(Path.unlink))
    monkeypatch.setattr(os, "link", interrupted(os.link))


@pytest.mark.parametrize("cut", [10, 14])
def test_a_publication_that_was_killed_anywhere_is_completed_with_the_same_bytes(
    cut: int, told: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, labels = streams.rows_of(told)
    config = streams.deployment(tmp_path)
    before = START + 9 * DAY + HOUR
    now = START + cut * DAY + HOUR
    streams.fill(config, events, labels, before)
    if cut > 10:
        publish_features(config, before)
    streams.fill(config, events, labels, now, before)
    whole = config.model_copy(update={"home": tmp_path / "whole"})
    shutil.copytree(config.home, whole.home)
    publish_features(whole, now)
    kills = 0
    while True:
        copy = config.model_copy(update={"home": tmp_path / f"killed-{kills}"})
        shutil.copytree(config.home, copy.home)
        with monkeypatch.context() as patched:
            _kill_at(kills, patched)
            try:
                publish_features(copy, now)
                break
            except Killed:
                kills += 1
        publish_features(copy, now)
        for window in config.windows:
            assert contents(folder(copy, window)) == contents(folder(whole, window))
            assert {p.name for p in folder(copy, window).iterdir() if p.name.startswith(".private")} == set()
    assert kills >= 12


def test_two_publishers_of_one_day_leave_one_file(told: list[tuple], tmp_path: Path) -> None:
    events, labels = streams.rows_of(told)
    config = streams.deployment(tmp_path)
    streams.fill(config, events, labels, START + 11 * DAY + HOUR)
    publish_features(config, START + 10 * DAY + HOUR)
    together = Barrier(2)

    def publish(now: dt.datetime) -> int:
        together.wait()
        return publish_features(config, now).rows

    with ThreadPoolExecutor(2) as pool:
        rows = sorted(pool.map(publish, [START + 11 * DAY + HOUR, START + 11 * DAY + 2 * HOUR]))
    for window in config.windows:
        ranges = [(part.first, part.last) for part in history(config, window)]
        assert len(ranges) == 2
        assert len(set(ranges)) == 2
    assert sum(rows) == sum(pq.read_metadata(history(config, window)[-1].path).num_rows for window in config.windows)


def test_what_lands_after_its_time_counts_from_the_next_snapshot_on(tmp_path: Path) -> None:
    """An ingestion may be repeated for an instant at which features were published already."""
    config = streams.deployment(tmp_path)
    events = [streams.event(0, 50, "A", "X", 10.0, 0), streams.event(1, 51, "A", "X", 30.0, 0)]
    streams.fill(config, events[:1], [], START + 3 * DAY + HOUR)
    publish_features(config, START + 3 * DAY + HOUR)
    streams.fill(config, events[1:], [], START + 3 * DAY + 2 * HOUR)
    publish_features(config, START + 4 * DAY + HOUR)
    assert [row["customer_amount_sum_3d"] for row in streams.published(config, config.windows[0])] == [10.0, 40.0]


def test_readers_see_complete_files_only(undisturbed: Config) -> None:
    for window in undisturbed.windows:
        place = folder(undisturbed, window)
        hidden = {path.name for path in place.iterdir()} - set(contents(place))
        assert {name[:6] for name in hidden} == {"state_"}
        assert len(hidden) == 1


def test_a_folders_name_is_no_pattern(told: list[tuple], tmp_path: Path) -> None:
    odd = tmp_path / "it's *one*?"
    odd.mkdir()
    _assert_rebuilt(_played(told[:20], [3 * 24 + 1, 4 * 24 + 1, 6 * 24 + 1], odd), tmp_path / "again")
