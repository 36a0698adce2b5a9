"""Metrics of a scored binary label: ranking (average precision, ROC AUC), alerts per day, calibration, points of three curves.

Rows with equal scores are one tie group: a threshold takes all of them or none. Tree ensembles tie often, and a metric
that depends on the order of the rows within a tie could be gamed by sorting the file.

Example: with equal scores the order of the rows has no effect.
    >>> average_precision([1, 0, 0, 1], [0.9, 0.5, 0.4, 0.4])
    0.75
    >>> average_precision([1, 0, 1, 0], [0.9, 0.5, 0.4, 0.4])
    0.75
    >>> roc_auc([1, 0, 0, 1], [0.9, 0.5, 0.4, 0.4])
    0.625
    >>> daily_card_precision(["mon", "mon", "tue"], ["a", "b", "a"], [1, 0, 1], [0.9, 0.8, 0.7], k=1).tolist()  # a is blocked
    [1.0, 0.0]
    >>> [round(float(end), 3) for end in wilson(0.5, 100)]
    [0.404, 0.596]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.errors import BadInput

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Precision averaged over the positives, each taken at the end of its tie group.

    The same number as `sklearn.metrics.average_precision_score`.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        scores: array of shape (n_rows,), higher means more likely positive.
        weights: array of shape (n_rows,), not negative; one per row if left out.

    Raises:
        ValueError: lengths differ, a value is not finite, a label is not 0 or 1, or one class is missing.
    """
    positives, negatives = _weight_per_tie_group(*checked(labels, scores), _checked_weights(labels, weights))
    true_positives = np.cumsum(positives)
    taken = true_positives + np.cumsum(negatives)
    hit = positives > 0
    return float(np.sum(positives[hit] * true_positives[hit] / taken[hit]) / true_positives[-1])


