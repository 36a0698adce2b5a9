"""Intervals of means over days: days in a row are alike, so a bootstrap draws weeks and not days.

Source: Politis and Romano 1992, A circular block-resampling procedure for stationary data.

Example: the mean of a hundred days that are alike by the week is known less well than that of as many independent ones.
    >>> rng = np.random.default_rng(0)
    >>> single, weekly = rng.normal(size=98), np.repeat(rng.normal(size=14), 7)
    >>> widths = [float(np.diff(interval(values))[0]) for values in (single, weekly)]
    >>> widths[1] > 1.5 * widths[0]
    True
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
BLOCK = 7
REPLICATES = 2000
BOUNDS = (0.025, 0.975)


def interval(
    values: ArrayLike, *, block: int = BLOCK, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % interval of the mean of daily values; None with fewer than two blocks of days.

    Args:
        values: in the order of the days, shape (n_days,).
        block: length of the blocks that are drawn, in days.
    """
    daily = np.asarray(values, dtype=np.float64)
    if len(daily) < 2 * block:
        return None
    low, high = np.quantile(daily[drawn(len(daily), block, replicates, np.random.default_rng(seed))].mean(axis=1), BOUNDS)
    return float(low), float(high)


def drawn(days: int, block: int, replicates: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of the days of each replicate, shape (replicates, days): blocks that begin anywhere and go on past the end."""
    blocks = -(-days // block)
    starts = rng.integers(0, days, (replicates, blocks))
    numbers: NDArray[np.int64] = (starts[:, :, None] + np.arange(block)) % days
    return numbers.reshape(replicates, -1)[:, :days]


def share_interval(numerators: Sequence[ArrayLike], denominators: Sequence[ArrayLike], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a ratio of sums over several streams: streams are drawn, and blocks of days within each.

    Args:
        numerators, denominators: by stream, daily values of shape (n_days,); both of a stream have the same days.
    """
    rng = np.random.default_rng(seed)
    totals = []
    for above, below in zip(numerators, denominators, strict=True):
        pair = np.stack([np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)])
        totals.append(pair[:, drawn(pair.shape[1], BLOCK, REPLICATES, rng)].mean(axis=2))
    found = np.stack(totals)
    streams = rng.integers(0, len(found), (REPLICATES, len(found)))
    above, below = found[streams, :, np.arange(REPLICATES)[:, None]].sum(axis=1).T
    low, high = np.quantile(above / below, BOUNDS)
    return float(low), float(high)
