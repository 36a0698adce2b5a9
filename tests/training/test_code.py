"""What a version is made by is found by following imports; nothing else is part of its address."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from ml.config import PROJECT
from ml.training import code

FOUND = {path.relative_to(PROJECT).as_posix() for path in code.sources(PROJECT)}


@pytest.mark.parametrize(
    "file",
    [
        *(
            "ml/__init__.py",
            "ml/training/__init__.py",
            "ml/training/split.py",
            "ml/training/weights.py",
            "ml/training/refit.py",
        ),
        *("ml/features/windows.py", "ml/store/feast.py", "ml/lake/labels.py", "ml/model/graph.py", "ml/config/training.py"),
        *("feature_repo/views.py", "feature_repo/feature_store.yaml"),
    ],
)
def test_what_makes_a_version_is_found(file: str) -> None:
    assert file in FOUND


@pytest.mark.parametrize("room", ["explanation", "monitoring", "decision", "commands", "simulate", "lineage", "quality"])
def test_what_only_watches_or_tells_is_not(room: str) -> None:
    assert not [file for file in FOUND if file.startswith(f"ml/{room}/")]


def test_no_module_is_imported_relatively_for_that_would_not_be_followed() -> None:
    relative = [
        file
        for file in FOUND
        if file.endswith(".py")
        for node in ast.walk(ast.parse((PROJECT / file).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_an_import_within_a_function_is_followed(tmp_path: Path) -> None:
    for folder in ("ml", "feature_repo"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ml" / "training" / "late.py").write_text("")
    with (tmp_path / "ml" / "training" / "split.py").open("a") as file:
        file.write("\n\ndef later():\n    from ml.training import late\n")
    assert set(code.sources(tmp_path)) - {tmp_path / file for file in FOUND} == {tmp_path / "ml" / "training" / "late.py"}


@pytest.mark.parametrize("change", ["none", "a tracked file", "a staged file", "an untracked file"])
def test_the_commit_is_what_git_says_although_no_git_is_found(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert code.commit(tmp_path) == code.NO_REPOSITORY
    git("init")
    assert code.commit(tmp_path) == code.NO_REPOSITORY
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("one")
    git("add", ".")
    git("commit", "-m", "first")
    if change != "none":
        (tmp_path / "inner" / ("new" if change == "an untracked file" else "file")).write_text("other")
    if change == "a staged file":
        git("add", ".")
    expected = git("describe", "--always", "--abbrev=40", f"--dirty={code.CHANGED}")
    assert expected.endswith(code.CHANGED) == (change in ("a tracked file", "a staged file"))
    monkeypatch.setenv("PATH", "")
    assert code.commit(tmp_path / "inner") == expected
