"""The steps by name: what Airflow's tasks, the command line and a container run is looked up here and nowhere else.

A step is a plain function `(config, as_of, **references) → a small frozen record`. Data travel by reference.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ml.config import Config

STEPS = {
    "validate_batch": "ml.quality.validate",
    "load_batch": "ml.quality.load",
    "publish_features": "ml.features.publish",
    "materialize": "ml.store.feast",
    "admit": "ml.decision.admit",
    "build_training_set": "ml.training.dataset",
    "validate_training_set": "ml.training.check",
    "fit": "ml.training.fit",
    "export": "ml.training.export",
    "judge": "ml.decision.judge",
    "register": "ml.decision.register",
    "promote": "ml.decision.promote",
}


def function_of(step: str) -> Callable[..., Any]:
    """The function of a step; its module is imported now and not before."""
    if step not in STEPS:
        raise KeyError(f"no step {step!r}; there are {', '.join(STEPS)}")
    function: Callable[..., Any] = getattr(import_module(STEPS[step]), step)
    return function


def references_of(step: str) -> dict[str, inspect.Parameter]:
    """What a step takes besides configuration and instant, by name."""
    parameters = inspect.signature(function_of(step)).parameters
    return {name: p for name, p in parameters.items() if name not in ("config", "as_of")}


def run(step: str, config: Config, as_of: dt.datetime, references: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run a step and return its record as plain values."""
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of.isoformat()} has no time zone; write it in UTC, such as 2025-05-02T02:00:00Z")
    given = {name: _typed(value, references_of(step).get(name)) for name, value in (references or {}).items()}
    record = function_of(step)(config, as_of, **given)
    told: dict[str, Any] = dataclasses.asdict(record)
    return told


def _typed(value: Any, parameter: inspect.Parameter | None) -> Any:
    """A reference that came as text, as a command line and a template give it."""
    if parameter is None or parameter.annotation != "bool" or not isinstance(value, str):
        return value
    if value.lower() not in ("true", "false"):
        raise ValueError(f"{parameter.name} is {value!r}, expected true or false")
    return value.lower() == "true"
