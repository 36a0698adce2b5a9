"""A small share of the alerts is let through, marked, the same ones at every attempt; elsewhere they count as alerts."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from ml.config import Config
from ml.config.serving import Serving
from ml.config.thresholds import Threshold
from ml.lake import schema
from ml.lake.tables import Lake
from ml.monitoring.champion import champion_of
from ml.monitoring.traffic import SCORE, traffic
from ml.quality.predictions import load_predictions
from ml.serving.explore import Exploration
from ml.serving.service import Service
from tests.deployments import FIRST_AS_OF
from tests.serving.conftest import events_of

SHARE, EVENTS = 0.05, 900
EXPLORE = {"value": SHARE, "unit": "share of alerts", "reason": "some labels that no alert has influenced"}
DAY = dt.timedelta(days=1)

Scored = list[dict[str, Any]]


@pytest.fixture
def exploring(config: Config) -> Config:
    """The deployment with a share of its alerts let through."""
    explore = Threshold(**EXPLORE)
    return config.model_copy(update={"serving": config.serving.model_copy(update={"explore": explore})})


def serve(config: Config, events: Scored, threshold: float = 0.0) -> tuple[Scored, dict[str, float]]:
    """Score events by a service that is started and stopped, from another threshold on; the answers, and what it counted."""
    service = Service(config)
    service.start()
    assert service.champion.live is not None
    service.champion.live = replace(service.champion.live, threshold=threshold)

    async def ask() -> Scored:
        chunks = [events[start : start + 10] for start in range(0, len(events), 10)]
        return [answer for chunk in chunks for answer in await service.score(chunk)]

    answers = asyncio.run(ask())
    service.stop()
    counted = {
        f"{sample.name} {sample.labels.get('decision', '')}".strip(): sample.value
        for metric in service.metrics.registry.collect()
        for sample in metric.samples
        if sample.name in ("perennial_scores_total", "perennial_explored_total")
    }
    return answers, counted


def asked_of(config: Config) -> Scored:
    return [e | {"event_time": dt.datetime.fromisoformat(e["event_time"])} for e in events_of(config, EVENTS)]


def predictions(config: Config) -> pd.DataFrame:
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        return connection.execute("SELECT * FROM predictions ORDER BY event_id").df()


def test_nothing_is_let_through_unless_the_deployment_says_so(config: Config) -> None:
    answers, counted = serve(config, asked_of(config))
    assert {answer["decision"] for answer in answers} == {"alert"}
    assert all("explored" not in answer for answer in answers)
    assert counted == {"perennial_scores_total alert": EVENTS}
    load_predictions(config, FIRST_AS_OF + 2 * DAY)
    assert predictions(config)["explored"].isna().all()


def test_a_share_of_the_alerts_is_let_through_and_marked_in_the_answer_the_log_and_the_lake(exploring: Config) -> None:
    events = asked_of(exploring)
    answers, counted = serve(exploring, events)
    explored = {answer["event_id"] for answer in answers if answer.get("explored")}
    assert {(answer["decision"], answer.get("explored")) for answer in answers} == {("alert", None), ("pass", True)}
    assert SHARE / 2 < len(explored) / EVENTS < SHARE * 2
    assert counted == {"perennial_scores_total alert": EVENTS, "perennial_explored_total": len(explored)}
    load_predictions(exploring, FIRST_AS_OF + 2 * DAY)
    rows = predictions(exploring)
    assert set(rows.loc[rows["explored"].eq(True), "event_id"]) == explored
    assert set(rows.loc[rows["explored"].eq(True), "decision"]) == {"pass"}
    assert set(rows.loc[rows["explored"].isna(), "decision"]) == {"alert"}


def test_a_request_that_is_sent_again_gets_the_same_answer_from_any_process(exploring: Config) -> None:
    events = asked_of(exploring)[:300]
    first, again = serve(exploring, events)[0], serve(exploring, events[::-1])[0][::-1]
    assert [answer["decision"] for answer in first] == [answer["decision"] for answer in again]
    assert {answer["decision"] for answer in first} == {"alert", "pass"}


def test_what_is_no_alert_is_not_marked(exploring: Config) -> None:
    answers, _ = serve(exploring, asked_of(exploring)[:300], threshold=1.1)
    assert {(answer["decision"], answer.get("explored")) for answer in answers} == {("pass", None)}


def test_a_share_of_the_events_is_drawn_whatever_their_ids_look_like(exploring: Config) -> None:
    drawn = [Exploration(exploring).lets_through(f"P{number:07d}") for number in range(40_000)]
    assert np.mean(drawn) == pytest.approx(SHARE, abs=0.004)
    other = exploring.model_copy(update={"name": "another"})
    assert [Exploration(other).lets_through(f"P{number:07d}") for number in range(40_000)] != drawn


@pytest.mark.parametrize(
    ("wrong", "why"), [({"value": 0.06}, "expected 0 to 0.05"), ({"unit": "share"}, "expected 'share of alerts'")]
)
def test_more_than_a_twentieth_of_the_alerts_cannot_be_let_through(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Serving(explore=EXPLORE | wrong)


def test_monitoring_counts_what_was_let_through_as_the_alert_that_it_is(exploring: Config) -> None:
    """By its score, which is that of an alert."""
    day, lake = FIRST_AS_OF.date() - DAY, Lake(exploring.lake)
    with lake.connect({schema.EVENTS: schema.events(exploring)}) as connection:
        rows = connection.execute(f"SELECT * FROM events WHERE event_time::DATE = '{day}'").to_arrow_table().to_pylist()
    marks = {"version": "1", "score": 0.999, "decision": "pass", "explored": True, "batch_id": "served"}
    lake.append_batches(schema.PREDICTIONS, pa.Table.from_pylist([row | marks for row in rows], schema.PREDICTIONS_SCHEMA))
    seen = traffic(exploring, FIRST_AS_OF, champion_of(exploring, "1"), [day])[day]
    assert seen.logged == len(rows)
    assert (seen.rows[SCORE] == 0.999).all()
