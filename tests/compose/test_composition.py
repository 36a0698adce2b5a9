"""docker-compose.yaml, started: ingest, training, release and scores through its services."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from typing import Any

import pytest

from tests.compose.composition import CONFIG, EVENTS, STRONG, Composition, status, until
from tests.compose.conftest import DAY, Nights

pytestmark = pytest.mark.compose

UIDS = {"airflow-scheduler": "10001", "serving": "10001", "mlflow": "10001"}
RELEASED_WITHIN = 12
"""Looks at a release, at most."""


def score(composition: Composition, day: dt.date) -> list[dict[str, Any]]:
    """Have the service score events of a day that has landed; its answers."""
    listing = "import json, sys; from deploy.local.traffic import events; from ml.config import load; import datetime as dt; "
    listing += f"print(json.dumps(events(load({CONFIG!r}), dt.date.fromisoformat({day.isoformat()!r}), {EVENTS})))"
    events = json.loads(composition.within("airflow-scheduler", "python", "-c", listing))
    assert len(events) == EVENTS
    headers = {"x-api-key": composition.secrets["SERVING_API_KEY"], "content-type": "application/json"}
    answers = []
    for event in events:
        body = json.dumps({"event": event}).encode()
        request = urllib.request.Request(f"{composition.url('serving')}/v1/score", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            answers.append(json.loads(answer.read()))
    return answers


def test_no_container_of_the_project_runs_as_root(composition: Composition) -> None:
    assert {name: composition.within(name, "id", "-u").strip() for name in UIDS} == UIDS
    assert "0" not in {composition.within(name, "id", "-u").strip() for name in ("postgres", "redis")}


def test_the_images_hold_no_compiler_and_no_installer(composition: Composition) -> None:
    for service in ("airflow-scheduler", "serving"):
        found = composition.within(service, "sh", "-c", "for each in gcc cc make uv pip git; do command -v $each || true; done")
        assert found.split() == [], service


def test_before_the_first_promotion_the_service_is_alive_and_not_ready(composition: Composition) -> None:
    assert (status(f"{composition.url('serving')}/livez"), status(f"{composition.url('serving')}/readyz")) == (200, 503)


def test_a_first_champion_is_trained_on_what_was_ingested_and_answers(composition: Composition, nights: Nights) -> None:
    run = nights.train()
    done = nights.ended("train", run.run_id)
    assert done.note is not None
    assert "PROMOTE" in done.note, "a step has written the verdict on its run, as user perennial"
    until(lambda: status(f"{composition.url('serving')}/readyz") == 200, "the service has taken up the champion")
    held = composition.held()
    assert held["landed"] == held["events"][0] + held["set_aside"] > 10_000
    assert held["events"][0] == held["events"][1]
    assert held["admitted"] == [run.run_id]
    assert held["moves"] == [["promote", "1"]]
    assert held["aliases"]["champion"] == "1"


@pytest.mark.usefixtures("looks")
def test_a_better_version_is_released_and_takes_over(composition: Composition, nights: Nights) -> None:
    composition.write_deployment(STRONG)
    run = nights.train()
    nights.ended("train", run.run_id)
    held = composition.held()
    assert held["decided"][-1] == [run.run_id, "PROMOTE", "2"]
    assert (held["moves"], held["releases"]) == ([["promote", "1"]], [[]])

    until(lambda: served(composition, "challenger") == "2", "the service has taken up the version that is released")
    composition.feed(nights.as_of.date())
    answers = score(composition, nights.as_of.date())
    assert {answer["version"] for answer in answers} == {"1"}
    assert {answer["logged"] for answer in answers} == {True}
    assert {answer["features_from"] for answer in answers} == {"online store"}, "Redis has the features"
    for hour in range(1, RELEASED_WITHIN):
        look = {"as_of": (nights.as_of + DAY + dt.timedelta(hours=hour)).isoformat()}
        nights.ended("release", nights.api.trigger("release", look))
        held = composition.held()
        if held["moves"][-1] == ["promote", "2"]:
            break
    assert held["moves"] == [["promote", "1"], ["promote", "2"]], held["releases"]
    assert len(held["predictions"]) == len(set(held["predictions"])) == 2 * EVENTS, "each event has one score by each version"
    until(lambda: served(composition, "champion") == "2", "the service has followed")


def test_the_table_is_scored_once(composition: Composition, nights: Nights) -> None:
    for _ in range(2):
        nights.ended("score", nights.api.trigger("score", {"as_of": nights.as_of.isoformat()}))
    held = composition.held()
    assert held["scores"] == [held["events"][0]] * 2


def test_prometheus_reads_the_service(composition: Composition) -> None:
    asked = f"{composition.url('prometheus')}/api/v1/query?query=perennial_requests_total"
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert json.loads(answer.read())["data"]["result"]
    with urllib.request.urlopen(f"{composition.url('prometheus')}/api/v1/rules", timeout=30) as answer:
        assert json.loads(answer.read())["data"]["groups"]


def served(composition: Composition, role: str) -> str | None:
    """The version that the service has in a role."""
    headers = {"x-api-key": composition.secrets["SERVING_API_KEY"]}
    request = urllib.request.Request(f"{composition.url('serving')}/v1/models", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        models = json.loads(answer.read())["models"]
    return next((model["version"] for model in models if model["role"] == role), None)
