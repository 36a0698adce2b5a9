"""One champion for all tests of monitoring; each test that changes something works on a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import Config
from tests.monitoring import living

NIGHTS = 14


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment on the night of its training."""
    return living.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def lived(trained: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The same two weeks later; nothing was monitored yet."""
    config = living.copy(trained, tmp_path_factory.mktemp("lived"))
    living.let_pass(config, 1, NIGHTS)
    return config


@pytest.fixture
def config(lived: Config, tmp_path: Path) -> Config:
    """A copy of it."""
    return living.copy(lived, tmp_path)
