"""A small deployment with a champion that lives on night by night, and what is planted in its stream."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

from ml.config import Config, load
from ml.features.publish import publish_features
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.signals import Reading
from ml.quality.load import load_batch
from ml.quality.validate import validate_batch
from ml.simulate.feed import write_until
from ml.training import dataset, export, fit
from tests.deployments import FIRST_AS_OF, small_told, write

DAY = dt.timedelta(days=1)


def night(number: int) -> dt.datetime:
    """The instant of the run of a night after the training; what lands in it is the day before."""
    return FIRST_AS_OF + number * DAY


def train(folder: Path) -> Config:
    """The deployment on the night of its training: ten weeks are ingested, and version 1 is champion."""
    config = load(write(folder, small_told()))
    let_pass(config, 0, 0)
    crown(config, None, iterations=60)
    return config


def crown(config: Config, champion: str | None, iterations: int) -> str:
    """Train a version as of the first night and make it champion in place of another, whatever the gate would say."""
    version = register(config, iterations)
    move(config, champion, version)
    return version


def register(config: Config, iterations: int) -> str:
    """Train a version as of the first night."""
    model = config.training.model.model_copy(update={"iterations": iterations})
    config = config.model_copy(update={"training": config.training.model_copy(update={"model": model})})
    fitted = fit.fit(config, FIRST_AS_OF, dataset.build_training_set(config, FIRST_AS_OF).training_set)
    export.export_graph(config, FIRST_AS_OF, fitted.model)
    registry = fit.registry(config)
    return registry.register(export.folder_of(config, fitted.model), fitted.mlflow_run, {}, "a model")


def move(config: Config, champion: str | None, version: str, run_id: str = "") -> None:
    """Make a version champion in place of another; without a run's id, once."""
    Ledger(config.ledger).moves.make(
        Move(
            model=config.name,
            action="promote",
            expected_from=champion,
            to_version=version,
            as_of=FIRST_AS_OF,
            actor="test",
            reason="a champion to watch",
            verdict={},
            run_id=run_id or f"{version} in place of {champion}",
            hashes=fit.registry(config).digests(version),
        )
    )


def copy(trained: Config, folder: Path, *drift: dict[str, Any]) -> Config:
    """The same deployment in a folder of its own, with drift in what its feed will bring."""
    shutil.copytree(trained.home, folder / "home")
    told = small_told()
    told["feed"]["drift"] = list(drift)
    return load(write(folder, told))


def let_pass(config: Config, first: int, last: int) -> None:
    """Nights from `first` to `last`: files land, are checked and loaded, and features are published."""
    for number in range(first, last + 1):
        write_until(config, (night(number) - DAY).date())
        load_batch(config, night(number), validate_batch(config, night(number)).staged)
        publish_features(config, night(number))


def seen(config: Config, version: str = "1") -> dict[tuple[dt.date, str], tuple[Any, ...]]:
    """All that is recorded of a champion's days except when it was, by day and signal."""

    def plain(reading: Reading) -> tuple[Any, ...]:
        return reading.kind, reading.value, reading.threshold, reading.state, reading.details

    found = Ledger(config.ledger).signals.readings(config.name, version)
    return {(reading.day, reading.signal): plain(reading) for reading in found}
