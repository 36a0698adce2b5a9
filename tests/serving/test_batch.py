"""A table is scored as a whole, each row once by a version, whoever runs how often and is cut off where."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from ml.__main__ import main
from ml.config import Config, EventWindow
from ml.lake import schema
from ml.lake.maintenance import compact, vacuum
from ml.lake.tables import Lake
from ml.model.inputs import MISSING, Inputs
from ml.model.model import Model
from ml.serving import batch, source
from ml.serving.batch import score
from ml.serving.champion import open_champion
from ml.serving.registered import open_registered
from ml.training import dataset
from tests import villages
from tests.models import INPUTS
from tests.monitoring import living
from tests.serving.packages import FIT, register
from tests.villages import ARCHIVE_UNTIL, DAY

AS_OF = ARCHIVE_UNTIL + 2 * DAY


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Model]:
    """Six weeks of payments and two versions, of which the first is champion."""
    folder = tmp_path_factory.mktemp("batch")
    config = villages.village(folder)
    villages.live_until(config, AS_OF)
    model, first = register(config, folder / "first")
    register(config, folder / "second", seed=2)
    living.move(config, None, first)
    return config, model


@pytest.fixture
def config(village: tuple[Config, Model], tmp_path: Path) -> Config:
    """The deployment with a lake of its own."""
    shutil.copytree(village[0].lake, tmp_path / "lake")
    return village[0].model_copy(update={"lake_folder": tmp_path / "lake"})


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows a commit."""
    monkeypatch.setattr(source, "CHUNK", 300)


def scores(config: Config) -> pd.DataFrame:
    """The table of scores by event and version, of which there is one each."""
    with Lake(config.lake).connect({schema.SCORES: schema.SCORES_SCHEMA}) as connection:
        found = connection.execute("SELECT * FROM scores ORDER BY version, source, event_id").df()
    assert not found.duplicated(["event_id", "version", "source"]).any()
    return found


def events(config: Config, table: str = schema.EVENTS) -> pd.DataFrame:
    """The events of the lake."""
    with Lake(config.lake).connect({table: schema.events(config)}) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY event_id").df()


def commits(config: Config) -> int:
    return Lake(config.lake).version(schema.SCORES)


def plain(found: pd.DataFrame) -> pd.DataFrame:
    """What does not depend on how it was cut into commits."""
    return found.drop(columns="batch_id")


@pytest.mark.usefixtures("small_chunks")
def test_scores_are_those_of_the_training_set(config: Config, village: tuple[Config, Model]) -> None:
    told = score(config, AS_OF)
    every = events(config)
    assert (told.table, told.version, told.rows, told.added) == ("events", "1", len(every), len(every))
    found = scores(config)
    assert found["event_id"].tolist() == every["event_id"].tolist()
    assert (found["event_time"] == every["event_time"]).all()
    assert (found["decision"] == np.where(found["score"] >= FIT.threshold, "alert", "pass")).all()
    assert told.alerts == (found["decision"] == "alert").sum() > 0
    assert (found["known_at"] == AS_OF).all()
    assert found["batch_id"].nunique() > 3
    frozen = dataset.read(config, dataset.build_training_set(village[0], AS_OF).training_set)
    expected = village[1].score(frozen)
    np.testing.assert_array_equal(found.set_index("event_id").loc[frozen["event_id"], "score"], expected)


def test_the_same_call_again_writes_nothing(config: Config) -> None:
    score(config, AS_OF)
    before, version = scores(config), commits(config)
    again = score(config, AS_OF)
    assert (again.added, again.alerts) == (0, 0)
    assert f"scored 0 of {len(before):,} rows of events: 0 alerts; {len(before):,} had a score" in again.note
    assert commits(config) == version
    pd.testing.assert_frame_equal(scores(config), before)


