"""Integer codes of entities. A row with a missing key is an entity of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.config import Config


def entity_codes(config: Config, entity: str, rows: pd.DataFrame) -> NDArray[np.int64]:
    """Code of each row's entity, shape (n_rows,): keys in ascending order, then one code per row with a missing key."""
    codes, keys = pd.factorize(rows[config.entities[entity]], sort=True)
    missing = codes < 0
    codes[missing] = len(keys) + np.arange(missing.sum())
    return codes.astype(np.int64)


def cluster_codes(config: Config, rows: pd.DataFrame) -> NDArray[np.int64]:
    """Code of each row's cluster of the gate; see `entity_codes`."""
    return entity_codes(config, config.gate.cluster, rows)
