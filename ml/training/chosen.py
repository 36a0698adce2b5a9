"""The settings that tuning chose: their record, its location, and the deployment with these settings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import artifacts
from ml.config import Config, ModelSettings
from ml.errors import Refused

KIND, CHOSEN = "tuning", "chosen.json"


class NoStudy(Refused, LookupError):
    """There is no study at an address, or it is not decided yet."""


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
class ChosenSettings:
    """The settings that tuning chose, and why; `settings` is the address that `fit` takes.

    `model` has all settings of the model; `best` has the tuned settings of the best trial, whether they were chosen or not, and
    is empty if no trial finished. `value` and `file_value` are means over `folds`, None if the file's settings have no value.
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


def key_of(study: str, name: str) -> str:
    """Key of a study's record.

    Raises:
        NoStudy: the name is not the id of a study.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", study):
        raise NoStudy(f"{study!r} is no study: expected 64 hexadecimal digits, as `plan_tuning` returns them")
    return f"{study}/{name}"


def is_decided(config: Config, study: str) -> bool:
    """Whether the settings of a study are chosen."""
    return artifacts.of(config).has(KIND, key_of(study, CHOSEN))


def path_of(config: Config, study: str, name: str, step: str) -> Path:
    """File of a study's record.

    Raises:
        NoStudy: there is none; the message says which step makes it.
    """
    try:
        return artifacts.of(config).get(KIND, key_of(study, name))
    except artifacts.Missing as missing:
        raise NoStudy(f"{missing.filename} is not there; {step}") from None


def describe(config: Config, settings: str) -> ChosenSettings:
    """The record of a decided study.

    Raises:
        NoStudy: there is no record at this address.
    """
    record = json.loads(path_of(config, settings, CHOSEN, "run `choose_settings` for this study first").read_text())
    return ChosenSettings(**record | {"folds": [FoldValue(**fold) for fold in record["folds"]]})


def with_model(config: Config, model: ModelSettings) -> Config:
    """The deployment with other settings of its model."""
    return config.model_copy(update={"training": config.training.model_copy(update={"model": model})})


def tuned(config: Config, settings: str) -> Config:
    """The deployment with the settings that tuning chose.

    Raises:
        NoStudy: there is no record at this address.
    """
    return with_model(config, ModelSettings.model_validate(describe(config, settings).model))
