"""Answers come late, from several sources, more than once and in any order; what is learnt does not depend on the order."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.config import Config, ConfigError, load
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.tables import Lake
from ml.quality import quarantine, waiting
from ml.quality.landing import find_files
from ml.quality.load import Load, load_batch
from ml.quality.validate import validate_batch
from ml.training import dataset
from tests import deployments, villages
from tests.deployments import land, land_text, payments

AS_OF = dt.datetime(2025, 3, 14, 2, tzinfo=dt.UTC)  # after the archive
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
SOURCES = ["chargeback", "analyst", "customer"]
FEEDS = [{"files": "chargebacks_*", "source": "chargeback"}, {"files": "desk_*", "source": "analyst"}, {"files": "reports_*"}]

# Event, answer, who answers, hours after midnight at which.
Answer = tuple[str, int, str, int]


def deployment(folder: Path, files: Any = FEEDS, **labels: Any) -> Config:
    """The small deployment with these label files."""
    told = deployments.small_told()
    told["labels"] |= {"files": files, **labels}
    return load(deployments.write(folder, told))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Twenty payments are in; three feeds bring answers."""
    config = deployment(tmp_path)
    land(config, "payments_2025-03-10.parquet", payments(20))
    ingest(config, AS_OF)
    return config


def ingest(config: Config, as_of: dt.datetime) -> Load:
    """Check and load what has landed."""
    return load_batch(config, as_of, validate_batch(config, as_of).staged)


def deliver(config: Config, name: str, answers: list[Answer], with_source: bool = True) -> Path:
    """Put a file of answers into the landing folder."""
    header = "payment_id,is_fraud,reported_at" + ",source" * with_source
    lines = [
        f"{event},{label},2025-03-11T{hour:02}:00:00Z" + f",{source}" * with_source for event, label, source, hour in answers
    ]
    return land_text(config, name, "\n".join([header, *lines, ""]))


def kept(config: Config) -> set[Answer]:
    """The answers in the lake."""
    with Lake(config.lake).connect({schema.LABELS: schema.LABELS_SCHEMA}) as connection:
        rows = connection.execute("SELECT event_id, label, source, reported_at FROM labels").fetchall()
    assert len(rows) == len(set(rows))
    return {(event, label, source, reported_at.hour) for event, label, source, reported_at in rows}


def labels(config: Config, as_of: dt.datetime | None = None) -> dict[str, int]:
    """The answer that counts by event."""
    with Lake(config.lake).connect({schema.LABELS: schema.LABELS_SCHEMA}, as_of) as connection:
        query = f"SELECT event_id, first(label ORDER BY {label_order(config)}) FROM labels GROUP BY event_id"
        return dict(connection.execute(query).fetchall())


def known(config: Config, event: str) -> list[dt.datetime]:
    """When the answers about an event became known."""
    with Lake(config.lake).connect({schema.LABELS: schema.LABELS_SCHEMA}) as connection:
        query = "SELECT known_at FROM labels WHERE event_id = $event ORDER BY known_at"
        return [known_at for (known_at,) in connection.execute(query, {"event": event}).fetchall()]


P1, P2, P3, GHOST = "P0000001", "P0000002", "P0000003", "P0000099"


def test_a_feeds_files_need_not_say_whose_answers_they_hold(config: Config) -> None:
    deliver(config, "chargebacks_1.csv", [(P1, 1, "", 9)], with_source=False)
    deliver(config, "desk_1.csv", [(P1, 0, "", 10)], with_source=False)
    deliver(config, "reports_1.csv", [(P1, 0, "customer", 11)])
    ingest(config, AS_OF + DAY)
    assert kept(config) == {(P1, 1, "chargeback", 9), (P1, 0, "analyst", 10), (P1, 0, "customer", 11)}
    assert labels(config) == {P1: 1}


