"""Selection rate, false-positive rate and recall of each group of a protected attribute.

Rates have cluster-robust intervals: Wilson's, on the number of independent rows that would have the same standard error. As a
guardrail, each group is compared with all other rows: evidence that its recall is lower, or its false-positive rate higher, by
more than a gap fails the challenger. All groups and both rates are corrected together (Holm).

Source: Hardt, Price, Srebro 2016, Equality of Opportunity; Korn & Graubard 1998 on intervals of shares in clustered samples.

Example: of two groups with the same labels, only the first is ever alerted.
    >>> groups, labels = np.repeat(["a", "b"], 40), np.tile([1, 0], 40)
    >>> alerts, cluster = (groups == "a") & (labels == 1), np.arange(80)
    >>> [(rates.group, rates.recall.value) for rates in group_rates("model", "country", groups, labels, alerts, cluster)]
    [('a', 1.0), ('b', 0.0)]
    >>> check = judge_fairness({"country": groups}, labels, alerts, cluster, gap=0.1, fewest=20, alpha=0.05)
    >>> check.status.value, check.sentence
    ('failed', "country b: recall 0.000, everybody else's 1.000")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.bootstrap import student_probability
from ml.evaluation.guardrails import GuardrailCheck, Status
from ml.evaluation.holm import holm
from ml.evaluation.metrics import Floats, Integers, wilson

FAIRNESS = "fairness"


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval; all None where there is nothing to take a share of."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GroupRates:
    """Alert rates of one model for one group."""

    model: str
    attribute: str
    group: str
    rows: int
    positives: int
    selection_rate: Rate
    false_positive_rate: Rate
    recall: Rate


def group_rates(
    model: str, attribute: str, groups: NDArray, labels: Integers, alerts: NDArray[np.bool_], cluster: Integers
) -> list[GroupRates]:
    """Rates of each group that occurs, in the order of their names.

    Args:
        groups: array of shape (n_rows,), text; the other arrays likewise.
    """
    rates = []
    for group in np.unique(groups):
        here = groups == group
        rates.append(
            GroupRates(
                model=model,
                attribute=attribute,
                group=str(group),
                rows=int(here.sum()),
                positives=int(labels[here].sum()),
                selection_rate=_rate(alerts, here, cluster),
                false_positive_rate=_rate(alerts, here & (labels == 0), cluster),
                recall=_rate(alerts, here & (labels == 1), cluster),
            )
        )
    return rates


def judge_fairness(
    attributes: Mapping[str, NDArray],
    labels: Integers,
    alerts: NDArray[np.bool_],
    cluster: Integers,
    *,
    gap: float,
    fewest: int,
    alpha: float,
) -> GuardrailCheck:
    """Test whether a group is worse off than all other rows by more than `gap`.

    Args:
        attributes: groups of each row by attribute, arrays of shape (n_rows,).
        gap: tolerated difference of recall or false-positive rate, a share.
        fewest: clusters that a group needs to be tested, with a positive for recall, with a negative for false alerts.
        alpha: probability of failing a model that harms no group.
    """
    tests: list[tuple[float, str]] = []
    for attribute, groups in attributes.items():
        for group in np.unique(groups):
            here = groups == group
            for rate, label, worse in (("recall", 1, -1.0), ("false-positive rate", 0, 1.0)):
                of_label = labels == label
                sides = (here & of_label, ~here & of_label)
                if min(len(np.unique(cluster[side])) for side in sides) < fewest:
                    continue
                (one, one_error, one_n), (rest, rest_error, rest_n) = (_share(alerts, side, cluster) for side in sides)
                error = float(np.hypot(one_error, rest_error))
                beyond = worse * (one - rest) - gap
                probability = (
                    1 - student_probability(beyond / error, min(one_n, rest_n) - 1) if error > 0 else float(beyond <= 0)
                )
                tests.append((probability, f"{attribute} {group}: {rate} {one:.3f}, everybody else's {rest:.3f}"))
    rejected = holm([probability for probability, _ in tests], alpha)
    unfair = [sentence for (_, sentence), is_rejected in zip(tests, rejected, strict=True) if is_rejected]
    status = Status.FAILED if unfair else Status.PASSED
    sentence = "; ".join(unfair) or f"no evidence in {len(tests)} comparisons that a group is worse off by more than {gap:g}"
    return GuardrailCheck(FAIRNESS, "share", status, gap, None, None, None, None, None, sentence)


def groups_of(values: Sequence[object]) -> NDArray:
    """Groups as text; a missing value becomes the group `(missing)`."""
    return np.array(["(missing)" if value is None or value != value else str(value) for value in values], dtype=object).astype(
        str
    )


def _share(alerts: NDArray[np.bool_], among: NDArray[np.bool_], cluster: Integers) -> tuple[float, float, int]:
    """Share of alerts, its cluster-robust standard error, and the number of clusters."""
    names, codes = np.unique(cluster[among], return_inverse=True)
    hits, rows = np.bincount(codes, weights=alerts[among]), np.bincount(codes)
    share = hits.sum() / rows.sum()
    error: Floats = hits - share * rows
    return float(share), float(np.sqrt((error**2).sum()) / rows.sum()), len(names)


def _rate(alerts: NDArray[np.bool_], among: NDArray[np.bool_], cluster: Integers) -> Rate:
    if not among.any():
        return Rate(None, None, None)
    share, error, clusters = _share(alerts, among, cluster)
    independent = share * (1 - share) / error**2 if error > 0 else float(clusters)
    low, high = wilson(share, min(independent, float(among.sum())))
    return Rate(share, float(low), float(high))
