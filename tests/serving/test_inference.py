"""The Open Inference Protocol: complete feature tensors give the scores of the champion; anything else is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from ml.config import Config
from ml.model.copies import sample_of
from ml.serving.app import create
from ml.serving.service import Service
from tests.monitoring import living
from tests.serving.conftest import patient


@pytest.fixture(scope="module")
def service(released: Config, tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(patient(living.copy(released, tmp_path_factory.mktemp("inference"))))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create(service.config, service=service)) as client:
        yield client


def _sample(service: Service) -> tuple[pd.DataFrame, np.ndarray]:
    live = service.champion.live
    assert live is not None
    sample, expected = sample_of(live.model.folder)
    return sample[live.names], expected.to_numpy()


def _body(sample: pd.DataFrame) -> dict[str, Any]:
    def tensor(name: str) -> dict[str, Any]:
        values = sample[name].astype(object).where(sample[name].notna(), None).tolist()
        is_text = not pd.api.types.is_numeric_dtype(sample[name])
        return {"name": name, "datatype": "BYTES" if is_text else "FP64", "shape": [len(values)], "data": values}

    return {"id": "7", "inputs": [tensor(name) for name in sample]}


@pytest.mark.parametrize("rows", [1, 16, 100])
def test_complete_features_give_the_scores_at_export(client: TestClient, service: Service, rows: int) -> None:
    sample, expected = _sample(service)
    answer = client.post(f"/v2/models/{service.config.name}/infer", json=_body(sample.head(rows))).json()
    (output,) = answer["outputs"]
    assert (answer["id"], answer["model_version"], output["shape"]) == ("7", "1", [rows])
    np.testing.assert_allclose(output["data"], expected[:rows], atol=1e-5)


def test_health_and_metadata_are_those_of_the_protocol(client: TestClient, service: Service) -> None:
    name = service.config.name
    assert client.get("/v2").json()["name"] == "perennial"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    metadata = client.get(f"/v2/models/{name}/versions/1").json()
    assert [column["name"] for column in metadata["inputs"]] == list(_sample(service)[0])
    assert client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    assert client.get(f"/v2/models/{name}/versions/2/ready").status_code == 404
    assert client.get("/v2/models/another").status_code == 404


WRONG: dict[str, tuple[Any, str]] = {
    "no tensors": (lambda body: body | {"inputs": []}, "missing"),
    "a tensor twice": (lambda body: body | {"inputs": [*body["inputs"], body["inputs"][0]]}, "once"),
    "another tensor": (lambda body: _first(body, name="colour"), "colour"),
    "another type": (lambda body: _first(body, datatype="BYTES"), "datatype"),
    "no such type": (lambda body: _first(body, datatype="FP8"), "datatype"),
    "another shape": (lambda body: _first(body, shape=[2]), "shape"),
    "no rows": (lambda body: _first(body, shape=[0], data=[]), "rows"),
    "a text as number": (lambda body: _first(body, data=["12"]), "numbers"),
    "a truth as number": (lambda body: _first(body, data=[True]), "numbers"),
    "a huge number": (lambda body: _first(body, data=[10**400]), "numbers"),
    "infinity": (lambda body: _first(body, data=[float("inf")]), "numbers"),
    "a huge number of rows": (lambda body: _first(body, shape=[10**9]), "rows"),
}


def _first(body: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return body | {"inputs": [body["inputs"][0] | changed, *body["inputs"][1:]]}


@pytest.mark.parametrize("name", WRONG)
def test_other_tensors_are_refused_with_the_reason(client: TestClient, service: Service, name: str) -> None:
    change, words = WRONG[name]
    body = json.dumps(change(_body(_sample(service)[0].head(1))))
    answer = client.post(f"/v2/models/{service.config.name}/infer", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_what_is_no_json_or_too_large_is_refused(client: TestClient, service: Service) -> None:
    path = f"/v2/models/{service.config.name}/infer"
    assert client.post(path, content=b"{").status_code == 400
    assert client.post(path, content=b" " * 3_000_000).status_code == 413
    assert "error" in json.loads(client.post(path, content=b"[]").content)


def test_a_version_that_does_not_score_its_sample_any_more_is_not_ready(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/readyz").status_code == 200
    live = service.champion.live
    assert live is not None
    row, expected = live._golden
    monkeypatch.setitem(live.__dict__, "_golden", (row, expected + 0.01))
    assert client.get("/readyz").status_code == 503
