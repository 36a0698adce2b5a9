"""What a process has imported from which tasks are forked."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import Any

import pytest

from ml.config import PROJECT

NO_STEPS = {PROJECT / "ml" / "commands", PROJECT / "ml" / "serving", PROJECT / "ml" / "model" / "formats.py"}
NOT_INSTALLED = {"pyspark"}
"""What a deployment brings along that names it."""
ASK = """
import gc, json, sys, threading
import deploy.preload
told = {"modules": list(sys.modules), "threads": threading.active_count()}
print(json.dumps({**told, "frozen": gc.get_freeze_count(), "collects": gc.isenabled()}))
"""


@pytest.fixture(scope="module")
def preloaded() -> dict[str, Any]:
    """A fresh process that has imported `deploy.preload`."""
    told = subprocess.run([sys.executable, "-c", ASK], cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    return json.loads(told.splitlines()[-1])


def imported_by_steps() -> set[str]:
    """Modules of others that the code of the steps imports, also inside of functions.

    The command line and the scoring service are no steps, and the formats that a person asks for belong to the command line.
    """
    found: set[str] = set()
    files = [file for folder in ("ml", "feature_repo") for file in (PROJECT / folder).rglob("*.py")]
    for file in files:
        if not NO_STEPS & {file, *file.parents}:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module)
    own = {"ml", "feature_repo", "__future__", *sys.stdlib_module_names, *NOT_INSTALLED}
    return {name for name in found if name.partition(".")[0] not in own}


def test_no_step_imports_a_library_that_is_not_there_already(preloaded: dict[str, Any]) -> None:
    imported = imported_by_steps()
    assert {"mlflow", "catboost", "sklearn.linear_model"} <= imported
    assert imported - set(preloaded["modules"]) == set()


def test_the_projects_own_code_is_left_to_the_task(preloaded: dict[str, Any]) -> None:
    own = {
        name
        for name in preloaded["modules"]
        if name.partition(".")[0] in ("ml", "feature_repo", "perennial_operators", "deploy")
    }
    assert own == {"ml", "deploy", "deploy.libraries", "deploy.preload"}


def test_it_can_be_forked_no_thread_runs(preloaded: dict[str, Any]) -> None:
    assert preloaded["threads"] == 1


def test_what_is_there_stays_in_shared_pages_and_what_comes_is_collected(preloaded: dict[str, Any]) -> None:
    assert preloaded["frozen"] > 100_000
    assert preloaded["collects"]