def test_parts_and_chunks_come_to_the_same_as_one_run(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    score(config, AS_OF)
    whole = plain(scores(config))
    shutil.copytree(Lake(config.lake).root.address, tmp_path / "other", ignore=shutil.ignore_patterns(schema.SCORES))
    other = config.model_copy(update={"lake_folder": tmp_path / "other"})
    monkeypatch.setattr(source, "CHUNK", 300)
    day = score(other, AS_OF, first="2025-01-20", last="2025-01-20")
    days = score(other, AS_OF, first="2025-01-19", last="2025-01-22")
    rest = score(other, AS_OF, last="2025-01-25"), score(other, AS_OF, first="2025-01-01"), score(other, AS_OF)
    assert 0 < day.added == day.rows < days.rows
    assert days.added == days.rows - day.added
    assert "of events from 2025-01-19 to 2025-01-22" in days.note
    assert rest[-1].added == 0
    pd.testing.assert_frame_equal(plain(scores(other)), whole)


def test_what_became_known_later_is_added(config: Config) -> None:
    early = score(config, AS_OF - DAY)
    known = (events(config)["known_at"] <= AS_OF - DAY).sum()
    assert early.added == early.rows == known < len(events(config))
    late = score(config, AS_OF)
    assert (late.rows, late.added) == (len(events(config)), len(events(config)) - known)
    assert scores(config)["known_at"].value_counts().to_dict() == {AS_OF - DAY: known, AS_OF: late.added}
    # Who looks with an older clock sees what is there, too.
    assert score(config, AS_OF - DAY).added == 0


def test_each_version_has_its_own_scores(config: Config) -> None:
    first, second = score(config, AS_OF), score(config, AS_OF, version="2")
    assert first.added == second.added == second.rows
    assert score(config, AS_OF, version="1").added == 0
    found = scores(config)
    assert found["version"].value_counts().to_dict() == {"1": first.rows, "2": first.rows}
    assert (found.loc[found["version"] == "1", "score"].to_numpy() != found.loc[found["version"] == "2", "score"]).any()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("at", [0, 3])
def test_a_run_that_is_not_alone_doubles_nothing(config: Config, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """While a run works on its chunk, another one scores some days, or everything."""
    real, calls = batch._scored, []

    def slow(*given: Any) -> pa.Table:
        calls.append(len(calls))
        if calls[-1] == at:
            others.append(score(config, AS_OF, last="2025-01-25"))
        return real(*given)

    others: list[batch.Scored] = []
    monkeypatch.setattr(batch, "_scored", slow)
    told = score(config, AS_OF)
    assert others[0].added > 0
    assert told.added + others[0].added == told.rows == len(scores(config))
    assert score(config, AS_OF).added == 0


@pytest.mark.usefixtures("small_chunks")
def test_while_a_chunk_is_committed_the_next_one_is_scored(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    scored, append, calls = batch._scored, Lake.append_batches, []
    second = threading.Event()

    def scoring(*given: Any) -> pa.Table:
        calls.append(1)
        if len(calls) == 2:
            second.set()
        return scored(*given)

    def committing(self: Lake, *given: Any) -> int:
        assert second.wait(60), "nothing is scored before the first chunk is in"
        return append(self, *given)

    monkeypatch.setattr(batch, "_scored", scoring)
    monkeypatch.setattr(Lake, "append_batches", committing)
    assert score(config, AS_OF).added == len(events(config)) > 300


def test_the_champion_is_scored_as_it_was_released_when_the_registry_is_away(config: Config, tmp_path: Path) -> None:
    champion = open_champion(config)
    away = config.model_copy(update={"mlflow_uri": f"sqlite:///{tmp_path}/nowhere/mlflow.db"})
    told = score(away, AS_OF)
    assert (told.version, told.added) == ("1", len(events(config)))
    assert champion.sha256 == open_registered(config, "1").sha256
    assert scores(config)["batch_id"].str.contains(champion.sha256).all()


@pytest.mark.usefixtures("small_chunks")
def test_a_run_that_failed_is_finished_by_the_next_one(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Lake.append_batches, []

    def full(self: Lake, *given: Any) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(self, *given)

    monkeypatch.setattr(Lake, "append_batches", full)
    with pytest.raises(OSError, match="No space left"):
        score(config, AS_OF)
    there = len(scores(config))
    assert 0 < there < len(events(config))
    assert score(config, AS_OF).added == len(events(config)) - there
    assert len(scores(config)) == len(events(config))


@pytest.mark.usefixtures("small_chunks")
def test_merged_files_and_rows_that_somebody_deleted_change_nothing(config: Config) -> None:
    score(config, AS_OF, last="2025-01-25")
    lake = Lake(config.lake)
    for table in (schema.EVENTS, schema.SCORES):
        compact(lake, table)
        vacuum(lake, table, ())
    score(config, AS_OF)
    last = scores(config)["batch_id"].max()
    opened = lake.open(schema.SCORES)
    assert opened is not None
    opened.delete(f"batch_id = '{last}'")
    assert score(config, AS_OF).added > 0
    assert len(scores(config)) == len(events(config))


def complete(config: Config, table: str, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows) -> pd.DataFrame:
    """A table with all inputs of a version, with gaps in each of them; its rows."""
    rows = pd.DataFrame(
        {
            "event_id": [f"X{i}" for i in range(1000)],
            "event_time": pd.Timestamp("2025-01-10", tz="UTC") + pd.to_timedelta(np.arange(1000), "h"),
            "amount": np.where(np.arange(1000) % 7, np.linspace(0, 90, 1000), np.nan),
            "customer_amount_mean_7d": np.where(np.arange(1000) % 5, 20.0, np.nan),
            "channel": [[None, "chip", "online", "", "never seen"][i % 5] for i in range(1000)],
        }
    )
    rows = change(rows)
    write_deltalake(Lake(config.lake).uri(table), pa.Table.from_pandas(rows, preserve_index=False))
    return rows


@pytest.mark.usefixtures("small_chunks")
def test_a_table_of_complete_rows_is_scored_as_it_stands(config: Config, village: tuple[Config, Model]) -> None:
    rows = complete(config, "of_others")
    told = score(config, AS_OF, table="of_others")
    assert (told.table, told.added) == ("of_others", 1000)
    found = scores(config).set_index("event_id").loc[rows["event_id"]]
    np.testing.assert_array_equal(found["score"], village[1].score(rows))
    score(config, AS_OF)
    assert scores(config)["source"].value_counts()["of_others"] == 1000
    assert score(config, AS_OF, table="of_others", first="2025-01-12").added == 0


def test_numbers_of_other_types_are_numbers(config: Config, village: tuple[Config, Model]) -> None:
    rows = complete(
        config, "whole", lambda rows: rows.assign(amount=rows["amount"].fillna(0).astype("int32"), event_id=range(1000))
    )
    score(config, AS_OF, table="whole")
    found = scores(config).set_index("event_id").loc[rows["event_id"].astype(str)]
    np.testing.assert_array_equal(found["score"], village[1].score(rows))


@pytest.mark.parametrize(
    ("table", "change", "reason"),
    [
        (
            "lacking",
            lambda rows: rows.drop(columns="amount"),
            r"table lacking lacks \['amount'\]; a table that version 1 can score",
        ),
        ("timeless", lambda rows: rows.drop(columns="event_time"), r"lacks \['event_time'\]"),
        ("texts", lambda rows: rows.assign(amount="12"), "texts: amount is of type string, expected a number"),
        ("days", lambda rows: rows.assign(event_time="2025-01-10"), "event_time is of type string, expected an instant"),
        ("codes", lambda rows: rows.assign(channel=3), "channel is of type long, expected a text"),
        ("nobody", lambda rows: rows.assign(event_id=rows["event_id"].mask(rows.index == 700)), "a row without event_id or"),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused(
    config: Config, table: str, change: Callable[[pd.DataFrame], pd.DataFrame], reason: str
) -> None:
    complete(config, table, change)
    with pytest.raises(ValueError, match=reason):
        score(config, AS_OF, table=table)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"first": "2025-01-32"}, "first is '2025-01-32', expected a day such as 2025-05-02"),
        ({"last": "yesterday"}, "last is 'yesterday', expected a day"),
        ({"first": "2025-01-20T10:00:00"}, "expected a day"),
        ({"first": "2025-01-20", "last": "2025-01-19"}, "from 2025-01-20 to 2025-01-19 there is no day"),
        ({"first": "2025-02-10"}, "first is 2025-02-10, of which nothing is known as of 2025-02-09"),
        ({"last": "2024-12-31"}, "nothing to score to 2024-12-31; it has rows from 2025-01-01 to 2025-02-08"),
        ({"first": "2025-02-09"}, "nothing to score from 2025-02-09; it has rows from"),
        ({"table": "payments"}, "has no table 'payments'; there are batches, events, labels"),
        ({"table": "../lake/events"}, "has no table '../lake/events'"),
        ({"table": "labels"}, r"table labels lacks \['event_time', 'amount', "),
        ({"version": "7"}, "card_fraud has no version '7'; there are 1, "),
        ({"version": "newest"}, "version is 'newest', expected a number or 'champion'"),
    ],
)
def test_what_cannot_be_asked_is_refused(config: Config, given: dict[str, str], reason: str) -> None:
    with pytest.raises((ValueError, LookupError), match=reason):
        score(config, AS_OF, **given)
    assert commits(config) == -1


def test_a_version_that_needs_another_feature_is_refused(config: Config) -> None:
    fewer = [window.model_copy(update={"days": [1]}) for window in config.windows]
    without = {"windows": fewer, "request": config.request.model_copy(update={"ratios": []})}
    with pytest.raises(ValueError, match=r"version 1 needs \['customer_amount_mean_7d'\], which the deployment file does not"):
        score(config.model_copy(update=without), AS_OF)


def test_the_command_says_what_it_did(
    config: Config, village: tuple[Config, Model], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["score", "--config", str(village[0].home.parent / "deployment.yaml"), "--as-of", AS_OF.isoformat()]
    assert main([*words, "--version", "2", "--first", "2025-01-20", "--last", "2025-01-21"]) == 0
    assert '"table": "events",\n "version": "2",' in capsys.readouterr().out
    assert main([*words, "--first", "2025-01-21", "--last", "2025-01-20"]) == 3
    assert "there is no day" in capsys.readouterr().err


def test_days_are_those_of_utc(config: Config) -> None:
    told = score(config, AS_OF, first="2025-01-20", last="2025-01-20")
    times = events(config)["event_time"]
    start = dt.datetime(2025, 1, 20, tzinfo=dt.UTC)
    assert told.rows == ((times >= start) & (times < start + DAY)).sum()


@pytest.mark.usefixtures("small_chunks")
def test_windows_that_end_at_each_event_are_those_of_the_training_set(config: Config, tmp_path: Path) -> None:
    window = EventWindow(entity="customer", column="amount", aggregates=["mean"], minutes=[1440], publish="event")
    (name,) = window.features
    config = config.model_copy(update={"windows": [*config.windows, window]})
    inputs = Inputs({"amount": MISSING, name: MISSING}, INPUTS.categories)
    model, version = register(config, tmp_path / "model", seed=3, inputs=inputs)
    score(config, AS_OF, version=version)
    frozen = dataset.read(config, dataset.build_training_set(config, AS_OF).training_set)
    assert 0.05 < frozen[name].isna().mean() < 0.95
    found = scores(config)
    found = found[found["version"] == version].set_index("event_id").loc[frozen["event_id"], "score"]
    np.testing.assert_array_equal(found, model.score(frozen))
