"""What cannot compete is refused before anybody answers a request with it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.decision.competition import begin, stop
from ml.errors import BadInput, NotThere
from ml.ledger.competitions import NoCompetition
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.releases import ReleaseOpen
from ml.ledger.run import Run
from tests import deployments
from tests.ledger.test_releases import RELEASE

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
ANN = Run(actor="ann")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A deployment with a champion, of which nothing else is registered."""
    config = load(deployments.small_file(tmp_path))
    Ledger(config.ledger).moves.make(
        Move(
            model=config.name,
            action="promote",
            expected_from=None,
            to_version="1",
            as_of=AS_OF,
            actor="gate",
            reason="better",
            verdict={},
            run_id="r1",
            hashes={},
        )
    )
    return config


@pytest.mark.parametrize(
    ("shares", "until", "why"),
    [
        ({"1": 5.0}, WEEK, "version 1 is the champion"),
        ({"2": 0.0}, WEEK, "expected each above 0"),
        ({"2": 30.0, "3": 25.0}, WEEK, "55 % together; expected each above 0, and at most 50 % together"),
        ({"2": float("nan")}, WEEK, "expected each above 0"),
        ({}, WEEK, "expected each above 0"),
        ({"2": 5.0}, dt.timedelta(), "is not after 2025-05-02"),
    ],
)
def test_shares_that_cannot_be_are_refused(config: Config, shares: dict[str, float], until: dt.timedelta, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        begin(config, AS_OF, shares, AS_OF + until, "ideas", ANN)


def test_what_is_not_registered_cannot_compete(config: Config) -> None:
    with pytest.raises(NotThere, match="no version '7'; none is registered yet"):
        begin(config, AS_OF, {"7": 5.0}, AS_OF + WEEK, "ideas", ANN)
    assert Ledger(config.ledger).competitions.all(config.name) == []


def test_nothing_competes_beside_no_champion(tmp_path: Path) -> None:
    config = load(deployments.small_file(tmp_path))
    with pytest.raises(BadInput, match="has no champion beside which"):
        begin(config, AS_OF, {"2": 5.0}, AS_OF + WEEK, "ideas", ANN)
    with pytest.raises(NoCompetition):
        stop(config, AS_OF, "none", ANN)


def test_nothing_competes_while_a_version_is_released(config: Config) -> None:
    Ledger(config.ledger).releases.begin(replace(RELEASE, model=config.name))
    with pytest.raises(ReleaseOpen, match="version 2 is being released, and a competition would rest"):
        begin(config, AS_OF, {"3": 5.0}, AS_OF + WEEK, "ideas", ANN)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--version", "7"], 2, "write it like 7=5"),
        (["--version", "7=many"], 2, "write it like 7=5"),
        (["--version", "7=5", "--version", "7=6"], 3, "7 is given twice"),
    ],
)
def test_the_command_says_how_a_version_is_given(
    config: Config, words: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, until = str(config.home.parent / "deployment.yaml"), (AS_OF + WEEK).isoformat()
    every = ["--config", path, "--as-of", AS_OF.isoformat(), "--until", until, "--actor", "ann", "--reason", "ideas"]

    try:
        ended = main(["releases", "compete", *every, *words])
    except SystemExit as left:
        ended = int(left.code or 0)
    assert ended == code
    assert why in capsys.readouterr().err


def test_without_any_competition_there_are_no_standings(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(config.home.parent / "deployment.yaml")
    assert main(["releases", "standings", "--config", path, "--as-of", AS_OF.isoformat()]) == 3
    assert "ever competed" in capsys.readouterr().err
