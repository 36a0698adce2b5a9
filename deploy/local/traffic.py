"""Live traffic for the demo: events of a day are scored one by one, before the file of that day is ingested at night."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa

from ml.config import Config
from ml.lake import schema
from ml.quality import landing

EVENTS, RATE = 1_000, 100.0
"""Requests of a day, and how many of them are sent a second."""
PATIENCE = 90.0
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds after which a request is sent again that the service could not take for the moment (503)."""


class ServiceError(RuntimeError):
    """The scoring service does not answer as it should."""


@dataclass(frozen=True)
class Played:
    """What a day's traffic came to.

    Parameters:
        versions: that answered.
        answered, refused: requests with a score, and requests with an error, such as an amount that is no number.
        alerts: scores from the version's threshold on.
        p50_ms, p99_ms: time of an answer as the sender sees it; NaN if none was answered.
    """

    day: dt.date
    versions: tuple[str, ...]
    answered: int
    refused: int
    alerts: int
    p50_ms: float
    p99_ms: float


def wait_ready(url: str, patience: float = PATIENCE) -> None:
    """Wait until the service has a champion that scores its sample.

    Raises:
        ServiceError: it has none in time.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise ServiceError(
        f"the scoring service at {url} is not ready after {patience:.0f} s; its log is logs/serving.log in the home"
    )


def play(config: Config, url: str, day: dt.date) -> Played:
    """Send the first events of a day that has landed, in the order of their times.

    Raises:
        ServiceError: the service failed on one of them.
    """
    return asyncio.run(_play(url, day, events(config, day)))


def events(config: Config, day: dt.date, count: int = EVENTS) -> list[dict[str, Any]]:
    """The first events of a day, from the landing folder, as requests hold them."""
    files = [file for file in landing.find_files(config) if file.kind == schema.EVENTS and f"_{day}." in file.name]
    if not files:
        return []
    rows = pa.concat_tables([landing.read(file).table for file in files]).select(list(config.events.columns.values()))
    rows = rows.rename_columns(list(config.events.columns)).to_pandas().sort_values("event_time").head(count)
    texts = {"event_id", *config.entities.values(), *config.categories}
    names = ["event_id", *config.entities.values(), *config.measures, *config.categories]
    times = pd.to_datetime(rows["event_time"], utc=True)
    return [
        {"event_time": time.isoformat()} | {name: _value(value, name in texts) for name, value in row.items()}
        for time, row in zip(times, rows[names].to_dict(orient="records"), strict=True)
    ]


def _value(value: Any, is_text: bool) -> Any:
    if pd.isna(value):
        return None
    return str(value) if is_text else value


async def _play(url: str, day: dt.date, asked: Sequence[dict[str, Any]]) -> Played:
    seconds, versions, failed, alerts, refused = list[float](), set[str](), list[str](), 0, 0

    async def one(client: httpx.AsyncClient, event: dict[str, Any]) -> None:
        nonlocal alerts, refused
        begun = time.perf_counter()
        for pause in PAUSES:
            answer = await client.post("/v1/score", json={"event": event})
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(pause)
        if answer.is_server_error:
            raise ServiceError(
                f"the scoring service answered {answer.status_code} on event {event['event_id']}: {answer.text[:300]}"
            )
        if answer.is_client_error:
            refused += 1
        else:
            seconds.append(time.perf_counter() - begun)
            score = answer.json()
            versions.add(score["version"])
            alerts += score["decision"] == "alert" or score.get("explored", False)

    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client, asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number, event in enumerate(asked):
            await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
            group.create_task(one(client, event))
    if failed:
        raise ServiceError(failed[0])
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000 if seconds else (np.nan, np.nan)
    return Played(day, tuple(sorted(versions)), len(seconds), refused, alerts, float(p50), float(p99))
