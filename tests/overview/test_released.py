"""How each champion came to answer all requests, in words."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.overview.releases import released
from tests import deployments
from tests.ledger.test_releases import RELEASE, move

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
STEPS = [{"share": share, "requests": 10, "hours": 1} for share in (0, 10)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(deployments.small_file(tmp_path))


def _move(ledger: Ledger, config: Config, action: str, version: str, day: int) -> None:
    champion = ledger.moves.champion(config.name)
    made = Move(
        model=config.name,
        action=action,  # type: ignore[arg-type]
        expected_from=champion,
        to_version=version,
        as_of=AS_OF + dt.timedelta(days=day),
        actor="Ada",
        reason="better",
        verdict={},
        run_id=f"run_{day}",
        hashes={},
    )
    ledger.moves.make(made)


def test_a_champion_answers_at_once_after_steps_or_again(config: Config) -> None:
    ledger = Ledger(config.ledger)
    assert released(config) == []
    _move(ledger, config, "promote", "1", 0)
    course = ledger.releases.begin(replace(RELEASE, model=config.name, plan={"steps": STEPS}))
    course = ledger.releases.move(course, move(course, "advanced", step=1, hours=2))
    assert released(config)[1] == "version 2 is being released: it answers 10 % of the requests"
    ledger.releases.move(course, move(course, "finished", step=1, hours=3))
    _move(ledger, config, "promote", "2", 1)
    _move(ledger, config, "rollback", "1", 2)
    assert released(config) == [
        "version 1 answers all requests since 2025-05-02 02:00, at once, for there was no champion to compare it with on live "
        "traffic",
        "version 2 answers all requests since 2025-05-03 02:00, after steps that began 2025-05-02 02:00",
        "version 1 answers all requests since 2025-05-04 02:00, back in place of version 2, by Ada",
    ]
