"""Defects that leak the future are planted into a copy of the code, one at a time, and the suite finds each of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.config import PROJECT

COPIED = ("ml", "feature_repo", "expectations", "config", "deploy", "tests", "pyproject.toml", "requirements.txt")


@dataclass(frozen=True)
class Defect:
    """Code that is replaced by worse code, and the tests that must not let it pass."""

    file: str
    right: str
    wrong: str
    tests: str


DEFECTS = {
    "a window includes the label's own day": Defect(
        "ml/features/windows.py", "+ {1 + window.delay}", "+ {window.delay}", "tests/features/test_windows.py"
    ),
    "a window counts what was not known when it was published": Defect(
        "ml/features/windows.py",
        "JOIN snapshot ON created >= known_at",
        "JOIN snapshot ON true",
        "tests/features/test_windows.py",
    ),
    "features are joined on event time only": Defect(
        "ml/store/feast.py", "filter_by_created_timestamp=True", "filter_by_created_timestamp=False", "tests/test_leakage.py"
    ),
    "the split has no gap": Defect(
        "ml/training/split.py",
        "fitted_until = holdout_start - config.label_delay",
        "fitted_until = holdout_start",
        "tests/training/test_split.py",
    ),
    "fitted labels are taken as they are known today": Defect(
        "ml/training/dataset.py",
        "THEN {instant(windows.holdout_start)} ELSE",
        "THEN {instant(as_of)} ELSE",
        "tests/test_leakage.py",
    ),
    "the lake shows what became known later": Defect(
        "ml/lake/tables.py", "WHERE known_at <= {instant(as_of)}", "WHERE true", "tests/test_leakage.py"
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's code in a folder of its own."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def _suite(folder: Path, tests: str) -> tuple[int, str]:
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile", "first_failure"]
    command = [sys.executable, "-m", "pytest", *options, tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout[-3000:]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(name: str, copy: Path) -> None:
    defect = DEFECTS[name]
    file = copy / defect.file
    source = file.read_text()
    assert source.count(defect.right) == 1, f"{defect.file} no longer says {defect.right!r} once: plant this defect anew"
    file.write_text(source.replace(defect.right, defect.wrong))
    try:
        code, told = _suite(copy, defect.tests)
    finally:
        file.write_text(source)
    assert code == 1, told
    assert "1 failed" in told, f"nothing was found out, the copy is broken:\n{told}"
