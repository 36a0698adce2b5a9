"""What it costs to miss a positive row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.config.gate import Costs


def missed(costs: Costs, rows: pd.DataFrame) -> np.ndarray:
    """Money by row, shape (n_rows,); a missing amount counts as none."""
    amounts: np.ndarray = rows[costs.amount].abs().fillna(0.0).to_numpy(np.float64)
    return amounts + costs.missed.value
