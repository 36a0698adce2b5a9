"""A small model and the rows that it was fitted on."""

from __future__ import annotations

import pandas as pd
import pytest

from ml.config import Config
from ml.model.model import Model
from tests import models
from tests.deployments import small


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """Labelled payments."""
    return models.payments()


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The small deployment."""
    return small(tmp_path_factory.mktemp("explained"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, config: Config, rows: pd.DataFrame) -> Model:
    """A model of three inputs."""
    return models.fitted(tmp_path_factory.mktemp("model"), config, rows, models.INPUTS)
