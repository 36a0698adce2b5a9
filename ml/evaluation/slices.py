"""Slices: a challenger that is better overall is vetoed on evidence that it is worse in a part of the rows.

A rule that no slice may fall would reject equal models, because some slice always falls by chance. So each slice is tested for
a loss beyond a margin, and the tests are corrected together (`ml.evaluation.holm`): a challenger that harms no slice is vetoed
with probability alpha at most, for any number of slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.bootstrap import closed_form, student_probability
from ml.evaluation.clusters import Clusters
from ml.evaluation.holdout import CheckedRows
from ml.evaluation.holm import holm
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking


class SliceStatus(StrEnum):
    """Result of a slice; EMPTY is a required slice without rows."""

    PASSED = "passed"
    VETOED = "vetoed"
    NOT_JUDGED = "not judged"
    EMPTY = "empty"


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of the rows: the column or rule it is cut by, its group, and a mask of shape (n_rows,).

    If a `required` slice has no rows, no challenger is promoted.
    """

    slice: str
    group: str
    mask: NDArray[np.bool_]
    required: bool = True


@dataclass(frozen=True)
class SliceCheck:
    """Average precision of both models in a slice, the p-value of the loss, and the result for people."""

    slice: str
    group: str
    rows: int
    positives: int
    positive_clusters: int
    champion: float | None
    challenger: float | None
    gain: float | None
    interval: tuple[float, float] | None
    p_harm: float | None
    status: SliceStatus
    sentence: str


def judge_slices(rows: CheckedRows, slices: Sequence[Slice], *, margin: float, fewest: int, alpha: float) -> list[SliceCheck]:
    """Test each slice for a loss of average precision beyond the margin.

    Args:
        margin: tolerated loss, in average precision.
        fewest: clusters with a positive that a slice needs to be judged.
        alpha: probability of vetoing a challenger that harms no slice.
    """
    checks = [_test(rows, part, margin, fewest, alpha) for part in slices]
    vetoed = holm([check.p_harm for check in checks], alpha)
    return [_conclude(check, is_vetoed, margin) for check, is_vetoed in zip(checks, vetoed, strict=True)]


def _test(rows: CheckedRows, part: Slice, margin: float, fewest: int, alpha: float) -> SliceCheck:
    labels = rows.labels[part.mask]
    clusters = Clusters.of(rows.clusters.entity[part.mask], rows.days[part.mask], labels)
    holding = len(np.unique(clusters.entity[labels == 1]))
    empty = SliceCheck(
        part.slice,
        part.group,
        rows=len(labels),
        positives=int(labels.sum()),
        positive_clusters=holding,
        champion=None,
        challenger=None,
        gain=None,
        interval=None,
        p_harm=None,
        status=SliceStatus.NOT_JUDGED,
        sentence=f"{holding} clusters have a positive, {fewest} are needed",
    )
    if not len(labels):
        advice = "no rows: widen the holdout, or set `required: false` on this cut of gate.slices"
        return (
            replace(empty, status=SliceStatus.EMPTY, sentence=advice) if part.required else replace(empty, sentence="no rows")
        )
    if holding < fewest or labels.all():
        return empty
    old, new = (Ranking(labels, scores[part.mask], clusters) for scores in (rows.champion, rows.challenger))
    difference = closed_form(old, new, clusters, alpha=alpha)[AVERAGE_PRECISION.name]
    beyond = difference.gain + margin
    harm = (
        student_probability(beyond / difference.standard_error, difference.degrees_of_freedom)
        if difference.standard_error > 0
        else float(beyond >= 0)
    )
    return replace(
        empty,
        champion=difference.champion,
        challenger=difference.challenger,
        gain=difference.gain,
        interval=difference.interval,
        p_harm=harm,
        status=SliceStatus.PASSED,
    )


def _conclude(check: SliceCheck, is_vetoed: bool, margin: float) -> SliceCheck:
    if check.p_harm is None:
        return check
    change = f"average precision {check.champion:.4f} → {check.challenger:.4f}"
    if is_vetoed:
        return replace(check, status=SliceStatus.VETOED, sentence=f"{change}: a loss beyond {margin:g} (p {check.p_harm:.2g})")
    return replace(check, sentence=f"{change}: no evidence of a loss beyond {margin:g} (p {check.p_harm:.2g})")
