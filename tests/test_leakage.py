"""What became known after `as_of` is not in a training set, however it got into the lake: not one byte changes.

Each plant is shown to be a real one: a later training set does change by it.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.config import Config
from ml.features import history, publish
from ml.features.windows import schema_of
from ml.lake import schema
from ml.lake.tables import Lake
from ml.training import dataset
from ml.training.split import split
from tests import villages

DAY = dt.timedelta(days=1)
AS_OF = villages.ARCHIVE_UNTIL + 2 * DAY
LATER = AS_OF + 9 * DAY

# A day of the training window and one of the holdout as of AS_OF, and one of the holdout as of LATER.
DAYS = [dt.date(2025, 1, 15), dt.date(2025, 1, 29), dt.date(2025, 2, 7)]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment on the morning of `AS_OF`, features published, its training set frozen."""
    config = villages.village(tmp_path_factory.mktemp("lived"))
    villages.live_until(config, AS_OF)
    return config


@pytest.fixture
def config(lived: Config, tmp_path: Path) -> Config:
    """A copy in which something can be planted."""
    return _copy(lived, tmp_path)


def _copy(lived: Config, folder: Path) -> Config:
    shutil.copytree(lived.home, folder / "home")
    return villages.village(folder)


def _frozen(config: Config, as_of: dt.datetime) -> bytes:
    """Bytes of a training set that is built anew."""
    shutil.rmtree(config.home / "training_sets", ignore_errors=True)
    told = dataset.build_training_set(config, as_of)
    return dataset.path_of(config, told.training_set).read_bytes()


def _events(config: Config) -> pd.DataFrame:
    """Id and day of payments of the days that something is planted on, with the answer that is known."""
    days = ", ".join(f"DATE '{day}'" for day in DAYS)
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables) as connection:
        return connection.execute(
            "SELECT event_id, event_time::DATE AS day, coalesce(max(label), 0)::INT AS label "
            f"FROM events LEFT JOIN labels USING (event_id) WHERE event_time::DATE IN ({days}) GROUP BY ALL ORDER BY event_id"
        ).df()


def _label(config: Config, event_id: str, label: int, known_at: dt.datetime, source: str = "chargeback") -> None:
    row = {
        "event_id": event_id,
        "label": label,
        "source": source,
        "reported_at": known_at,
        "known_at": known_at,
        "batch_id": f"planted {event_id} {label} {known_at}",
    }
    Lake(config.lake).append_batches(schema.LABELS, pa.Table.from_pylist([row], schema.LABELS_SCHEMA))


def plant_future_feature_row(config: Config) -> None:
    """Someone publishes, after the training, other values for all of the past."""
    for window in config.windows:
        columns = schema_of(config, window)
        past = pa.concat_tables([pq.read_table(f) for f in history.folder(config, window).glob("*.parquet")]).to_pandas()
        past = past.assign(created_timestamp=pd.Timestamp(AS_OF + dt.timedelta(hours=1)).as_unit("us"))
        past[window.features] = 1e6
        told = {
            "first": "2025-01-02",
            "last": str(AS_OF.date()),
            "created": (AS_OF + dt.timedelta(hours=1)).isoformat(),
            "initial": "False",
        }
        rows = pa.Table.from_pandas(past, columns, preserve_index=False)
        name = f"2025-01-02_{AS_OF.date()}-planted.parquet"
        pq.write_table(rows.replace_schema_metadata(told), history.folder(config, window) / name)


def plant_future_label(config: Config) -> None:
    """Frauds are reported after the training; of the fitted ones, one day after the holdout began."""
    known_at = dict.fromkeys(DAYS, AS_OF + DAY) | {DAYS[0]: split(config, AS_OF).holdout_start + DAY}
    for event in _events(config).query("label == 0").groupby("day").head(20).itertuples():
        _label(config, event.event_id, 1, known_at[event.day.date()])


def plant_late_correction(config: Config) -> None:
    """The best source takes back, after the training, what was taken for fraud, and says that the rest was."""
    for event in _events(config).groupby(["day", "label"]).head(15).itertuples():
        _label(config, event.event_id, 1 - event.label, AS_OF + 2 * DAY)


def _backdated(config: Config) -> None:
    for day in DAYS:
        template = pq.read_table(config.landing / f"payments_{day}.parquet").to_pandas()
        late = template.assign(payment_id="late-" + template["payment_id"].astype(str))
        late.to_parquet(config.landing / f"payments_{day}_late.parquet", index=False)


def plant_backdated_file(config: Config) -> None:
    """A file about the training window lands a day later."""
    _backdated(config)
    villages.ingest(config, AS_OF + DAY)


def plant_file_ingested_with_an_old_as_of(config: Config) -> None:
    """The same file, and whoever ingests it says that it is still January."""
    _backdated(config)
    villages.ingest(config, AS_OF - 10 * DAY)


PLANTS = [
    plant_future_feature_row,
    plant_future_label,
    plant_late_correction,
    plant_backdated_file,
    plant_file_ingested_with_an_old_as_of,
]


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_in_the_future_does_not_change_one_byte(config: Config, plant: Callable[[Config], None]) -> None:
    before = _frozen(config, AS_OF)
    plant(config)
    assert _frozen(config, AS_OF) == before


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_is_seen_when_its_time_has_come(
    config: Config, without: bytes, plant: Callable[[Config], None]
) -> None:
    """Nine days later the same plant does change the training set: it was not too weak to be seen."""
    plant(config)
    _let_pass(config)
    assert _frozen(config, LATER) != without


@pytest.fixture(scope="module")
def without(lived: Config, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The training set of `LATER` when nothing was planted."""
    config = _copy(lived, tmp_path_factory.mktemp("without"))
    _let_pass(config)
    return _frozen(config, LATER)


def _let_pass(config: Config) -> None:
    villages.write_until(config, (LATER - DAY).date())
    for days in (1, 9):
        villages.ingest(config, AS_OF + days * DAY)
        publish.publish_features(config, AS_OF + days * DAY)
