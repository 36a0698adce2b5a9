"""Suites for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def entry(expectation: str, **kwargs: Any) -> dict[str, Any]:
    """A critical entry of a suite."""
    return {"type": expectation, "kwargs": kwargs, "severity": "critical", "reason": "a test of suites"}


def suite_file(folder: Path, told: Any) -> Path:
    """Write a suite into a folder; its absolute path is what a deployment may name."""
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(told))
    return path
