"""Whoever stops reading what a command prints stops nothing else of it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from ml.config import PROJECT, Config, load
from ml.ledger.ledger import Ledger
from tests import deployments

DAY = dt.date(2025, 3, 11)
AS_OF = "2025-03-12T02:00:00Z"


COMMAND = [sys.executable, "-m", "ml", "ingest", "--as-of", AS_OF, "--config"]


def _landed(folder: Path) -> tuple[Path, Config]:
    """A deployment with a file of payments, and one that is stopped."""
    folder.mkdir()
    path = deployments.small_file(folder)
    config = load(path)
    deployments.land(config, f"payments_{DAY}.parquet", deployments.payments(40, DAY))
    deployments.land_text(config, "payments_2025-03-10.csv", "payment_id\n1\n")
    return path, config


def _left(config: Config) -> tuple[list[str], set[str]]:
    requests = [request.trigger for request in Ledger(config.ledger).requests.all(config.name)]
    return requests, {path.name for path in config.home.rglob("*.db") if path.stat().st_size}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config, str]:
    """A deployment whose ingest ended, and what that printed."""
    path, config = _landed(tmp_path_factory.mktemp("pipe") / "whole")
    ran = subprocess.run([*COMMAND, str(path)], cwd=PROJECT, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    return path, config, ran.stdout


def test_an_ingest_whose_output_is_cut_off_does_all_that_it_does_otherwise(
    whole: tuple[Path, Config, str], tmp_path: Path
) -> None:
    path, cut = _landed(tmp_path / "cut")
    with subprocess.Popen([*COMMAND, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    assert _left(cut) == _left(whole[1])
    assert _left(cut)[0]


def test_what_libraries_print_is_not_on_stdout_and_commands_in_notes_name_the_deployment(
    whole: tuple[Path, Config, str],
) -> None:
    path, _, printed = whole
    assert "Materializing" not in printed
    assert f"`python -m ml ingest --config {path} --as-of" in printed
    assert f"`python -m ml discard --config {path} --file" in printed
