"""A home that an older commit made goes on: its ledger is upgraded, its champion judges the next challenger, and is reproduced.

The commit is the last one before the ledger had migrations and artifacts a store. It is checked out beside, and makes a lake, a
ledger and a champion by its own code.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.__main__ import main
from ml.config import PROJECT, Config, load
from ml.ledger.ledger import Ledger
from ml.simulate.feed import write_until
from tests.conftest import command
from tests.deployments import FIRST_AS_OF

pytestmark = pytest.mark.proof

COMMIT = "34661d9"
MADE = """
import datetime as dt, sys
from pathlib import Path
from ml.__main__ import main
from ml.config import load
from ml.simulate.feed import write_until
from tests import deployments

told = deployments.small_told()
told["feed"]["customers"], told["training"]["model"]["iterations"] = 800, 30
path = deployments.write(Path(sys.argv[1]), told)
as_of = deployments.FIRST_AS_OF
write_until(load(path), (as_of - dt.timedelta(days=1)).date())
for words in (["ingest"], ["train"]):
    assert main([*words, "--config", str(path), "--as-of", as_of.isoformat()]) == 0, words
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The older commit, checked out."""
    folder = tmp_path_factory.mktemp("older") / "checkout"
    subprocess.run(["git", "worktree", "add", "--detach", str(folder), COMMIT], cwd=PROJECT, check=True)
    yield folder
    subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=PROJECT, check=True)


@pytest.fixture(scope="module")
def deployment(checkout: Path) -> Path:
    """The file of a deployment of which the older code made version 1 champion."""
    environ = os.environ | {"PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-c", MADE, str(checkout.parent)], cwd=checkout, env=environ, check=True)
    return checkout.parent / "deployment.yaml"


@pytest.fixture(scope="module")
def config(deployment: Path) -> Config:
    """The deployment."""
    return load(deployment)


def test_its_ledger_is_upgraded_and_its_champion_is_in_place(config: Config) -> None:
    ledger = Ledger(config.ledger)
    (decision,) = ledger.decisions.all(config.name)
    assert (decision.outcome, ledger.moves.champion(config.name)) == ("PROMOTE", "1")


def test_its_champion_is_reproduced_by_the_commit_that_the_version_names(
    deployment: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "--version", "1", "--config", str(deployment)]
    assert main(words) != 0
    named = subprocess.run(["git", "rev-parse", COMMIT], cwd=PROJECT, check=True, capture_output=True, text=True).stdout.strip()
    told = capsys.readouterr()
    assert named in told.out + told.err
    environ = os.environ | {"PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-m", "ml", *words], cwd=checkout, env=environ, check=True)


def test_the_next_challenger_is_judged_against_its_champion(deployment: Path, config: Config) -> None:
    as_of = FIRST_AS_OF + dt.timedelta(days=1)
    write_until(config, FIRST_AS_OF.date())
    command(deployment, as_of, "ingest")
    command(deployment, as_of, "monitor")
    command(deployment, as_of, "train")
    decision = Ledger(config.ledger).decisions.all(config.name)[-1]
    assert (decision.champion_version, decision.challenger_version) == ("1", "2")
    command(deployment, as_of, "maintain")
