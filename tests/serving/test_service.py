"""The service answers as training would have, from what the online store holds, and refuses what it cannot score."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from ml.config import PROJECT, Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.model.version import KIND, BrokenVersion, Version, hash_of
from ml.quality.predictions import load_predictions
from ml.quality.validate import validate_batch
from ml.serving.app import KEY, create
from ml.serving.champion import Champion
from ml.serving.online import Features, OnlineFeatures
from ml.serving.service import Service
from ml.store.feast import feature_names, retrieve_online
from tests.deployments import FIRST_AS_OF
from tests.monitoring import living
from tests.serving.conftest import events_of, patient


def _body(event: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"event": event} | more


def _predictions(config: Config) -> pd.DataFrame:
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        return connection.execute("SELECT * FROM predictions ORDER BY event_id").df()


def _champion(config: Config) -> Version:
    move = Ledger(config.ledger).moves.history(config.name)[-1]
    return Version.open(config, move.to_version, move.hashes)


def test_features_are_those_that_feast_answers(config: Config) -> None:
    asked = events_of(config, 40)
    asked.append(asked[0] | dict.fromkeys([*config.entities.values(), *config.measures]))
    asked.append(asked[1] | dict.fromkeys(config.entities.values(), "never seen"))
    events = [event | {"event_time": dt.datetime.fromisoformat(event["event_time"])} for event in asked]
    online = OnlineFeatures(config)
    columns = online.complete(events, online.read(events))
    expected = retrieve_online(config, events)
    found = pd.DataFrame({name: columns[name] for name in feature_names(config)})
    pd.testing.assert_frame_equal(found, expected)
    assert found.notna().any().all()


def test_a_score_is_that_of_the_champion_on_these_features_alone_and_in_a_batch(client: TestClient, config: Config) -> None:
    events = events_of(config, 30)
    single = [client.post("/v1/score", json=_body(event)).json() for event in events]
    batch = client.post("/v1/score/batch", json={"events": events}).json()["scores"]
    version = _champion(config)
    parsed = [event | {"event_time": dt.datetime.fromisoformat(event["event_time"])} for event in events]
    rows = pd.concat([pd.DataFrame(parsed), retrieve_online(config, parsed)], axis=1)
    expected = version.model.score(rows)
    for answers in (single, batch):
        assert [answer["event_id"] for answer in answers] == [event["event_id"] for event in events]
        assert np.abs([answer["probability"] for answer in answers] - expected).max() < 1e-6
        assert {answer["version"] for answer in answers} == {"1"}
        alerted = [answer["decision"] == "alert" for answer in answers]
        assert alerted == [answer["probability"] >= version.threshold for answer in answers]
        assert {answer["features_from"] for answer in answers} == {"online store"}
    ages = {age for answer in single for age in answer["features"].values() if age is not None}
    assert 0 < min(ages) <= max(ages) < 3 * 86_400


def test_what_was_scored_reaches_the_lake_once_and_monitoring_reads_it(config: Config) -> None:
    events = events_of(config, 5)
    with TestClient(create(config)) as client:
        answers = [client.post("/v1/score", json=_body(event)).json() for event in events]
    assert load_predictions(config, FIRST_AS_OF).predictions == 5
    assert load_predictions(config, FIRST_AS_OF).predictions == 0
    rows = _predictions(config)
    assert rows["prediction_id"].tolist() == [a["id"] for a in sorted(answers, key=lambda a: a["event_id"])]
    assert rows["score"].tolist() == [a["probability"] for a in sorted(answers, key=lambda a: a["event_id"])]
    inputs = json.loads(rows["inputs"][0])
    assert list(inputs) == _champion(config).names
    assert inputs["amount"] == min(events, key=lambda event: event["event_id"])["amount"]


def test_reasons_name_inputs_whose_contributions_are_largest(client: TestClient, config: Config) -> None:
    (event,) = events_of(config, 1)
    answer = client.post("/v1/score", json=_body(event, reasons=3)).json()
    sizes = [abs(reason["log_odds"]) for reason in answer["reasons"]]
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert {reason["feature"] for reason in answer["reasons"]} <= set(_champion(config).names)


WRONG: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, ""),
    "not UTF-8": (b'{"event": "\xff"}', 400, ""),
    "deep nesting": (b'{"event": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, ""),
    "NaN": (lambda event: _body(event | {"amount": float("nan")}), 422, "event.amount"),
    "infinity": (lambda event: _body(event | {"amount": float("inf")}), 422, "event.amount"),
    "nothing": ({}, 422, "event"),
    "another key": (lambda event: _body(event, extra=1), 422, "extra"),
    "another column": (lambda event: _body(event | {"colour": "red"}), 422, "event.colour"),
    "no id": (lambda event: _body({k: v for k, v in event.items() if k != "event_id"}), 422, "event.event_id"),
    "an empty id": (lambda event: _body(event | {"event_id": ""}), 422, "event.event_id"),
    "a number as id": (lambda event: _body(event | {"event_id": 17}), 422, "event.event_id"),
    "a control character": (lambda event: _body(event | {"event_id": "a\x00b"}), 422, "event.event_id"),
    "a time without a zone": (lambda event: _body(event | {"event_time": "2025-03-12T10:00:00"}), 422, "event.event_time"),
    "no time": (lambda event: _body(event | {"event_time": "yesterday"}), 422, "event.event_time"),
    "a text as number": (lambda event: _body(event | {"amount": "12"}), 422, "event.amount"),
    "a truth as number": (lambda event: _body(event | {"amount": True}), 422, "event.amount"),
    "a huge number": (lambda event: _body(event | {"amount": 1e300}), 422, "event.amount"),
    "a list as text": (lambda event: _body(event | {"country": ["FR"]}), 422, "event.country"),
    "a long text": (lambda event: _body(event | {"country": "x" * 100_000}), 422, "event.country"),
    "many reasons": (lambda event: _body(event, reasons=1000), 422, "reasons"),
}


@pytest.fixture(scope="module")
def shared(released: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for requests that change nothing, of a copy: what runs writes to its home."""
    with TestClient(create(patient(living.copy(released, tmp_path_factory.mktemp("shared"))))) as client:
        yield client


