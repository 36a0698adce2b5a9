"""Whose row it is. A row whose entity is missing belongs with no other one: it is an entity of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.config import Config


def entity_codes(config: Config, entity: str, rows: pd.DataFrame) -> NDArray[np.int64]:
    """The number of each row's entity, shape (n_rows,), in the order of the keys and behind them those that are missing."""
    codes, keys = pd.factorize(rows[config.entities[entity]], sort=True)
    missing = codes < 0
    codes[missing] = len(keys) + np.arange(missing.sum())
    return codes.astype(np.int64)


def cluster_codes(config: Config, rows: pd.DataFrame) -> NDArray[np.int64]:
    """The number of each row's cluster, by which the gate judges; see `entity_codes`."""
    return entity_codes(config, config.gate.cluster, rows)
