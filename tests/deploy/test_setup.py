"""The script that makes .venv: it says what is missing, and does nothing when nothing is."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "local" / "setup.sh"
ABSURD = "900000"  # gigabytes that no disk has: the script must stop before it installs anything
LOCK = "uv==9.9.9 \\\n    --hash=sha256:00\nzipp==4.1.2 \\\n    --hash=sha256:11\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "deploy" / "local").mkdir(parents=True)
    (root / "deploy" / "local" / "setup.sh").write_text(SCRIPT.read_text())
    (root / "requirements.txt").write_text(LOCK)
    return root


@pytest.fixture
def installed(project: Path) -> Path:
    """A project whose .venv is complete, with a uv that only says what it is told."""
    venv = project / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    executable(venv / "bin" / "uv", 'case $1 in --version) echo "uv 9.9.9";; *) echo "installed all";; esac')
    digest = hashlib.sha256((project / "requirements.txt").read_bytes()).hexdigest()
    (venv / "perennial.stamp").write_text(f"{digest} {venv}\n")
    return project


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def setup(project: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", project / "deploy" / "local" / "setup.sh"],
        env={"PATH": os.environ["PATH"], "HOME": str(project), "PYTHON": sys.executable, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_python_is_refused_with_its_version_and_the_remedy(project: Path, tmp_path: Path) -> None:
    old = executable(tmp_path / "old pythons" / "python3", "echo 3.9.18")
    run = setup(project, PYTHON=str(old))
    assert run.returncode != 0
    assert f"Python 3.11 is needed; found {old}: 3.9.18" in run.stderr
    assert "make demo PYTHON=/path/to/python3.11" in run.stderr
    assert not (project / ".venv").exists()


def test_every_interpreter_that_was_looked_at_is_named(project: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    executable(tools / "python3.11", "echo no such version >&2; exit 127")
    executable(tools / "python3", "echo 3.13.0")
    run = setup(project, PYTHON="", PATH=f"{tools}:{os.environ['PATH']}")
    assert run.returncode != 0
    assert "python3.11: not found, or does not run, python3: 3.13.0" in run.stderr


def test_a_python_without_ensurepip_names_the_package_to_install(project: Path, tmp_path: Path) -> None:
    bare = executable(
        tmp_path / "python3.11",
        "case $2 in *version_info*) echo 3.11.9; exit;; esac; echo \"No module named 'ensurepip'\" >&2; exit 1",
    )
    run = setup(project, PYTHON=str(bare))
    assert run.returncode != 0
    assert "No module named 'ensurepip'" in run.stderr
    assert "apt install python3.11-venv" in run.stderr


def test_too_little_space_is_said_before_anything_is_made(project: Path) -> None:
    run = setup(project, PERENNIAL_MIN_FREE_GB=ABSURD)
    assert run.returncode != 0
    assert f"{project} has " in run.stderr
    assert f"the packages need {ABSURD} GB" in run.stderr
    assert not (project / ".venv").exists()


def test_a_disk_that_fills_up_on_the_way_is_named_as_the_cause(installed: Path) -> None:
    executable(
        installed / ".venv" / "bin" / "uv",
        'case $1 in --version) echo "uv 9.9.9";; *) echo "cause: No space left on device (os error 28)" >&2; exit 2;; esac',
    )
    (installed / ".venv" / "perennial.stamp").unlink()
    run = setup(installed)
    assert run.returncode != 0
    assert "the disk filled up" in run.stderr
    assert "UV_CACHE_DIR" in run.stderr
    assert not (installed / ".venv" / "perennial.stamp").exists()


def test_a_failed_installation_is_not_taken_for_a_finished_one(installed: Path) -> None:
    uv = installed / ".venv" / "bin" / "uv"
    good = uv.read_text()
    executable(uv, 'case $1 in --version) echo "uv 9.9.9";; *) echo "connection refused" >&2; exit 2;; esac')
    (installed / "requirements.txt").write_text(LOCK + "six==1.17.0 \\\n    --hash=sha256:22\n")
    failed = setup(installed)
    assert failed.returncode != 0
    assert "connection refused" in failed.stdout
    assert "could not be installed" in failed.stderr
    uv.write_text(good)
    again = setup(installed)
    assert again.returncode == 0
    assert "installed all" in again.stdout


def test_nothing_happens_when_everything_is_installed(installed: Path) -> None:
    run = setup(installed, PERENNIAL_MIN_FREE_GB=ABSURD)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_changed_lock_is_installed_and_stamped(installed: Path) -> None:
    (installed / "requirements.txt").write_text(LOCK + "six==1.17.0 \\\n    --hash=sha256:22\n")
    run = setup(installed)
    assert run.returncode == 0, run.stderr
    assert "installing 3 packages" in run.stdout
    assert "installed all" in run.stdout
    assert setup(installed).stdout == ""


def test_an_environment_that_was_moved_is_made_again(installed: Path) -> None:
    moved = installed.rename(installed.with_name("elsewhere"))
    run = setup(moved, PERENNIAL_MIN_FREE_GB=ABSURD)
    assert run.returncode != 0
    assert "GB" in run.stderr


def test_a_folder_that_is_no_environment_is_left_alone(project: Path) -> None:
    (project / ".venv").mkdir()
    (project / ".venv" / "letters").write_text("dear")
    run = setup(project)
    assert run.returncode != 0
    assert "is not a virtual environment" in run.stderr
    assert (project / ".venv" / "letters").read_text() == "dear"


def test_libraries_are_compiled_where_python_may_not_write_bytecode_later() -> None:
    package = importlib.util.find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    files = sorted(Path(package.origin).parent.rglob("*.py"))
    assert len(files) > 500
    assert [file for file in files if not Path(importlib.util.cache_from_source(str(file))).is_file()] == []
