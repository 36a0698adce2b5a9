"""Scenarios: what happens to a simulated world while policies are replayed, each in a file of its own.

Only the drift of the deployment's feed is replaced; bank, seed and windows stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ml.config import Config, Section, SimulationFeed
from ml.config.thresholds import Written
from ml.errors import BadInput
from ml.simulate.drift import drift_from_config


class Scenario(Section):
    """The content of a scenario's file.

    Attributes:
        description: what happens, for people.
        drift: planted changes, as in a deployment's `feed`.
    """

    description: Written
    drift: list[dict[str, Any]]


def read(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        BadInput: there is no such file, or it is no scenario.
        ConfigError: its drift is none that can be planted.
    """
    try:
        scenario = Scenario.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; there are scenarios in config/scenarios") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise BadInput(f"{path} is no scenario; it has a description and a list of drift: {error}") from error
    drift_from_config(scenario.drift)
    return scenario


def applied(config: Config, scenario: Scenario) -> Config:
    """The deployment in the world of a scenario.

    Raises:
        BadInput: the deployment's feed is not simulated.
    """
    if not isinstance(config.feed, SimulationFeed):
        raise BadInput(f"deployment {config.name} has no simulated feed, so no scenario can be played in it")
    return config.model_copy(update={"feed": config.feed.model_copy(update={"drift": scenario.drift})})
