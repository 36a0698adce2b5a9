"""An unanswered event is not a negative: late answers are measured and told; where all are answered, open ones are left out."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.monitoring import performance
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.training import dataset
from ml.training.arrivals import arrivals
from ml.training.split import split
from tests.deployments import land, land_text, payments, small_told, write

FIRST = dt.date(2025, 2, 1)
DAYS = 28
ROWS = 40
AS_OF = dt.datetime(2025, 3, 1, 2, tzinfo=dt.UTC)


def _told(complete: bool) -> dict[str, Any]:
    told = small_told()
    told["archive_until"] = AS_OF.isoformat()
    told["labels"] |= {"complete": complete, "delay": {"value": 1, "unit": "days", "reason": "answers within the day"}}
    for part, days in (("train", 14), ("validation", 4), ("holdout", 4)):
        told["training"][part]["value"] = days
    told["windows"] = [window | {"delay": 1 if window["column"] == "label" else 0} for window in told["windows"]]
    return told


def _ingested(folder: Path, complete: bool = False) -> Config:
    """Four weeks of 40 events a day: of ten, eight are answered after 2 hours, one after 60, one never; half are positive."""
    folder.mkdir(exist_ok=True)
    config = load(write(folder, _told(complete)))
    for number in range(DAYS):
        day = FIRST + dt.timedelta(days=number)
        rows = payments(ROWS, day, start=1000 * number)
        land(config, f"payments_{day}.parquet", rows)
        lines = ["payment_id,is_fraud,reported_at,source"]
        for i, (event, at) in enumerate(zip(rows["payment_id"], rows["paid_at"], strict=True)):
            known = at + dt.timedelta(hours=60 if i % 10 == 8 else 2)
            if i % 10 != 9 and known < AS_OF.replace(tzinfo=None):
                lines.append(f"{event},{int(i % 2 == 0)},{known.isoformat()},customer")
        land_text(config, f"fraud_reports_{day}.csv", "\n".join(lines) + "\n")
    told = validate_batch(config, AS_OF)
    assert told.stopped == ()
    load_batch(config, AS_OF, told.staged)
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return _ingested(tmp_path_factory.mktemp("arrivals"))


def test_the_curve_says_what_is_unanswered_and_what_is_late(config: Config) -> None:
    told = arrivals(config, AS_OF)
    assert told.events == 14 * ROWS
    assert told.unanswered == pytest.approx(0.1)
    assert told.all.late == pytest.approx(1 / 9)
    assert told.positive.late == pytest.approx(1 / 5)
    assert told.positive.hours[0] == pytest.approx(2, abs=0.01)
    assert told.positive.hours[3] == pytest.approx(60, abs=0.01)
    assert told.proposed_delay == "3 days"
    assert "20.0% of the positive answers came later than labels.delay (24 hours)" in told.summary


def test_a_delay_that_covers_the_answers_has_none_that_are_late(config: Config) -> None:
    delay = config.labels.delay.model_copy(update={"value": 3.0})
    patient = config.model_copy(update={"labels": config.labels.model_copy(update={"delay": delay})})
    assert arrivals(patient, AS_OF).slowest.late == 0


def test_what_became_known_later_is_not_seen(config: Config) -> None:
    assert arrivals(config, AS_OF - dt.timedelta(days=60)).events == 0


def test_the_command_prints_the_curve(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, _told(complete=False))
    asked = ["answers", "--config", str(path), "--home", str(config.home), "--as-of", AS_OF.isoformat()]
    assert main(asked) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "95% are in after 3 days; 10.0% of 560 events have no answer" in printed
    assert main(asked[:-2]) == 0
    assert " ".join(capsys.readouterr().out.split()) == printed


@pytest.mark.parametrize(("late", "state"), [(0.1, "LATE"), (0.25, "in time")])
def test_the_status_says_whether_answers_come_as_declared(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], late: float, state: str
) -> None:
    told = _told(complete=False)
    told["labels"]["late"] = {"value": late, "unit": "share", "reason": "as the test asks"}
    assert main(["status", "--config", str(write(tmp_path, told)), "--home", str(config.home)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"answers {state}: 20.0% of the positive answers came later than labels.delay (24 hours)" in printed
    assert "10.0% of 560 events have no answer" in printed


def test_a_stream_that_nobody_answers_says_so(config: Config) -> None:
    none = arrivals(config, AS_OF, {schema.LABELS: -1})
    assert (none.state(config), none.unanswered) == ("NONE", 1.0)


def _labelled(config: Config) -> pd.DataFrame:
    versions = Lake(config.lake).versions([schema.EVENTS, schema.LABELS])
    return dataset._labelled(config, AS_OF, versions, split(config, AS_OF))


def test_unanswered_events_are_left_out_where_every_event_is_answered(config: Config) -> None:
    labels = config.labels.model_copy(update={"complete": True})
    complete = config.model_copy(update={"labels": labels})
    every, answered = _labelled(config), _labelled(complete)
    assert every.loc[every[dataset.LABEL_KNOWN_AT].notna(), "event_id"].tolist() == answered["event_id"].tolist()
    assert 0.05 < 1 - len(answered) / len(every) < 0.25
    assert answered["label"].mean() == pytest.approx(every["label"].sum() / len(answered))


def test_monitoring_measures_answered_events_only_where_every_event_is_answered(config: Config) -> None:
    rows = pd.DataFrame(
        {
            "event_id": ["a", "b", "c", "d"],
            "customer_id": ["x", "y", "z", "w"],
            "amount": [1.0] * 4,
            performance.SCORE: [0.9, 0.8, 0.7, 0.1],
        }
    )
    answered = pd.Series({"a": 1, "c": 1, "d": 0})
    labels = config.labels.model_copy(update={"complete": True})
    complete = config.model_copy(update={"labels": labels})
    told = []
    for deployment in (config, complete):
        judged, of_day = performance.judged(deployment, rows, answered)
        figure = performance.measured(deployment, 0.5, performance.reference_rates([of_day]), judged, of_day)[
            "average precision"
        ]
        told.append(figure and round(figure.value, 3))
    assert told == [round((1 + 2 / 3) / 2, 3), 1.0]
