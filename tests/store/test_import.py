"""The import of Feast, which every process pays for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ml.config import PROJECT

COUNT = """
import typeguard._decorators as decorators
real, parsed = decorators.instrument, []
decorators.instrument = lambda function: (parsed.append(function), real(function))[1]
import {module}
import feast
print(len(parsed))
"""


@pytest.mark.parametrize("module", ["ml.store.feast", "ml.store.asof", "deploy.preload"])
def test_feasts_sources_are_not_parsed_for_checks_of_each_call(module: str) -> None:
    command = [sys.executable, "-c", COUNT.format(module=module)]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == "0"
