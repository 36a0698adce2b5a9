"""Nothing that arrives now appears in a past that was published or trained on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality.arrival import published
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from tests.deployments import FIRST_AS_OF, land, payments, small

HOUR = dt.timedelta(hours=1)
ARCHIVE = FIRST_AS_OF - 5 * HOUR  # up to `archive_until` of the small deployment
CADENCE = dt.datetime(2025, 3, 11, 1, tzinfo=dt.UTC)  # when the live feed brings the payments of 10 March


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small(tmp_path)


def _arrive(config: Config, as_of: dt.datetime, start: int) -> dt.datetime:
    """Ingest new payments of 10 March and return since when they are known."""
    land(config, f"payments_{start}.parquet", payments(10, start=start))
    load_batch(config, as_of, validate_batch(config, as_of).staged)
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        found = connection.execute(
            "SELECT DISTINCT known_at FROM events WHERE event_id >= $first AND event_id < $end",
            {"first": f"P{start:07d}", "end": f"P{start + 10:07d}"},
        ).fetchall()
    ((known,),) = found
    return known


def _publish(config: Config, created: dt.datetime, view: str = "a_view", name: str = "2025-03-11_2025-03-11") -> None:
    folder = config.features / view
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.table({"x": [1]}).replace_schema_metadata({"created": created.isoformat()})
    pq.write_table(rows, folder / f"{name}.parquet")


def test_the_archive_is_known_when_the_live_feed_would_have_brought_it(config: Config) -> None:
    assert _arrive(config, ARCHIVE, 0) == CADENCE


def test_a_mended_file_of_the_archive_is_backdated_until_something_is_published(config: Config) -> None:
    assert _arrive(config, ARCHIVE, 0) == CADENCE
    assert _arrive(config, ARCHIVE, 100) == CADENCE
    _publish(config, ARCHIVE - HOUR)
    assert _arrive(config, ARCHIVE, 200) == ARCHIVE


def test_the_live_feed_is_known_from_its_own_instant_on(config: Config) -> None:
    assert _arrive(config, FIRST_AS_OF + HOUR, 0) == FIRST_AS_OF + HOUR


def test_what_arrives_twice_at_one_instant_is_known_from_that_instant_on(config: Config) -> None:
    late = FIRST_AS_OF + HOUR
    assert [_arrive(config, late, start) for start in (0, 100)] == [late, late]


def test_a_file_that_is_ingested_in_the_past_is_known_no_earlier_than_what_came_before_it(config: Config) -> None:
    late = FIRST_AS_OF + 48 * HOUR
    assert _arrive(config, late, 0) == late
    assert _arrive(config, FIRST_AS_OF + HOUR, 100) == late
    assert _arrive(config, ARCHIVE, 200) == late


def test_what_arrives_at_or_before_a_publication_is_known_right_after_it(config: Config) -> None:
    late = FIRST_AS_OF + HOUR
    _publish(config, late)
    right_after = late + dt.timedelta(microseconds=1)
    assert _arrive(config, late, 0) == right_after
    assert _arrive(config, late - HOUR, 100) == right_after
    assert _arrive(config, late + HOUR, 200) == late + HOUR


def test_features_published_between_check_and_load_push_the_arrival_behind_them(config: Config) -> None:
    late = FIRST_AS_OF + HOUR
    land(config, "payments_0.parquet", payments(10))
    told = validate_batch(config, late)
    _publish(config, late)
    load_batch(config, late, told.staged)
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        assert connection.execute("SELECT min(known_at) FROM events").fetchone() == (late + dt.timedelta(microseconds=1),)


def test_the_newest_file_of_the_newest_view_tells_when_features_were_published(config: Config) -> None:
    assert published(config) is None
    _publish(config, CADENCE, name="2025-03-10_2025-03-10")
    _publish(config, CADENCE + HOUR, name="2025-03-11_2025-03-11")
    _publish(config, CADENCE + 3 * HOUR, view="another")
    (config.features / "another" / ".2025-03-12_2025-03-12.parquet.17").write_bytes(b"half a file")
    assert published(config) == CADENCE + 3 * HOUR


def test_a_publication_without_its_instant_is_told(config: Config) -> None:
    folder = config.features / "a_view"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), folder / "2025-03-11_2025-03-11.parquet")
    with pytest.raises(ValueError, match="lack `created`"):
        published(config)