@pytest.fixture(scope="module")
def event(released: Config) -> dict[str, Any]:
    """An event that can be scored."""
    (event,) = events_of(released, 1)
    return event


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_scored_is_refused_with_the_field(shared: TestClient, event: dict[str, Any], name: str) -> None:
    made, status, field = WRONG[name]
    content = made if isinstance(made, bytes) else json.dumps(made(event) if callable(made) else made).encode()
    answer = shared.post("/v1/score", content=content)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["field"] == field
    assert answer.json()["error"]["message"]


def test_a_request_that_is_too_large_is_refused_while_it_comes(client: TestClient, config: Config) -> None:
    assert client.post("/v1/score", content=b" " * 3_000_000).status_code == 413
    assert client.post("/v1/score/batch", json={"events": events_of(config, 1) * 1001}).status_code == 422


def test_an_event_in_the_future_is_refused_where_time_is_the_clocks(config: Config) -> None:
    live = config.model_copy(update={"feed": None})
    (event,) = events_of(config, 1)
    service = Service(live, now=lambda: dt.datetime.fromisoformat(event["event_time"]) - dt.timedelta(minutes=6))
    with TestClient(create(live, service=service)) as client:
        answer = client.post("/v1/score", json=_body(event))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "event.event_time")
    assert "in the future" in answer.json()["error"]["message"]


