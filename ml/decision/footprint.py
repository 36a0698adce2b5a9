"""What serving a model takes: the time of scoring one row, and the size of its graph."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from ml.evaluation.gate import Footprint
from ml.model.inputs import onnx_feeds
from ml.model.model import ONNX, Model

CALLS, WARM_UP = 300, 30


def footprint(folder: Path, rows: pd.DataFrame) -> Footprint:
    """Score single rows by the exported graph, one after another in one thread, after a warm-up."""
    model = Model(folder)
    session = model.session()
    sample = rows.head(CALLS + WARM_UP)
    feeds = onnx_feeds(model.inputs, sample)
    times = np.empty(len(sample))
    for row in range(len(sample)):
        one = {name: values[row : row + 1] for name, values in feeds.items()}
        begun = time.perf_counter()
        session.run(None, one)
        times[row] = time.perf_counter() - begun
    measured = times[WARM_UP:] if len(times) > WARM_UP else times
    return Footprint(measured * 1000, (folder / ONNX).stat().st_size / 1e6)
