"""The cost of a missed positive."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.config.gate import Costs


def missed_costs(costs: Costs, rows: pd.DataFrame) -> np.ndarray:
    """Cost of each row if it is a missed positive, in money, shape (n_rows,); a missing amount counts as 0."""
    amounts: np.ndarray = rows[costs.amount].abs().fillna(0.0).to_numpy(np.float64)
    return amounts + costs.missed.value
