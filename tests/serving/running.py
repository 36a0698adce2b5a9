"""Services as processes of their own, and what they have left in the lake."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from ml.config import PROJECT, Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from tests.monitoring import living


def copied(trained: Config, folder: Path, **serving: Any) -> Path:
    """The file of a copy of a deployment, with the patience of a busy test machine and more settings of its service."""
    living.copy(trained, folder)
    path = folder / "deployment.yaml"
    patience = {"value": 20_000, "unit": "milliseconds", "reason": "a busy test machine"}
    told = yaml.safe_load(path.read_text()) | {"serving": {"log_wait": patience} | serving}
    path.write_text(yaml.safe_dump(told))
    load(path)
    return path


def start_service(path: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the service of a deployment file, and wait until it is ready."""
    command = [sys.executable, "-m", "ml", "serve", "--config", str(path), "--port", str(port)]
    service = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1200):
        assert service.poll() is None
        try:
            if urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200:
                return service
        except OSError:
            time.sleep(0.1)
    raise AssertionError("not ready after two minutes")


def versions_of(config: Config) -> list[tuple[str, str]]:
    """The predictions in the lake: the id of each, and the version that made it."""
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        return connection.execute("SELECT prediction_id, version FROM predictions").fetchall()


def ids_of(config: Config) -> list[str]:
    """The ids of the predictions in the lake."""
    return [prediction for prediction, _ in versions_of(config)]
