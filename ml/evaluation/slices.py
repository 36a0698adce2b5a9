"""Slices: a challenger that is better on the whole is kept out on evidence that it harms a part.

To demand that no slice's figure falls would reject equal models, for some always falls by chance. So each slice is tested for
harm beyond a margin, and the tests are corrected together (Holm), so that a harmless challenger is vetoed with probability
alpha at most, however many slices there are.
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
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking


class SliceStatus(StrEnum):
    """What is known of a slice; one that is required and empty is a question that these rows cannot answer."""

    PASSED = "passed"
    VETOED = "vetoed"
    NOT_JUDGED = "not judged"
    EMPTY = "empty"


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of the rows: by what it was cut, which group it is, and a mask of shape (n_rows,).

    Where a part that is `required` holds no rows, nothing is promoted.
    """

    slice: str
    group: str
    mask: NDArray[np.bool_]
    required: bool = True


@dataclass(frozen=True)
class SliceCheck:
    """Average precision of both models in a slice, and the probability of such a loss if there were no harm."""

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
    told: str


def judge_slices(rows: CheckedRows, slices: Sequence[Slice], *, margin: float, fewest: int, alpha: float) -> list[SliceCheck]:
    """Test each slice for a loss of average precision beyond the margin.

    Args:
        margin: loss that is no harm yet, in average precision.
        fewest: clusters with a positive that a slice needs to be judged.
        alpha: probability of vetoing a challenger that harms no slice.
    """
    seen = [_look(rows, part, margin, fewest, alpha) for part in slices]
    vetoed = holm([check.p_harm for check in seen], alpha)
    return [_conclude(check, harmful, margin) for check, harmful in zip(seen, vetoed, strict=True)]


def holm(probabilities: Sequence[float | None], alpha: float) -> list[bool]:
    """Which hypotheses are rejected when all are tested together; None is not tested.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    tested = sorted((p, i) for i, p in enumerate(probabilities) if p is not None)
    rejected = [False] * len(probabilities)
    for rank, (probability, index) in enumerate(tested):
        if probability > alpha / (len(tested) - rank):
            break
        rejected[index] = True
    return rejected


def _look(rows: CheckedRows, part: Slice, margin: float, fewest: int, alpha: float) -> SliceCheck:
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
        told=f"{holding} clusters have a positive, {fewest} are needed",
    )
    if not len(labels):
        advice = "no rows: widen the holdout, or set `required: false` on this cut of gate.slices"
        return replace(empty, status=SliceStatus.EMPTY, told=advice) if part.required else replace(empty, told="no rows")
    if holding < fewest or labels.all():
        return empty
    old, new = (Ranking(labels, scores[part.mask], clusters) for scores in (rows.champion, rows.challenger))
    found = closed_form(old, new, clusters, alpha=alpha)[AVERAGE_PRECISION.name]
    beyond = found.gain + margin
    harm = (
        student_probability(beyond / found.standard_error, found.degrees_of_freedom)
        if found.standard_error > 0
        else float(beyond >= 0)
    )
    return replace(
        empty,
        champion=found.champion,
        challenger=found.challenger,
        gain=found.gain,
        interval=found.interval,
        p_harm=harm,
        status=SliceStatus.PASSED,
    )


def _conclude(check: SliceCheck, harmful: bool, margin: float) -> SliceCheck:
    if check.p_harm is None:
        return check
    change = f"average precision {check.champion:.4f} → {check.challenger:.4f}"
    if harmful:
        return replace(check, status=SliceStatus.VETOED, told=f"{change}: a loss beyond {margin:g} (p {check.p_harm:.2g})")
    return replace(check, told=f"{change}: no evidence of a loss beyond {margin:g} (p {check.p_harm:.2g})")
