"""A scenario changes what happens in the simulated world, and nothing else of the deployment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import PROJECT, load
from ml.errors import BadInput
from ml.replay import scenario
from ml.replay.oracle import drifts
from tests import deployments

FILES = sorted((PROJECT / "config" / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_scenario_of_the_project_can_be_played(path: Path, tmp_path: Path) -> None:
    config = deployments.small(tmp_path)
    world = scenario.applied(config, scenario.read(path))
    assert drifts(world) == sorted(entry["day"] for entry in scenario.read(path).drift)
    assert world.model_copy(update={"feed": config.feed}) == config


def test_the_demos_own_drift_is_the_sudden_one() -> None:
    demo = load(PROJECT / "config" / "demo.yaml")
    assert scenario.applied(demo, scenario.read(PROJECT / "config" / "scenarios" / "sudden.yaml")) == demo


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drift: []", "is no scenario; it has a description"),
        ("description: nothing happens here\ndrift: [{name: earthquake, day: 2025-05-03}]", "earthquake"),
        ("description: [", "is no scenario"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        scenario.read(path)
    with pytest.raises(BadInput, match="there are scenarios in config/scenarios"):
        scenario.read(tmp_path / "none.yaml")


def test_a_feed_of_the_past_has_no_scenario() -> None:
    with pytest.raises(BadInput, match="has no simulated feed"):
        scenario.applied(load(PROJECT / "config" / "flights.yaml"), scenario.read(FILES[0]))
