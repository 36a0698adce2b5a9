"""What was served equals what point-in-time retrieval gives for the same instants, bit for bit, over several publications."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import equality
from benchmarks.equality import AT_EVENTS, compare, replay, stream
from deploy.local.preflight import free_port
from ml.config import Config, load
from ml.quality.predictions import load_predictions
from ml.store.feast import materialize
from tests.deployments import FIRST_AS_OF, small_told, write
from tests.monitoring import living
from tests.serving.running import start_service


def _file(folder: Path, home: Path, hours: int = 24) -> Path:
    """The file of a deployment with windows at events, one view with a snapshot every so many hours, and a copy of a home."""
    told = small_told()
    told["windows"][0]["publish"] = {"value": hours, "unit": "hours", "reason": "as the test asks"}
    told["windows"] += [window | {"publish": "event"} for window in AT_EVENTS]
    told["serving"] = {
        name: {"value": 20_000, "unit": "milliseconds", "reason": "a busy test machine"} for name in ("deadline", "log_wait")
    }
    shutil.copytree(home, folder / "home")
    return write(folder, told)


@pytest.fixture(scope="module")
def crowned(released: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The released deployment with a champion that takes windows at events."""
    config = load(_file(tmp_path_factory.mktemp("crowned"), released.home))
    living.crown(config, "1", iterations=30)
    return config


@pytest.fixture(scope="module")
def came(crowned: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The payments of every tenth customer in a day and a half, and the answers of these days."""
    events, answers = stream(crowned, 4500)
    events = events[events["customer_id"].str[-1] == "0"].reset_index(drop=True)
    assert events["event_time"].max() - FIRST_AS_OF > dt.timedelta(days=1)
    return events, answers


def test_what_was_served_is_what_training_would_get(
    crowned: Config, came: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    """One view is published every six hours, the others a day; the service is restarted in the middle."""
    config = load(_file(tmp_path, crowned.home, hours=6))
    found = replay(config, FIRST_AS_OF, *came)
    assert found.events > 300
    assert (found.equal, found.equal_at_events, found.unequal) == (found.events, found.events, {})
    assert found.from_estimator < config.training.parity.value


def test_an_online_store_that_was_not_filled_in_time_is_found(
    crowned: Config, came: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(_file(tmp_path, crowned.home))
    fill = equality.materialize
    monkeypatch.setattr(equality, "materialize", lambda config, as_of: fill(config, as_of) if as_of == FIRST_AS_OF else None)
    found = replay(config, FIRST_AS_OF, *came)
    assert found.equal < found.equal_at_events == found.events
    assert "customer_amount_count_1d" in found.unequal
    assert "clock_hour" not in found.unequal


def test_a_service_that_is_killed_goes_on_with_the_same_windows(
    crowned: Config, came: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    path, port = _file(tmp_path, crowned.home), free_port()
    config = load(path)
    materialize(config, FIRST_AS_OF)
    busiest = came[0]["customer_id"].value_counts().index[:10]
    events = came[0][came[0]["customer_id"].isin(busiest)].reset_index(drop=True)
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories]
    asked = json.loads(
        events[names].assign(event_time=events["event_time"].map(str)).to_json(orient="records", double_precision=15)
    )
    half = len(asked) // 2
    for part, end in ((asked[:half], signal.SIGKILL), (asked[half:], signal.SIGTERM)):
        service = start_service(path, port)
        for event in part:
            _score(port, event)
        service.send_signal(end)
        service.wait()
    load_predictions(config, FIRST_AS_OF)
    equality.load_and_publish(config, FIRST_AS_OF + dt.timedelta(days=3), events, came[1].head(0))
    found = compare(config, events)
    assert (found.equal_at_events, found.unequal) == (len(events), {})


def _score(port: int, event: dict[str, Any]) -> None:
    body = json.dumps({"event": event}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/score", data=body, timeout=30) as answer:
        assert json.loads(answer.read())["logged"]
