"""The step `monitor`: each day once, whole, in its order, and from nothing but what was known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from ml import steps
from ml.__main__ import main
from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.monitoring.champion import champion_of
from ml.monitoring.monitor import days_at_once, monitor
from ml.monitoring.reference import reference_of
from ml.monitoring.traffic import SCORE, traffic
from ml.monitoring.words import TRAFFIC
from tests.deployments import FIRST_AS_OF, small
from tests.monitoring import living
from tests.monitoring.conftest import NIGHTS
from tests.monitoring.living import DAY, night

LAST = night(NIGHTS)
DAYS = NIGHTS + 7
"""Days from the end of the reference, which is the label's delay before the training."""


@pytest.fixture(scope="module")
def monitored(lived: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A copy whose days were all monitored at once."""
    config = living.copy(lived, tmp_path_factory.mktemp("monitored"))
    assert len(monitor(config, LAST).days) == DAYS
    return config


def test_the_stock_stream_raises_no_alarm_and_no_incident(monitored: Config) -> None:
    signals = Ledger(monitored.ledger).signals
    assert (signals.confirmations(monitored.name), signals.incidents(monitored.name)) == ([], [])
    assert Ledger(monitored.ledger).messages.all(monitored.name) == []


def test_days_are_monitored_from_the_end_of_the_reference_to_the_last_that_is_complete(monitored: Config) -> None:
    days = sorted({day for day, _ in living.seen(monitored)})
    until = reference_of(monitored, champion_of(monitored, "1")).until
    assert days == [until + i * DAY for i in range(DAYS)]
    assert days[-1] == LAST.date() - DAY


def test_a_day_is_not_complete_before_its_file_should_have_come(config: Config) -> None:
    midnight = dt.datetime.combine(FIRST_AS_OF.date(), dt.time(), dt.UTC)
    assert monitor(config, midnight + dt.timedelta(minutes=59)).days[-1] == str(midnight.date() - 2 * DAY)
    assert monitor(config, midnight + dt.timedelta(minutes=60)).days == (str(midnight.date() - DAY),)


def test_a_second_run_does_nothing(monitored: Config) -> None:
    before = living.seen(monitored)
    told = monitor(monitored, LAST)
    assert (told.days, told.version, living.seen(monitored)) == ((), "1", before)


def test_night_by_night_the_same_is_seen_as_all_at_once(config: Config, monitored: Config) -> None:
    for number in (0, 1, 3, NIGHTS):
        monitor(config, night(number))
    assert living.seen(config) == living.seen(monitored)


def test_what_became_known_later_is_not_seen(config: Config, monitored: Config) -> None:
    """Events, frauds and other scores, all of them known an hour after the last run; an hour later they would be seen."""
    late, since = LAST + dt.timedelta(hours=1), FIRST_AS_OF.date() - 20 * DAY
    lake = Lake(config.lake)
    with lake.connect({schema.EVENTS: schema.events(config)}) as connection:
        sampled = f"SELECT * FROM events WHERE event_time >= '{since}' AND hash(event_id) % 10 = 0"
        events = connection.execute(sampled).to_arrow_table().to_pylist()
    for name, columns, rows in (
        (schema.EVENTS, schema.events(config), [e | {"event_id": f"late {e['event_id']}"} for e in events]),
        (schema.LABELS, schema.LABELS_SCHEMA, [e | {"label": 1, "source": "chargeback", "reported_at": late} for e in events]),
        (schema.PREDICTIONS, schema.PREDICTIONS_SCHEMA, [e | {"version": "1", "score": 0.5} for e in events]),
    ):
        planted = [row | {"known_at": late, "batch_id": f"planted {name}"} for row in rows]
        lake.append_batches(name, pa.Table.from_pylist(planted, columns))
    monitor(config, LAST)
    assert living.seen(config) == living.seen(monitored)
    day = LAST.date() - DAY
    before, after = (traffic(config, as_of, champion_of(config, "1"), [day])[day] for as_of in (LAST, late))
    assert len(after.rows) > len(before.rows)
    assert (before.logged, after.logged > 0) == (0, True)


def test_scores_of_the_prediction_log_are_used_where_there_are_any(config: Config) -> None:
    day, lake = LAST.date() - DAY, Lake(config.lake)
    monitor(config, LAST - DAY)
    with lake.connect({schema.EVENTS: schema.events(config)}) as connection:
        found = connection.execute(f"SELECT * FROM events WHERE event_time::DATE = '{day}' ORDER BY event_id").to_arrow_table()
    events = found.to_pylist()
    given = [e | {"version": "1", "score": 0.999, "batch_id": "served"} for e in events[:1000]]
    others = [e | {"version": "2", "score": 0.999, "batch_id": "shadow"} for e in events]
    lake.append_batches(schema.PREDICTIONS, pa.Table.from_pylist(given + others, schema.PREDICTIONS_SCHEMA))
    monitor(config, LAST)
    (_, rows, _, _, told) = living.seen(config)[day, TRAFFIC]
    assert told["scores"] == f"1,000 scores from the prediction log, {len(events) - 1000:,} by scoring the lake"
    assert rows == len(events)
    assert told["kept"]["outputs"]["counts"][SCORE]["present"][-1] >= 1000


def test_a_deployment_without_a_champion_is_told_so(tmp_path: Path) -> None:
    told = monitor(small(tmp_path), FIRST_AS_OF)
    assert (told.days, told.version) == ((), None)
    assert "no champion" in told.note


def test_a_new_champion_begins_anew_and_one_that_returns_goes_on(config: Config) -> None:
    monitor(config, LAST)
    first = living.seen(config)
    version = living.crown(config, "1", iterations=10)
    told = steps.run("monitor", config, LAST, {"run_id": "r"})
    assert (told["version"], len(told["days"])) == (version, DAYS)
    scores = {v: living.seen(config, v)[LAST.date() - DAY, f"{SCORE}: location"] for v in ("1", version)}
    assert scores["1"] != scores[version]
    assert living.seen(config, "1") == first
    assert len(list((config.home / "monitoring").glob("[0-9]*"))) == 2
    living.move(config, version, "1")
    assert monitor(config, LAST).days == ()


def test_the_command_shows_signals_and_performance(monitored: Config, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(monitored.home.parent / "deployment.yaml")
    assert main(["signals", "--config", path, "--days", "3"]) == 0
    told = capsys.readouterr().out
    assert f"version 1, monitored up to {LAST.date() - DAY}" in told
    assert "estimate" in told
    assert "OK" in told


@pytest.mark.parametrize(("rows_a_day", "days"), [(1, 28), (100_000, 20), (2_000_000, 1), (50_000_000, 1)])
def test_the_more_events_a_day_has_the_fewer_days_are_joined_at_once(rows_a_day: int, days: int) -> None:
    reference = SimpleNamespace(volumes={FIRST_AS_OF.date(): rows_a_day, FIRST_AS_OF.date() + DAY: rows_a_day})
    assert days_at_once(reference) == days
