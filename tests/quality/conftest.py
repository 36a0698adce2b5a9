from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import Config
from tests.deployments import small


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small deployment of its own, into which nothing has landed yet."""
    return small(tmp_path)
