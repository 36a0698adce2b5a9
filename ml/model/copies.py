"""Copies of an exported model: the folder of a registered version, which brings rows and what it scored on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ml.model.formats import ParityError
from ml.model.model import Model

JUDGED = "judged"
"""Folder within a refit's copy: the model that the gate judged."""
SAMPLE, EXPECTED = "sample.parquet", "_expected"
COPY_TOLERANCE = 1e-5


def judged_folder(folder: Path) -> Path:
    """Folder of the model that the gate judged, of a copy of an exported model: within it for a refit, else the copy itself."""
    return folder / JUDGED if (folder / JUDGED).is_dir() else folder


def check_copy(folder: Path) -> None:
    """Load a copy of an exported model and score its sample with the model and with its graph.

    Raises:
        ParityError: a score differs from the one at export.
    """
    if judged_folder(folder) != folder:
        check_copy(judged_folder(folder))
    model = Model(folder)
    sample, expected = sample_of(folder)
    for runtime, scores in ((model.estimator.FILE, model.score(sample)), ("ONNX", model.score_onnx(sample))):
        difference = float(np.abs(scores - expected).max())
        if not difference <= COPY_TOLERANCE:
            raise ParityError(f"{folder}: {runtime} scores the sample up to {difference:g} away from what it scored at export")


def sample_of(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """The rows that an exported model brings, and what it scored on them at export."""
    sample = pd.read_parquet(folder / SAMPLE)
    return sample, sample[EXPECTED if EXPECTED in sample else "expected"]  # as older copies name it
