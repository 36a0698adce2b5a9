"""Distance of a day from the reference, for one column.

Numbers are compared by mean rank (location, robust to heavy tails) and by the population stability index over a week (shape).
Shares are compared as angles, whose sampling error does not depend on the share (Freeman & Tukey 1950).

Example: all rows are in the upper of two bins; the reference had half of its rows in each.
    >>> mid_ranks([50, 50]).tolist()
    [-0.25, 0.25]
    >>> round(stability_index([0, 100], [50, 50]), 2), stability_index([50, 50], [50, 50])
    (2.63, 0.0)
    >>> round(angle(0.5), 4)
    0.7854
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.monitoring.bin_counter import Integers

Floats = NDArray[np.floating[Any]]

GROUPS = 20
"""Number of groups of bins for the stability index; with 256 bins it would mostly measure sampling noise."""


def mid_ranks(reference: ArrayLike) -> Floats:
    """Share of reference rows below each bin plus half of those in it, minus a half; shape (n_bins,).

    Their mean over live rows is the mean rank shift P(live > reference) + P(live = reference) / 2 - 1/2. A shift of a normal
    feature by d standard deviations shifts the mean rank by about .28 d.
    """
    counts = np.asarray(reference, dtype=np.float64)
    if not counts.sum():
        return np.zeros(len(counts))
    shares = counts / counts.sum()
    return np.cumsum(shares) - shares / 2 - 0.5


def stability_index(live: ArrayLike, reference: ArrayLike) -> float:
    """Population stability index Σ (p - q) ln(p / q) of two counts by group; half a row is added to each group."""
    p, q = (np.asarray(counts, dtype=np.float64) + 0.5 for counts in (live, reference))
    p, q = p / p.sum(), q / q.sum()
    return float((p - q) @ np.log(p / q))


def angle(share: float) -> float:
    """arcsin √share; the standard error of the angle of a share of n independent rows is 1 / (2 √n), whatever the share."""
    return float(np.arcsin(np.sqrt(share)))


def groups(reference: Integers, *, ordered: bool) -> Integers:
    """Group of each bin, numbered from 0: neighbours that together hold a twentieth of the reference rows.

    Args:
        reference: counts by bin, shape (n_bins,).
        ordered: False for categories: they are grouped by frequency.
    """
    order = np.arange(len(reference)) if ordered else np.argsort(-reference, kind="stable")
    shares = reference[order] / max(reference.sum(), 1)
    middle = np.cumsum(shares) - shares / 2
    group = np.empty(len(reference), dtype=np.int64)
    group[order] = np.unique((middle * GROUPS).astype(np.int64), return_inverse=True)[1]
    return group
