"""Slices and protected groups of a holdout, as the deployment file declares them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.config import Config, SliceBy
from ml.evaluation.fairness import groups_of
from ml.evaluation.slices import Slice


def slices_of(config: Config, rows: pd.DataFrame) -> list[Slice]:
    """Every slice of `gate.slices`, in its order: groups by name, bands by edge, with empty ones."""
    return [part for by in config.gate.slices.by for part in _cut(by, rows)]


def attributes_of(config: Config, rows: pd.DataFrame) -> dict[str, NDArray]:
    """Group of each row by protected attribute, arrays of text of shape (n_rows,)."""
    fairness = config.gate.fairness
    return {name: groups_of(rows[name].tolist()) for name in (fairness.attributes if fairness else [])}


def _cut(by: SliceBy, rows: pd.DataFrame) -> list[Slice]:
    if not by.edges:
        groups = groups_of(rows[by.column].tolist())
        return [Slice(by.title, str(group), groups == group) for group in np.unique(groups)]
    values = rows[by.column].to_numpy(np.float64)
    band = np.digitize(values, by.edges)
    names = [
        f"under {by.edges[0]:g}",
        *[f"{low:g} to {high:g}" for low, high in zip(by.edges, by.edges[1:], strict=False)],
        f"{by.edges[-1]:g} and more",
    ]
    missing = np.isnan(values)
    parts = [Slice(by.title, name, (band == number) & ~missing, by.required) for number, name in enumerate(names)]
    return [*parts, Slice(by.title, "(missing)", missing)] if missing.any() else parts