def roc_auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Probability that a positive outranks a negative, ties counting one half.

    The same number as `sklearn.metrics.roc_auc_score`; arguments and errors as for `average_precision`.
    """
    positives, negatives = _weight_per_tie_group(*checked(labels, scores), _checked_weights(labels, weights))
    false_positives = np.cumsum(negatives)
    outranked_by = false_positives - negatives / 2
    return float(1 - np.sum(positives * outranked_by) / (np.sum(positives) * false_positives[-1]))


def card_precision(days: ArrayLike, cards: ArrayLike, labels: ArrayLike, scores: ArrayLike, k: int = 100) -> float:
    """Card precision@k: mean of `daily_card_precision` over the days."""
    return float(daily_card_precision(days, cards, labels, scores, k).mean())


def daily_card_precision(days: ArrayLike, cards: ArrayLike, labels: ArrayLike, scores: ArrayLike, k: int = 100) -> Floats:
    """Of the k cards alerted each day, the share with a fraud that day; shape (n_days,), in the order of the days.

    The score of a card on a day is its highest. A detected card (alerted on a day on which it had a fraud) is blocked and left
    out on later days. A day with fewer than k cards is still divided by k, because the analysts had time for k alerts. Cards
    with equal scores are ordered by key, independent of the order of the rows.

    Args:
        days: array of shape (n_rows,), the day of each row, of any sortable type.
        cards: array of shape (n_rows,), the card of each row, of any sortable type.
        labels: array of shape (n_rows,), 0 or 1.
        scores: array of shape (n_rows,), higher means more likely positive.
        k: alerts that analysts can check in a day.

    Raises:
        ValueError: as for `average_precision`, or k is below 1.

    Source: Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud Detection,
    section "Card Precision top-k".
    """
    y, s = checked(labels, scores)
    if k < 1:
        raise BadInput(f"k is {k}, expected at least 1 alert per day")
    _, day = _codes("days", days, len(y))
    keys, card = _codes("cards", cards, len(y))

    order = np.lexsort((card, day))
    first = np.flatnonzero(np.r_[True, (np.diff(day[order]) != 0) | (np.diff(card[order]) != 0)])
    card_day, card_key = day[order][first], card[order][first]
    card_score = np.maximum.reduceat(s[order], first)
    card_label = np.maximum.reduceat(y[order], first)

    blocked = np.zeros(len(keys), dtype=bool)
    shares = []
    for one_day in np.split(np.arange(len(first)), np.flatnonzero(np.diff(card_day)) + 1):
        open_cards = one_day[~blocked[card_key[one_day]]]
        alerted = open_cards[np.lexsort((card_key[open_cards], -card_score[open_cards]))[:k]]
        hits = alerted[card_label[alerted] == 1]
        blocked[card_key[hits]] = True
        shares.append(len(hits) / k)
    return np.array(shares)


def decision_costs(labels: ArrayLike, alerts: ArrayLike, missed: ArrayLike, looked_at: float, false_alert: float) -> Floats:
    """Cost of each decision in money, shape (n_rows,).

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        alerts: array of shape (n_rows,), whether the row was alerted.
        missed: array of shape (n_rows,), cost of not alerting the row if it is positive.
        looked_at: cost of every alert, right or wrong.
        false_alert: additional cost of an alert on a negative.

    Raises:
        ValueError: a cost is negative or not finite.

    Source: Elkan 2001, The Foundations of Cost-Sensitive Learning; example-dependent as in Bahnsen et al. 2013.
    """
    y, alerted, miss = np.asarray(labels) == 1, np.asarray(alerts, dtype=bool), np.asarray(missed, dtype=np.float64)
    _refuse_rows(~(np.isfinite(miss) & (miss >= 0)), miss, "costs of a miss must be finite and not negative")
    if not (0 <= looked_at < np.inf and 0 <= false_alert < np.inf):
        raise BadInput(f"an alert costs {looked_at} and a false one {false_alert} more; expected amounts of money from 0 on")
    return np.where(alerted, looked_at + np.where(y, 0.0, false_alert), np.where(y, miss, 0.0))


@dataclass(frozen=True, eq=False)
class Curves:
    """Points of the precision-recall, ROC and reliability curves of one model.

    Attributes:
        recall, precision: arrays of shape (n_tie_groups,), by falling threshold. Average precision is the area of the
            steps in which `precision[i]` holds from `recall[i - 1]` to `recall[i]`.
        false_positive_rate, true_positive_rate: arrays of shape (n_tie_groups + 1,), from (0, 0) to (1, 1).
        bin_score: array of shape (n_bins,), mean score in each bin, rising.
        bin_rate: array of shape (n_bins,), share of positives in each bin.
        bin_rows, bin_positives: arrays of shape (n_bins,), counts of which `bin_rate` is the ratio.
    """

    recall: Floats
    precision: Floats
    false_positive_rate: Floats
    true_positive_rate: Floats
    bin_score: Floats
    bin_rate: Floats
    bin_rows: Integers
    bin_positives: Integers


def curves(labels: ArrayLike, scores: ArrayLike, bins: int = 10) -> Curves:
    """Compute the points of three curves.

    Reliability bins hold about equal sums of scores, that is, equal numbers of *expected* positives: with a positive rate
    under 1 %, bins of equal width or of equal numbers of rows leave all positives in the last one.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        scores: array of shape (n_rows,), probabilities.
        bins: largest number of reliability bins; fewer where tie groups are large.

    Raises:
        ValueError: as for `average_precision`, or a score lies outside [0, 1].
    """
    y, s = checked(labels, scores)
    if s.min() < 0 or s.max() > 1:
        raise BadInput(f"scores run from {s.min():g} to {s.max():g}; a reliability curve needs probabilities in [0, 1]")
    positives, negatives = _weight_per_tie_group(y, s, np.ones(len(y)))
    true_positives, false_positives = np.cumsum(positives), np.cumsum(negatives)
    bin_of = reliability_bins(s, bins)
    bin_rows = np.bincount(bin_of)
    bin_positives = np.bincount(bin_of, weights=y).astype(np.int64)
    return Curves(
        recall=true_positives / true_positives[-1],
        precision=true_positives / (true_positives + false_positives),
        false_positive_rate=np.r_[0.0, false_positives / false_positives[-1]],
        true_positive_rate=np.r_[0.0, true_positives / true_positives[-1]],
        bin_score=np.bincount(bin_of, weights=s) / bin_rows,
        bin_rate=bin_positives / bin_rows,
        bin_rows=bin_rows,
        bin_positives=bin_positives,
    )


def reliability_bins(scores: Floats, bins: int = 10) -> Integers:
    """Bin of each row by rising score, shape (n_rows,), numbered from 0 without a gap; ties share a bin.

    Bins hold about equal sums of scores; see `curves`.
    """
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    last_of_tie = np.searchsorted(rising, rising, side="right") - 1
    expected = np.cumsum(rising)[last_of_tie]
    share = expected / expected[-1] if expected[-1] > 0 else np.zeros(len(scores))
    bin_of = np.minimum((share * bins).astype(np.int64), bins - 1)
    numbered = np.cumsum(np.r_[0, np.diff(bin_of) != 0])
    by_row = np.empty(len(scores), dtype=np.int64)
    by_row[order] = numbered
    return by_row


def calibration_error(labels: ArrayLike, scores: ArrayLike, bins: int = 10) -> float:
    """Difference between observed and expected positives, as a share of the positives: Σ_bins |observed - expected| / observed.

    The bins are those of `curves`. The error is 0 if the scores add up to the number of positives in every bin, and 1 if they
    add up to twice as many; it has no upper limit.

    Args, errors: as for `curves`.
    """
    points = curves(labels, scores, bins)
    return float(np.abs(points.bin_positives - points.bin_score * points.bin_rows).sum() / points.bin_positives.sum())


def wilson(rate: ArrayLike, rows: ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval of shares: lower and upper ends, of the shape of `rate`; 0 to 1 where there are no rows.

    Args:
        rate: shares, in [0, 1].
        rows: number of independent rows of each share; may be fractional.

    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    # A share that was computed from sums may be above 1 by a rounding error.
    r, n = np.clip(np.asarray(rate, dtype=np.float64), 0.0, 1.0), np.asarray(rows, dtype=np.float64)
    square, known = 1.959964**2, np.maximum(n, 1e-9)
    centre = (r + square / (2 * known)) / (1 + square / known)
    half = np.sqrt(square * (r * (1 - r) / known + square / (4 * known**2))) / (1 + square / known)
    low, high = np.clip(centre - half, 0.0, r), np.clip(centre + half, r, 1.0)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[Integers, Floats]:
    """Labels as integers and scores as floats, both of shape (n_rows,).

    Raises:
        ValueError: lengths differ, a value is not finite, a label is not 0 or 1, or one class is missing.
    """
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or s.ndim != 1 or len(y) != len(s):
        raise BadInput(f"labels have shape {y.shape} and scores {s.shape}, expected two arrays of one length")
    _refuse_rows(~np.isfinite(s), s, "scores must be finite")
    _refuse_rows(~((y == 0) | (y == 1)), y, "labels must be 0 or 1")
    y = y.astype(np.int64)
    if not y.any():
        raise BadInput(f"no positive among {len(y):,} labels: the metric is undefined")
    if y.all():
        raise BadInput(f"no negative among {len(y):,} labels: the metric is undefined")
    return y, s


def _refuse_rows(wrong: NDArray[np.bool_], values: NDArray, expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadInput(f"{expected}: {int(wrong.sum()):,} of {len(values):,} are not, the first is {values[row]} at row {row}")


def _checked_weights(labels: ArrayLike, weights: ArrayLike | None) -> Floats:
    y = np.asarray(labels)
    if weights is None:
        return np.ones(len(y))
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != y.shape:
        raise BadInput(f"weights have shape {w.shape}, expected {y.shape} like labels")
    _refuse_rows(~(np.isfinite(w) & (w >= 0)), w, "weights must be finite and not negative")
    for label, name in ((1, "positive"), (0, "negative")):
        if not w[y == label].any():
            raise BadInput(f"every {name} has weight 0: the metric is undefined")
    return w


def _weight_per_tie_group(labels: Integers, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the positives and of the negatives in each tie group, by falling score."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    first = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    weight, positive = weights[order], labels[order] == 1
    return np.add.reduceat(weight * positive, first), np.add.reduceat(weight * ~positive, first)


def _codes(name: str, values: ArrayLike, rows: int) -> tuple[NDArray, Integers]:
    array = np.asarray(values)
    if array.shape != (rows,):
        raise BadInput(f"{name} have shape {array.shape}, expected ({rows},) like labels")
    return np.unique(array, return_inverse=True)
