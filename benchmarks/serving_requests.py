"""What the servers of `benchmarks.serving` are asked: the same events in each server's own form, and the right answers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pandas as pd

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.model.version import Version
from ml.store.feast import retrieve_online

EVENTS, CHECKED = 2_000, 100
TOLERANCE = 1e-5
"""Of a probability: other builds of ONNX Runtime round otherwise."""
PROBABILITY: dict[str, Callable[[Any], float]] = {
    "ours": lambda answer: answer["probability"],
    "mlflow": lambda answer: answer["predictions"][0]["probability"],
    "mlserver": lambda answer: answer["outputs"][0]["data"][0],
    "litserve": lambda answer: answer["probability"],
}
"""Where each server's answer has the probability."""


@dataclass(frozen=True)
class Asked:
    """Bodies of requests to one server, and the probabilities that it is to answer."""

    server: str
    bodies: list[bytes]
    expected: np.ndarray

    def check(self, url: str) -> None:
        """Ask the first ones, and stop unless the answers are right."""
        with httpx.Client(headers={"content-type": "application/json"}) as client:
            for number, (body, expected) in enumerate(zip(self.bodies[:CHECKED], self.expected, strict=False)):
                answer = client.post(url, content=body)
                if answer.status_code != 200:
                    raise SystemExit(f"{url}: request {number} was answered by {answer.status_code}: {answer.text[:500]}")
                found = float(PROBABILITY[self.server](answer.json()))
                if not abs(found - expected) <= TOLERANCE:
                    raise SystemExit(f"{url}: request {number} was answered by {found}, expected {expected}: {body.decode()}")


def events_of(config: Config) -> list[dict[str, Any]]:
    """Events of the newest day as events of the day after."""
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories]
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        query = f"SELECT {', '.join(names)} FROM events ORDER BY event_time DESC, event_id LIMIT {EVENTS}"
        rows = connection.execute(query).df()
    rows["event_time"] += dt.timedelta(days=1)
    values = rows.astype(object).where(rows.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in values.to_numpy()]


def requests(config: Config, version: Version) -> dict[str, Asked]:
    """The requests by server. Ours looks the features up; others are given them."""
    events = events_of(config)
    rows = pd.concat([pd.DataFrame(events), retrieve_online(config, events)], axis=1)[version.names]
    numbers = set(version.model.inputs.fill)
    complete = json.loads(rows.to_json(orient="records", double_precision=15))
    # JSON has no NaN: a missing number is null, which NumPy reads as NaN; a missing text is empty.
    filled = [{name: "" if v is None and name not in numbers else v for name, v in row.items()} for row in complete]

    def tensors(row: dict[str, Any]) -> bytes:
        kinds = {name: "FP32" if name in numbers else "BYTES" for name in row}
        inputs = [{"name": n, "shape": [1], "datatype": kinds[n], "data": [row[n]]} for n in row]
        return json.dumps({"inputs": inputs}).encode()

    bodies = {
        "ours": [json.dumps({"event": event | {"event_time": event["event_time"].isoformat()}}).encode() for event in events],
        "mlflow": [json.dumps({"dataframe_records": [row]}).encode() for row in complete],
        "mlserver": [tensors(row) for row in filled],
        "litserve": [json.dumps(row).encode() for row in filled],
    }
    expected = version.model.score_onnx(rows)
    return {server: Asked(server, of_server, expected) for server, of_server in bodies.items()}
