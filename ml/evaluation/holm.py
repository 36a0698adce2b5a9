"""Several tests at once: the chance that any true hypothesis is rejected is at most alpha, however many are tested.

Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.

Example: the smallest p-value counts three times, the next one twice, the largest once.
    >>> [round(p, 2) for p in adjusted([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    >>> holm([0.01, 0.04, None, 0.03], alpha=0.05)
    [True, False, False, False]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def holm(probabilities: Sequence[float | None], alpha: float) -> list[bool]:
    """Which hypotheses are rejected when all are tested together at level alpha; a probability of None is not tested."""
    tested = sorted((p, i) for i, p in enumerate(probabilities) if p is not None)
    rejected = [False] * len(probabilities)
    for rank, (probability, index) in enumerate(tested):
        if probability > alpha / (len(tested) - rank):
            break
        rejected[index] = True
    return rejected


def adjusted(probabilities: Sequence[float]) -> list[float]:
    """The level from which on each hypothesis is rejected when all are tested together, in the order of the p-values."""
    order = sorted(range(len(probabilities)), key=lambda i: probabilities[i])
    levels = accumulate((min(1.0, (len(order) - rank) * probabilities[i]) for rank, i in enumerate(order)), max)
    found = dict(zip(order, levels, strict=True))
    return [found[i] for i in range(len(order))]
