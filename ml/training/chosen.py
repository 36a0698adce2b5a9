"""The settings that a search decided for: their record, where it lies, and the deployment with them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.config import Config, ModelSettings
from ml.errors import Refused

CHOSEN = "chosen.json"


class NoStudy(Refused, LookupError):
    """There is no study, or no decided one, at an address."""


@dataclass(frozen=True)
class FoldValue:
    """Average precision on one fold, by the chosen settings and by those of the deployment file."""

    start: str
    end: str
    rows: int
    positives: int
    chosen: float
    file: float


@dataclass(frozen=True)
class Chosen:
    """The settings that a search decided for, and why; `settings` is the address that `fit` takes.

    `model` are all settings of the model; `best` are those of the space that were best, whether they won or not, empty where
    no trial came to an end. `value` and `file_value` are means over `folds`, None where the file's settings have none.
    """

    settings: str
    as_of: str
    training_set: str
    tuned: bool
    model: dict[str, Any]
    best: dict[str, Any]
    value: float | None
    file_value: float | None
    folds: list[FoldValue]
    trials: dict[str, int]
    seconds: float
    warm_starts: dict[str, dict[str, Any]]
    importance: dict[str, float]
    note: str


def folder_of(config: Config, study: str) -> Path:
    """Folder of a study.

    Raises:
        NoStudy: the name is not one that `plan_tuning` gives.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", study):
        raise NoStudy(f"{study!r} is no study: expected 64 hexadecimal digits, as `plan_tuning` returns them")
    return config.home / "tuning" / study


def describe(config: Config, settings: str) -> Chosen:
    """The record of a search that was decided.

    Raises:
        NoStudy: there is none at this address.
    """
    path = folder_of(config, settings) / CHOSEN
    if not path.is_file():
        raise NoStudy(f"{path} is not there; run `choose_settings` for this study first")
    told = json.loads(path.read_text())
    return Chosen(**told | {"folds": [FoldValue(**fold) for fold in told["folds"]]})


def with_model(config: Config, model: ModelSettings) -> Config:
    """The deployment with other settings of its model."""
    return config.model_copy(update={"training": config.training.model_copy(update={"model": model})})


def tuned(config: Config, settings: str) -> Config:
    """The deployment with the settings that a search decided for.

    Raises:
        NoStudy: none was decided at this address.
    """
    return with_model(config, ModelSettings.model_validate(describe(config, settings).model))
