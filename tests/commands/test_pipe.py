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


def _landed(folder: Path) -> tuple[Path, Config]:
    folder.mkdir()
    path = deployments.small_file(folder)
    config = load(path)
    deployments.land(config, f"payments_{DAY}.parquet", deployments.payments(40, DAY))
    return path, config


def _left(config: Config) -> tuple[list[str], set[str]]:
    requests = [request.trigger for request in Ledger(config.ledger).requests.all(config.name)]
    return requests, {path.name for path in config.home.rglob("*.db") if path.stat().st_size}


@pytest.mark.parametrize("read", [0, 1])
def test_an_ingest_whose_output_is_cut_off_does_all_that_it_does_otherwise(tmp_path: Path, read: int) -> None:
    path, whole = _landed(tmp_path / "whole")
    command = [sys.executable, "-m", "ml", "ingest", "--as-of", AS_OF, "--config"]
    subprocess.run([*command, str(path)], cwd=PROJECT, check=True, capture_output=True)
    path, cut = _landed(tmp_path / "cut")
    with subprocess.Popen([*command, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(read):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert _left(cut) == _left(whole)
    assert _left(whole)[0]


def test_what_libraries_print_is_not_on_stdout_and_commands_in_notes_name_the_deployment(tmp_path: Path) -> None:
    path, config = _landed(tmp_path / "home")
    deployments.land_text(config, "payments_2025-03-10.csv", "payment_id\n1\n")
    command = [sys.executable, "-m", "ml", "ingest", "--as-of", AS_OF, "--config", str(path)]
    ran = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "Materializing" not in ran.stdout
    assert f"`python -m ml ingest --config {path} --as-of" in ran.stdout
    assert f"`python -m ml discard --config {path} --file" in ran.stdout
