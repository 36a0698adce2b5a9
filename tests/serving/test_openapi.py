"""Requests of every kind that the service's own OpenAPI document describes, valid and invalid: none of them makes a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from deploy.local.preflight import free_port
from ml.config import Config
from tests.monitoring import living
from tests.serving.running import start_service


@pytest.fixture(scope="module")
def api(released: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a running service."""
    folder, port = tmp_path_factory.mktemp("openapi"), free_port()
    living.copy(released, folder)
    path = folder / "deployment.yaml"
    patience = {"value": 20_000, "unit": "milliseconds", "reason": "a busy test machine"}
    path.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text()) | {"serving": {"log_wait": patience, "deadline": patience}})
    )
    service = start_service(path, port)
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    service.terminate()
    service.wait()


def _ends_in_a_newline(body: Any) -> bool:
    """Whether a text in it does: Python's `$` matches before it, JSON Schema's does not."""
    if isinstance(body, dict):
        return any(map(_ends_in_a_newline, body.values()))
    if isinstance(body, list):
        return any(map(_ends_in_a_newline, body))
    return isinstance(body, str) and body.endswith("\n")


def test_no_request_makes_a_server_error(api: Any) -> None:
    """Valid requests and broken ones; each answer is one that the document names, in the form that it names."""
    operations = [found.ok() for found in api.get_all_operations()]
    assert {operation.label for operation in operations} >= {"POST /v1/score", "POST /v1/score/batch", "POST /v1/feedback"}
    for operation in operations:
        for mode in [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.body else [])]:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            def ask(case: schemathesis.Case) -> None:
                response = case.call()
                assert response.status_code < 500, response.text
                if not _ends_in_a_newline(case.body):
                    case.validate_response(response)

            ask()
