"""How far a day lies from the reference, column by column.

Numbers are compared by mean rank, which sees location and is not carried away by a heavy tail; the population stability
index over a week sees shape. Shares are compared as angles, whose sampling error does not depend on the share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.monitoring.lookup import Integers

Floats = NDArray[np.floating[Any]]

GROUPS = 20
"""Groups into which the bins are gathered for the stability index: 256 bins would mostly measure their own sampling noise."""


def mid_ranks(reference: ArrayLike) -> Floats:
    """Share of reference rows below each bin plus half of those in it, minus a half; shape (n_bins,).

    Their mean over live rows is the mean rank shift P(live > reference) + P(live = reference) / 2 - 1/2. A normal feature moved
    by d of its standard deviations is shifted by about .28 d.
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
    """Group of each bin, numbered from 0: neighbours that together hold a twentieth of the reference.

    Args:
        ordered: False for categories, of which rare ones are gathered.
    """
    order = np.arange(len(reference)) if ordered else np.argsort(-reference, kind="stable")
    shares = reference[order] / max(reference.sum(), 1)
    middle = np.cumsum(shares) - shares / 2
    told = np.empty(len(reference), dtype=np.int64)
    told[order] = np.unique((middle * GROUPS).astype(np.int64), return_inverse=True)[1]
    return told
