"""Monitoring may be killed at any line and run again: each day is recorded whole and once, and told to people once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml import artifacts
from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.monitoring.champion import champion_of
from ml.monitoring.monitor import monitor
from ml.monitoring.reference import KIND, RECORD, key_of, profile_champion, read
from tests.killing import Phase, killed_anywhere
from tests.monitoring import living
from tests.monitoring.living import DAY, night

pytestmark = pytest.mark.proof

NIGHTS = 5
BEGINS = (night(NIGHTS) - 3 * DAY).date()
PLANTED = (
    {"name": "feed_fault", "day": (BEGINS - DAY).isoformat(), "kind": "nulls", "column": "merchant_category", "days": 1},
    {"name": "amount_shift", "day": BEGINS.isoformat(), "factor": 1.4},
)
KILLS = {"profile": 4, "monitor": 12}


def _of(home: Path) -> Config:
    return load(home.parent / "deployment.yaml")


def _profile(home: Path) -> None:
    profile_champion(_of(home), night(NIGHTS), "1")


def _monitor(home: Path) -> None:
    monitor(_of(home), night(NIGHTS))


def _reference(home: Path) -> dict[str, Any]:
    config = _of(home)
    folder = artifacts.local(config).get(KIND, key_of(config, champion_of(config, "1")))
    told = read(folder)
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "record": (folder / RECORD).read_text(),
        "days": len(told.days.features),
    }


def _reference_is_whole(home: Path, expected: dict[str, Any]) -> None:
    config = _of(home)
    if artifacts.local(config).has(KIND, key_of(config, champion_of(config, "1"))):
        assert _reference(home) == expected


def _recorded(home: Path) -> dict[str, Any]:
    config = _of(home)
    signals = Ledger(config.ledger).signals
    return {
        "readings": living.seen(config),
        "alarms": [(alarm.trigger, alarm.day, alarm.reason) for alarm in signals.confirmations(config.name)],
        "incidents": [(incident.day, incident.fault, incident.reason) for incident in signals.incidents(config.name)],
        "messages": [
            (message.key, message.text, message.figure) for message in Ledger(config.ledger).messages.all(config.name)
        ],
    }


def _days_are_whole(home: Path, expected: dict[str, Any]) -> None:
    found = _recorded(home)
    days = {day for day, _ in found["readings"]}
    assert found["readings"] == {key: reading for key, reading in expected["readings"].items() if key[0] in days}
    assert found["alarms"] == [alarm for alarm in expected["alarms"] if alarm[1] in days]
    assert found["incidents"] == [incident for incident in expected["incidents"] if incident[0] in days]
    assert found["messages"] == expected["messages"][: len(found["messages"])]


PHASES = {
    "profile": Phase(_profile, _reference_is_whole, _reference),
    "monitor": Phase(_monitor, _days_are_whole, _recorded),
}


@pytest.fixture(scope="module")
def states(trained: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The deployment before each phase, with a fault of the feed and a drift in what it has to look at."""
    folder = tmp_path_factory.mktemp("cut_off")
    config = living.copy(trained, folder, *PLANTED)
    living.let_pass(config, 1, NIGHTS)
    found = {phase: folder / phase for phase in PHASES}
    shutil.copytree(config.home, found["profile"])
    _profile(config.home)
    shutil.move(config.home, found["monitor"])
    return found


@pytest.mark.parametrize("phase", KILLS)
def test_monitoring_that_was_killed_anywhere_is_mended_by_running_it_again(
    phase: str, states: dict[str, Path], repetitions: Callable[[int], int]
) -> None:
    killed_anywhere(phase, PHASES[phase], states[phase], repetitions(KILLS[phase]))


def test_what_was_planted_is_what_is_at_stake(states: dict[str, Path]) -> None:
    home = states["monitor"].parent / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(states["monitor"], home)
    _monitor(home)
    found = _recorded(home)
    assert [(trigger, day) for trigger, day, _ in found["alarms"]] == [("drift", BEGINS + DAY)]
    assert [(day, fault) for day, fault, _ in found["incidents"]] == [(BEGINS - DAY, "missing values")]
    assert len(found["messages"]) == 2
