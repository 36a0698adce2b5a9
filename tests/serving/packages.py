"""Registered versions of a small model, made in seconds, and packages of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ml.config import Config, load
from ml.model.copies import EXPECTED, SAMPLE
from ml.model.inputs import Inputs
from ml.model.model import Model
from ml.training.fit import RECORD, Fit, registry
from tests.deployments import small_file
from tests.models import INPUTS, fitted, payments
from tests.monitoring import living

FIT = Fit("m", "s", "", "", "", "", 30, 0.5, 0.5, threshold=0.4, importance={}, code={})


def champion(folder: Path) -> tuple[Config, Model]:
    """A deployment, in `deployment.yaml`, whose champion is version 1."""
    config = load(small_file(folder))
    model, version = register(config, folder / "model")
    living.move(config, None, version)
    return config, model


def register(config: Config, folder: Path, seed: int = 1, inputs: Inputs = INPUTS) -> tuple[Model, str]:
    """Make a small model in a folder and register it; the model and its version. Among its sample are gaps and infinities."""
    rows = payments(1500)
    rows = rows.assign(**{name: rows["amount"] for name in inputs.fill if name not in rows})
    model = fitted(folder, config, rows, inputs, seed)
    sample = rows.head(60)[model.inputs.names].copy()
    sample.loc[[3, 4], "amount"] = [np.inf, -np.inf]
    sample.assign(**{EXPECTED: model.score(sample)}).to_parquet(folder / SAMPLE)
    (folder / RECORD).write_text(json.dumps(asdict(FIT)))
    (folder / "MLmodel").write_text("model_uuid: 1\n")
    found = registry(config)
    run = found.run(found.experiment(config.name, f"{config.home}/mlartifacts"), f"seed {seed}")
    return model, found.register(folder, run, {}, "a model")


def read(package: Path, name: str) -> dict[str, Any]:
    """A JSON file of a package."""
    return json.loads((package / name).read_text())


def spoilt(package: Path, folder: Path) -> Path:
    """A copy whose golden rows expect a score that is slightly another one."""
    for path in filter(Path.is_file, package.iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    golden = read(package, "golden.json")
    golden["expected"][7] += 2e-4
    (folder / "golden.json").write_text(json.dumps(golden))
    return folder