def test_a_file_that_says_whose_answers_it_holds_is_believed(config: Config) -> None:
    deliver(config, "desk_1.csv", [(P1, 1, "customer", 9)])
    ingest(config, AS_OF + DAY)
    assert kept(config) == {(P1, 1, "customer", 9)}


def test_a_feed_without_a_source_must_bring_the_column(config: Config) -> None:
    deliver(config, "reports_1.csv", [(P1, 1, "", 9)], with_source=False)
    (told, _) = validate_batch(config, AS_OF + DAY).stopped
    assert told.startswith("reports_1.csv: column 'source': expect_column_to_exist")


def test_one_plain_pattern_is_a_feed_of_its_own(tmp_path: Path) -> None:
    config = deployment(tmp_path, files="reports_*")
    deliver(config, "reports_1.csv", [(P1, 1, "customer", 9)])
    deliver(config, "desk_1.csv", [(P1, 1, "analyst", 9)])
    assert [(file.name, file.source) for file in find_files(config)] == [("reports_1.csv", None)]


def test_a_file_that_two_patterns_match_belongs_to_the_first(tmp_path: Path) -> None:
    config = deployment(tmp_path, files=[*FEEDS, {"files": "*.csv", "source": "customer"}])
    deliver(config, "desk_1.csv", [(P1, 1, "", 9)], with_source=False)
    deliver(config, "odd.csv", [(P1, 1, "", 9)], with_source=False)
    assert [(file.name, file.source) for file in find_files(config)] == [
        ("desk_1.csv", ("source", "analyst")),
        ("odd.csv", ("source", "customer")),
    ]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"files": []}, "at least 1 item"),
        ({"files": [{"files": "a*", "source": "chargebak"}]}, "'files' names sources ['chargebak'], expected of 'sources'"),
        ({"columns": {"event_id": "i", "label": "l", "reported_at": "r"}}, "'columns' lacks 'source'"),
        ({"files": [{"pattern": "a*"}]}, "pattern: unknown key"),
    ],
)
def test_feeds_that_cannot_work_are_named(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        deployment(tmp_path, **wrong)
    assert told in str(caught.value)


def test_the_same_content_is_another_statement_when_another_source_makes_it(config: Config) -> None:
    for name in ("desk_1.csv", "chargebacks_1.csv", "chargebacks_again.csv"):
        deliver(config, name, [(P1, 1, "", 9)], with_source=False)
    ingest(config, AS_OF + DAY)
    assert kept(config) == {(P1, 1, "analyst", 9), (P1, 1, "chargeback", 9)}


def test_a_file_again_under_another_name_and_rows_again_in_another_file_add_nothing(config: Config) -> None:
    path = deliver(config, "reports_1.csv", [(P1, 1, "customer", 9), (P2, 0, "analyst", 9)])
    ingest(config, AS_OF + DAY)
    path.rename(path.with_name("reports_again.csv"))
    assert validate_batch(config, AS_OF + 2 * DAY).files == 0
    deliver(config, "reports_2.csv", [(P2, 0, "analyst", 9), (P3, 1, "customer", 10), (P1, 1, "customer", 9)])
    told = validate_batch(config, AS_OF + 2 * DAY)
    assert (told.rows, told.accepted, told.rejected) == (3, 1, 2)
    ingest(config, AS_OF + 2 * DAY)
    assert known(config, P1) == [AS_OF + DAY]
    assert labels(config) == {P1: 1, P2: 0, P3: 1}


def test_of_answers_that_disagree_the_source_that_ranks_first_counts_and_of_one_source_the_newest(config: Config) -> None:
    answers = [(P1, 1, "customer", 9), (P1, 0, "analyst", 8), (P2, 1, "analyst", 12), (P2, 0, "analyst", 9)]
    answers += [(P3, 0, "somebody", 20), (P3, 1, "customer", 9)]
    deliver(config, "reports_1.csv", answers)
    ingest(config, AS_OF + DAY)
    assert kept(config) == set(answers)
    assert labels(config) == {P1: 0, P2: 1, P3: 1}


def test_an_older_answer_that_arrives_late_does_not_undo_a_newer_one(config: Config) -> None:
    for night, answer in enumerate([(P1, 0, "analyst", 12), (P1, 1, "analyst", 9)], 1):
        deliver(config, f"reports_{night}.csv", [answer])
        ingest(config, AS_OF + night * DAY)
        assert labels(config) == {P1: 0}


def test_a_correction_under_the_same_time_counts_from_its_arrival_and_what_it_corrects_stays(config: Config) -> None:
    deliver(config, "reports_1.csv", [(P1, 1, "analyst", 9)])
    ingest(config, AS_OF + DAY)
    deliver(config, "reports_2.csv", [(P1, 0, "analyst", 9)])
    ingest(config, AS_OF + 2 * DAY)
    assert (labels(config, AS_OF + DAY), labels(config)) == ({P1: 1}, {P1: 0})
    deliver(config, "reports_3.csv", [(P1, 1, "analyst", 9), (P2, 1, "analyst", 9)])
    ingest(config, AS_OF + 3 * DAY)
    assert labels(config) == {P1: 0, P2: 1}


def test_an_answer_is_known_from_its_arrival_and_not_from_its_report(config: Config) -> None:
    deliver(config, "reports_1.csv", [(P1, 1, "analyst", 9)])
    ingest(config, AS_OF + 5 * DAY)
    assert known(config, P1) == [AS_OF + 5 * DAY]
    assert labels(config, AS_OF + 5 * DAY - HOUR) == {}


def test_an_answer_before_its_event_waits_and_comes_in_with_it(config: Config) -> None:
    deliver(config, "desk_1.csv", [(GHOST, 1, "", 9), (P1, 1, "", 9), ("nobody", 1, "", 9)], with_source=False)
    assert ingest(config, AS_OF + DAY).labels == 1
    assert quarantine.count_open(config) == 2
    land(config, "payments_2025-03-11.parquet", payments(20, dt.date(2025, 3, 11), start=90))
    loaded = ingest(config, AS_OF + 2 * DAY)
    assert (loaded.events, loaded.readmitted) == (20, 1)
    assert loaded.versions == Lake(config.lake).versions(loaded.versions)
    assert kept(config) == {(P1, 1, "analyst", 9), (GHOST, 1, "analyst", 9)}
    assert known(config, GHOST) == [AS_OF + 2 * DAY]
    assert quarantine.count_open(config) == 1
    (batch,) = quarantine.summary(config)
    (attempt,) = quarantine.rows_of(config, batch.batch_id, 1)[0].attempts
    assert (attempt.actor, attempt.reason, attempt.outcome) == ("load_batch", "its event has come in", "accepted")


def test_a_load_that_ended_before_the_waiting_answers_were_in_brings_them_when_it_is_run_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(config, "reports_1.csv", [(GHOST, 1, "analyst", 9)])
    ingest(config, AS_OF + DAY)
    land(config, "payments_2025-03-11.parquet", payments(20, dt.date(2025, 3, 11), start=90))
    staged = validate_batch(config, AS_OF + 2 * DAY).staged
    with monkeypatch.context() as patch:
        patch.setattr(waiting.quarantine, "readmit", _killed)
        with pytest.raises(KeyboardInterrupt):
            load_batch(config, AS_OF + 2 * DAY, staged)
    assert labels(config) == {}
    assert load_batch(config, AS_OF + 2 * DAY, staged).readmitted == 1
    assert load_batch(config, AS_OF + 2 * DAY, staged).readmitted == 0
    assert labels(config) == {GHOST: 1}


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_an_answer_that_fails_again_although_its_event_is_in_is_left_to_people(config: Config) -> None:
    """It was reported too long ago by then, and no load tries it a second time."""
    deliver(config, "reports_1.csv", [(GHOST, 1, "analyst", 9)])
    ingest(config, AS_OF + DAY)
    late = AS_OF + 500 * DAY
    land(config, "payments_2026-07-01.parquet", payments(20, dt.date(2026, 7, 1), start=90))
    assert ingest(config, late).readmitted == 0
    land(config, "payments_2026-07-02.parquet", payments(20, dt.date(2026, 7, 2), start=190))
    assert ingest(config, late + DAY).readmitted == 0
    (row,) = quarantine.rows_of(config, quarantine.summary(config)[0].batch_id)
    assert [attempt.outcome for attempt in row.attempts] == ["quarantined"]
    assert row.is_open


# Few events and sources, so that answers meet.
ANSWERS = st.lists(
    st.tuples(st.sampled_from([P1, GHOST]), st.integers(0, 1), st.sampled_from(["analyst", "somebody"]), st.integers(0, 3)),
    min_size=4,
    max_size=10,
    unique_by=lambda answer: (answer[0], answer[2], answer[3]),
)


@settings(max_examples=8, deadline=None)
@given(answers=ANSWERS, data=st.data())
def test_any_order_and_any_repetition_of_deliveries_gives_the_same_labels(
    answers: list[Answer], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Files overlap, come again, and come before the payments that they speak of; all answers are kept, once."""
    config = deployment(tmp_path_factory.mktemp("deliveries"), files="reports_*")
    places = st.lists(st.integers(0, len(answers) - 1), min_size=1, max_size=5)
    files = [[answers[place] for place in places] for places in data.draw(st.lists(places, max_size=3))]
    late = data.draw(st.integers(0, len(files)))
    for night, answered in enumerate([*files, answers]):
        if night == 0:
            land(config, "payments_2025-03-10.parquet", payments(20))
        if night == late:
            land(config, "payments_2025-03-11.parquet", payments(20, dt.date(2025, 3, 11), start=90))
        deliver(config, f"reports_{night}.csv", answered)
        ingest(config, AS_OF + night * DAY)
    assert kept(config) == set(answers)
    assert labels(config) == {event: winner(answers, event) for event, *_ in answers}


def winner(answers: list[Answer], event: str) -> int:
    """The answer that counts, read from the rule: the first source, then the newest."""
    rank = {source: place for place, source in enumerate(SOURCES)}
    told = [(rank.get(source, 3), -hour, label) for about, label, source, hour in answers if about == event]
    return min(told)[2]


def test_a_negative_answer_is_a_negative_in_the_training_set_from_its_arrival(tmp_path: Path) -> None:
    config = villages.village(tmp_path)
    villages.live_until(config, villages.ARCHIVE_UNTIL)
    as_of = villages.ARCHIVE_UNTIL + DAY
    frauds = _frozen(config, villages.ARCHIVE_UNTIL, "label = 1 AND _split = 'holdout'")
    fraud = frauds["event_id"].iloc[0]
    reported = f"{villages.ARCHIVE_UNTIL:%Y-%m-%dT%H}:30:00Z"
    land_text(
        config,
        "fraud_reports_denied.csv",
        f"payment_id,is_fraud,reported_at,source\n{fraud},0,{reported},chargeback\n",
    )
    villages.ingest(config, as_of)
    before, after = (_frozen(config, instant, f"event_id = '{fraud}'") for instant in (villages.ARCHIVE_UNTIL, as_of))
    assert before["label"].tolist() == [1]
    assert (after["label"].tolist(), after["_label_known_at"].tolist()) == ([0], [as_of])


def _frozen(config: Config, as_of: dt.datetime, where: str) -> Any:
    """Rows of a training set."""
    import duckdb

    rows = dataset.read(config, dataset.build_training_set(config, as_of).training_set)  # noqa: F841  DuckDB finds it by name
    return duckdb.sql(f"SELECT event_id, label, _label_known_at FROM rows WHERE {where} ORDER BY event_id").df()
