"""What letting alerts through has cost, and how precise alerts are, by what was known at an instant."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.overview.explored import explored
from tests import deployments

DAY = dt.timedelta(days=1)
HAPPENED = dt.datetime(2025, 5, 4, 12, tzinfo=dt.UTC)
MATURED = HAPPENED + 8 * DAY
AMOUNT = 100.0


def _scored(event: str, decision: str | None = "alert", **more: Any) -> dict[str, Any]:
    """A prediction of the lake."""
    told = {"event_id": event, "event_time": HAPPENED, "version": "1", "score": 0.9, "prediction_id": event, "role": "champion"}
    return told | {"decision": decision, "known_at": HAPPENED, "batch_id": "served"} | more


def _let(event: str, **more: Any) -> dict[str, Any]:
    return _scored(event, "pass", explored=True, **more)


def _answer(event: str, label: int, known_at: dt.datetime) -> dict[str, Any]:
    return {"event_id": event, "label": label, "reported_at": known_at, "known_at": known_at, "batch_id": f"{event} {known_at}"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Ten alerts of which four were let through, and what must not be counted; two of the four are frauds."""
    config = load(deployments.small_file(tmp_path))
    lake = Lake(config.lake)
    scores = [*(_scored(f"stopped {n}") for n in range(6)), *(_let(f"let {n}") for n in range(4))]
    scores += [
        _scored("passed", "pass"),
        _scored("shadowed", role="shadow"),
        _scored("failed", None, score=None, error="broken"),
    ]  # type: ignore[arg-type]
    scores += [_let("long ago", event_time=HAPPENED - 60 * DAY)]
    again = {"known_at": HAPPENED + DAY, "version": "2", "prediction_id": "again"}
    scores += [_scored("let 0", "pass", **again), _scored("passed", **again)]
    lake.append_batches(schema.PREDICTIONS, pa.Table.from_pylist(scores, schema.PREDICTIONS_SCHEMA))
    labels = [_answer("let 0", 1, HAPPENED + DAY), _answer("let 1", 1, HAPPENED + 5 * DAY)]
    labels += [_answer(f"stopped {n}", int(n < 3), HAPPENED + DAY) for n in range(6)]
    labels += [_answer("let 2", 1, MATURED + DAY), _answer("passed", 1, HAPPENED + DAY)]
    lake.append_batches(schema.LABELS, pa.Table.from_pylist(labels, schema.LABELS_SCHEMA))
    events = [{"event_id": f"let {n}", "event_time": HAPPENED, "amount": AMOUNT} for n in (0, 2, 3)]
    events = [event | {"known_at": HAPPENED + DAY, "batch_id": "ingested"} for event in events]
    lake.append_batches(schema.EVENTS, pa.Table.from_pylist(events, schema.events(config)))
    return config


def test_alerts_that_were_let_through_are_counted_among_all_alerts_that_were_answered(config: Config) -> None:
    seen = explored(config, MATURED, 30)
    assert (seen.alerts, seen.let_through, seen.positives) == (10, 4, 2)
    assert explored(config, MATURED, 100).let_through == 5


def test_the_precision_of_alerts_is_that_of_those_let_through_once_they_have_matured(config: Config) -> None:
    young = explored(config, HAPPENED + 2 * DAY, 30)
    assert (young.positives, young.unbiased.alerts, young.unbiased.value) == (1, 0, None)
    seen = explored(config, MATURED, 30)
    assert (seen.unbiased.alerts, seen.unbiased.positives, seen.unbiased.value) == (4, 2, 0.5)
    assert seen.unbiased.low < 0.5 < seen.unbiased.high
    assert (seen.stopped.alerts, seen.stopped.positives) == (6, 3)


def test_the_cost_is_what_was_missed_less_the_work_that_alerts_would_have_made(config: Config) -> None:
    assert config.costs is not None
    alert, false_alert, missed = (each.value for each in (config.costs.alert, config.costs.false_alert, config.costs.missed))
    cost = explored(config, MATURED, 30).cost
    assert cost is not None
    assert cost.unpriced == 1, "the second one's event is not in the lake"
    assert cost.missed == pytest.approx(AMOUNT + 2 * missed)
    assert cost.saved == pytest.approx(4 * alert + 2 * false_alert)


def test_the_command_prints_it_and_without_costs_says_so(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    path = config.home.parent / "deployment.yaml"
    words = ["explored", "--config", str(path), "--as-of", MATURED.isoformat()]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "4 of 10 alerts (40.0%) in 30 days; serving.explore is not set now" in told
    assert "positive      2 of them" in told
    assert "of 1 positives the event is not in the lake" in told
    assert "50.0% [" in told
    assert main([*words, "--json", "--days", "100"]) == 0
    assert json.loads(capsys.readouterr().out)["let_through"] == 5
    told_file = deployments.small_told() | {"costs": None}
    told_file["gate"]["guardrails"]["expected_cost"] = None
    told_file["serving"] = {"explore": {"value": 0.02, "unit": "share of alerts", "reason": "labels without bias"}}
    deployments.write(path.parent, told_file)
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "serving.explore is 2.0% now" in told
    assert "no section costs" in told
    assert main([*words, "--days", "0"]) == 3
    assert "--days is 0" in capsys.readouterr().err


def test_predictions_of_before_anything_could_be_let_through_are_alerts_as_they_were(tmp_path: Path) -> None:
    config = load(deployments.small_file(tmp_path))
    before = pa.schema([field for field in schema.PREDICTIONS_SCHEMA if field.name != "explored"])
    old, new = [_scored(f"old {n}") for n in range(3)], [_let("new") | {"batch_id": "later"}]
    Lake(config.lake).append_batches(schema.PREDICTIONS, pa.Table.from_pylist(old, before))
    assert (explored(config, MATURED, 30).alerts, explored(config, MATURED, 30).let_through) == (3, 0)
    Lake(config.lake).append_batches(schema.PREDICTIONS, pa.Table.from_pylist(new, schema.PREDICTIONS_SCHEMA))
    assert (explored(config, MATURED, 30).alerts, explored(config, MATURED, 30).let_through) == (4, 1)


def test_before_anything_was_scored_there_is_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = deployments.small_file(tmp_path)
    assert main(["explored", "--config", str(path), "--as-of", MATURED.isoformat()]) == 0
    told = capsys.readouterr().out
    assert "0 of 0 alerts in 30 days" in told
    assert told.count("not known yet") == 2