def test_a_store_that_does_not_answer_in_time_is_done_without(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    (event,) = events_of(config, 1)
    monkeypatch.setattr(OnlineFeatures, "read", lambda *args: time.sleep(10))
    with TestClient(create(patient(config, deadline=50))) as client:
        begun = time.monotonic()
        answers = [client.post("/v1/score", json=_body(event)).json() for _ in range(12)]
        assert time.monotonic() - begun < 10, "more requests than readers, and none waited for a reader"
    assert {answer["features_from"] for answer in answers} == {"defaults"}
    unknown = event | dict.fromkeys(config.entities.values(), "never seen")
    monkeypatch.undo()
    with TestClient(create(config)) as client:
        assert client.post("/v1/score", json=_body(unknown)).json()["probability"] == answers[0]["probability"]


def test_a_store_that_raises_is_done_without(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(OnlineFeatures, "read", fails)
    (event,) = events_of(config, 1)
    with TestClient(create(config)) as client:
        assert client.post("/v1/score", json=_body(event)).json()["features_from"] == "defaults"
        (count,) = re.findall(r"^perennial_fallbacks_total (.+)$", client.get("/metrics").text, re.MULTILINE)
        assert float(count) == 1


def test_a_new_champion_is_followed_and_a_broken_one_is_not(config: Config) -> None:
    champion = Champion(config)
    champion.look()
    assert champion.live is not None
    assert champion.live.number == "1"
    second = living.crown(config, "1", iterations=10)
    champion.look()
    assert (champion.live.number, champion.refused) == (second, None)
    third = living.crown(config, second, iterations=12)
    move = Ledger(config.ledger).moves.history(config.name)[-1]
    champion._open(move)
    file = config.home / KIND / hash_of(move.hashes) / "model.onnx"
    file.write_bytes(file.read_bytes() + b" ")
    champion.look()
    assert champion.live.number == second
    assert champion.refused is not None
    assert champion.refused[0] == third
    assert "model.onnx has SHA-256" in champion.refused[1]


def test_a_broken_champion_is_opened_less_and_less_often_and_another_one_at_once(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, tried, open_it = [0.0], list[tuple[float, str]](), Version.open

    def opened(config: Config, number: str, hashes: dict[str, str]) -> Version:
        tried.append((seconds[0], number))
        if number == "1":
            raise BrokenVersion("its files are others")
        return open_it(config, number, hashes)

    monkeypatch.setattr(Version, "open", opened)
    champion = Champion(config, now=lambda: seconds[0])
    for seconds[0] in (0, 0.9, 1, 2.9, 3, 6.9, 7):
        champion.look()
    assert [second for second, _ in tried] == [0, 1, 3, 7]
    assert champion.refused == ("1", "BrokenVersion: its files are others")
    tried.clear()
    second = living.crown(config, "1", iterations=4)
    champion.look()
    assert (tried, champion.refused) == ([(7, second)], None)
    champion.look()
    assert len(tried) == 1


def test_without_a_champion_the_service_is_alive_and_not_ready(config: Config) -> None:
    other = config.model_copy(update={"name": "nobody"})
    (event,) = events_of(config, 1)
    with TestClient(create(other)) as client:
        assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (200, 503)
        assert client.post("/v1/score", json=_body(event)).status_code == 503
    with TestClient(create(config)) as client:
        assert client.get("/readyz").status_code == 200
        (model,) = client.get("/v1/models").json()["models"]
        assert model["version"] == "1"


def test_feedback_becomes_a_file_of_the_label_feed(client: TestClient, config: Config) -> None:
    ids = [event["event_id"] for event in events_of(config, 2)]
    for event_id in ids:
        body = {"event_id": event_id, "label": 1, "source": "analyst", "reported_at": FIRST_AS_OF.isoformat()}
        assert client.post("/v1/feedback", json=body).status_code == 202
    wrong = client.post("/v1/feedback", json={"event_id": "1", "label": 1, "source": "a friend"})
    assert (wrong.status_code, "expected one of" in wrong.text) == (409, True)
    assert client.post("/v1/feedback", json={"event_id": "1", "label": 2, "source": "analyst"}).status_code == 422
    client.__exit__()
    assert load_predictions(config, FIRST_AS_OF).answers == 2
    checked = validate_batch(config, FIRST_AS_OF + dt.timedelta(hours=1))
    assert (checked.files, checked.accepted, checked.quarantined) == (1, 2, 0)


def test_a_key_is_asked_for_where_there_are_keys(config: Config) -> None:
    (event,) = events_of(config, 1)
    with TestClient(create(config, {"0123456789abcdef": "bank"})) as client:
        assert client.post("/v1/score", json=_body(event)).status_code == 401
        assert client.post("/v1/score", json=_body(event), headers={KEY: "0123456789abcdeg"}).status_code == 401
        assert client.post("/v1/score", json=_body(event), headers={KEY: "0123456789abcdef"}).status_code == 200
        assert client.get("/livez").status_code == 200


def test_a_client_that_asks_too_often_is_told_so(config: Config) -> None:
    told = config.serving.model_copy(update={"rate": config.serving.rate.model_copy(update={"value": 3})})
    with TestClient(create(config.model_copy(update={"serving": told}))) as client:
        codes = [client.get("/v1/models").status_code for _ in range(60)]
    assert codes[:3] == [200] * 3
    assert 429 in codes


def test_the_openapi_document_names_every_column_and_refers_to_nothing_that_is_not_there(
    shared: TestClient, released: Config
) -> None:
    document = shared.get("/openapi.json").json()
    assert "$ref" not in json.dumps(document["paths"]["/v1/score"])
    schema = document["paths"]["/v1/score"]["post"]["requestBody"]["content"]["application/json"]
    columns = {*released.measures, *released.categories, *released.entities.values(), "event_id", "event_time"}
    assert columns <= set(schema["schema"]["properties"]["event"]["properties"])
    assert shared.post("/v1/score", json=schema["example"]).status_code == 200


@pytest.mark.parametrize("rule", ["refuse", "answer"])
def test_a_disk_that_hangs_is_done_without_by_the_deployments_rule(
    config: Config, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    """More requests than there are threads, of one event and of many."""
    told = config.serving.model_copy(
        update={"without_log": rule, "log_wait": config.serving.log_wait.model_copy(update={"value": 200})}
    )
    events, hangs = events_of(config, 40), threading.Event()
    with TestClient(create(config.model_copy(update={"serving": told}))) as client:
        # A busy machine's disk may take longer than that, now and then.
        assert any(client.post("/v1/score", json=_body(events[0])).json().get("logged") for _ in range(20))
        monkeypatch.setattr(os, "fdatasync", lambda descriptor: hangs.wait())
        answers = [client.post("/v1/score", json=_body(event)) for event in events[:12]]
        answers += [client.post("/v1/score/batch", json={"events": events}) for _ in range(4)]
        hangs.set()
    if rule == "refuse":
        assert {answer.status_code for answer in answers} == {503}
        assert "200 ms" in answers[0].json()["error"]["message"]
    else:
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["logged"] for answer in answers[:12]} == {False}


def test_requests_that_wait_are_scored_together_as_they_are_alone(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    events = events_of(config, 60)
    reads, read = [], OnlineFeatures.read
    monkeypatch.setattr(OnlineFeatures, "read", lambda self, events: (reads.append(len(events)), read(self, events))[1])
    with TestClient(create(config)) as client, ThreadPoolExecutor(30) as threads:
        alone = [client.post("/v1/score", json=_body(event)).json()["probability"] for event in events]
        assert set(reads) == {1}
        together = list(threads.map(lambda event: client.post("/v1/score", json=_body(event)).json()["probability"], events))
    assert max(reads) > 1
    assert together == alone


def test_a_request_that_cannot_be_scored_fails_alone(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait with it, since the one before holds the thread."""
    events = events_of(config, 20)
    complete, together = OnlineFeatures.complete, list[int]()

    def fails_for_one(self: OnlineFeatures, asked: list[dict[str, Any]], features: Any) -> Any:
        time.sleep(0.1)
        together.append(len(asked))
        if any(event["event_id"] == events[7]["event_id"] for event in asked):
            raise RuntimeError("this one")
        return complete(self, asked, features)

    monkeypatch.setattr(OnlineFeatures, "complete", fails_for_one)
    with TestClient(create(config)) as client, ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda event: client.post("/v1/score", json=_body(event)), events))
        counted = client.get("/metrics").text
    assert [answer.status_code for answer in answers] == [500 if number == 7 else 200 for number in range(20)]
    assert answers[7].json()["error"]["code"] == "internal"
    assert max(together) > 1
    assert 'perennial_requests_total{path="/v1/score",status="500"} 1.0' in counted
    found = {answer.json()["event_id"] for answer in answers if answer.status_code == 200}
    assert found == {event["event_id"] for event in events} - {events[7]["event_id"]}


def test_a_ratio_that_is_too_large_for_a_number_is_scored_and_logged(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    read = OnlineFeatures.read

    def tiny(self: OnlineFeatures, events: list[dict[str, Any]]) -> Features:
        found = read(self, events)
        return replace(found, columns={name: np.full(len(events), 5e-324) for name in found.columns})

    monkeypatch.setattr(OnlineFeatures, "read", tiny)
    (event,) = events_of(config, 1)
    with TestClient(create(config)) as client:
        assert client.post("/v1/score", json=_body(event | {"amount": 1e6})).status_code == 200
        assert client.post("/v1/score", json=_body(event)).status_code == 200
    assert load_predictions(config, FIRST_AS_OF).predictions == 2
    inputs = [json.loads(text) for text in _predictions(config)["inputs"]]
    assert "inf" in {value for row in inputs for value in row.values()}


def test_paths_that_a_client_makes_up_are_not_kept(shared: TestClient) -> None:
    for number in range(50):
        shared.get(f"/made/up/{number}")
        shared.post(f"/v2/models/{number}")
    counted = shared.get("/metrics").text
    assert 'perennial_requests_total{path="other",status="404"}' in counted
    assert "made" not in counted
    assert len(re.findall(r"^perennial_requests_total", counted, re.MULTILINE)) < 40


ALONE = """
import feast.metrics  # it asks for figures that all registries of a process share
from ml.serving.metrics import Metrics

Metrics().fallbacks.inc()
print(Metrics().registry.get_sample_value("perennial_fallbacks_total"))
"""


def test_figures_are_those_of_one_service_whatever_feast_asks_for() -> None:
    ran = subprocess.run([sys.executable, "-c", ALONE], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == "0.0"
