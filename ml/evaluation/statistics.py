"""A model's figures on a holdout as functions of how much each cluster weighs: what a bootstrap over clusters needs.

Everything that does not depend on the weights (sorting, ties, bins) is done once. What is left for a replicate is sums of
weights, which is one sparse product for a whole block of replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.evaluation.metrics import Floats, Integers, reliability_bins

Weights = NDArray[np.int32]


@dataclass(frozen=True)
class Measure:
    """What is measured, its unit, and which direction is better."""

    name: str
    unit: str
    higher_is_better: bool = True


AVERAGE_PRECISION = Measure("average precision", "average precision")
ROC_AUC = Measure("ROC AUC", "area")
EXPECTED_COST = Measure("expected cost", "money per day", higher_is_better=False)
CALIBRATION = Measure("calibration error", "share of the positives", higher_is_better=False)


class Statistic(Protocol):
    """One or more measures of one model on rows that belong to clusters, numbered from 0.

    Attributes:
        measures: what is measured.
        cells: numbers of the largest array that one replicate takes.
    """

    measures: tuple[Measure, ...]
    cells: int

    def figures(self, weights: Weights) -> Floats:
        """Measures by replicate, shape (n_measures, n_replicates), for weights of shape (n_clusters, n_replicates)."""

    def influence(self) -> Floats:
        """Change of each measure per unit of weight of each cluster, shape (n_measures, n_clusters), at equal weights."""


class Ranking:
    """Average precision and ROC AUC; NaN where a replicate is without a class.

    Both need the rows taken before and at the end of each tie group that holds a positive, and nothing in between. So the
    rows by falling score are cut into 2k + 1 segments: before a group, the group, and so on, and the rows after the last one.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        scores: array of shape (n_rows,), finite.
        cluster: array of shape (n_rows,), the number of each row's cluster.
        clusters: how many there are.
    """

    measures: tuple[Measure, ...] = (AVERAGE_PRECISION, ROC_AUC)

    def __init__(self, labels: Integers, scores: Floats, cluster: Integers, clusters: int) -> None:
        from scipy.sparse import csr_array

        order = np.argsort(-scores, kind="stable")
        falling, self._labels, self._cluster = scores[order], labels[order], cluster[order]
        self._starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
        self._ends = np.r_[self._starts[1:], len(labels)]
        hit = np.add.reduceat(self._labels, self._starts) > 0
        starts, ends = self._starts[hit], self._ends[hit]
        self._clusters, self.cells = clusters, 2 * len(ends) + 1

        row = np.arange(len(labels))
        group = np.searchsorted(ends, row, side="right")
        inside = row >= np.r_[starts, len(labels)][group]
        positive = self._labels == 1
        self._rows = csr_array(
            (np.ones(len(row), dtype=np.int32), (2 * group + inside, self._cluster)), shape=(self.cells, clusters)
        )
        self._positives = csr_array(
            (np.ones(positive.sum(), dtype=np.int32), (group[positive], self._cluster[positive])),
            shape=(len(ends), clusters),
        )

    def figures(self, weights: Weights) -> Floats:
        """See `Statistic`."""
        taken = np.cumsum(self._rows @ weights, axis=0, dtype=np.int64)
        positives = self._positives @ weights
        true_positives = np.cumsum(positives, axis=0, dtype=np.int64)
        before, after, total = taken[:-1:2], taken[1::2], taken[-1]
        n_positives = true_positives[-1]
        n_negatives = total - n_positives
        with np.errstate(invalid="ignore", divide="ignore"):
            average_precision = (positives * (true_positives / np.maximum(after, 1))).sum(axis=0) / n_positives
            # False positives before and at the end of a group, halved: ties count one half.
            outranked = (positives * ((before + after) / 2 - true_positives + positives / 2)).sum(axis=0)
            auc = 1 - outranked / (n_positives * n_negatives)
        # Where one class is missing both are undefined, not only the area.
        return np.stack([np.where(np.isnan(auc), np.nan, average_precision), auc])

    def influence(self) -> Floats:
        """See `Statistic`.

        Average precision: ψ_i = [y_i·precision_i + y_i·Σ_{k≥i} y_k/n_k - Σ_{k≥i} y_k·TP_k/n_k²]/P - y_i·AP/P, where k runs
        over the tie groups from i's own downwards and n_k rows, TP_k positives are taken at the end of group k. ROC AUC: a
        positive counts for the share of the negatives that it outranks, a negative for the share of the positives that
        outrank it, each less the area.
        """
        positives = np.add.reduceat(self._labels, self._starts)
        true_positives, taken = np.cumsum(positives), self._ends
        total = true_positives[-1]
        negatives = self._ends - self._starts - positives
        false_positives = np.cumsum(negatives)
        n_negatives = false_positives[-1]
        group = np.repeat(np.arange(len(taken)), self._ends - self._starts)

        precision = true_positives / taken
        gained = precision + np.cumsum((positives / taken)[::-1])[::-1] - np.sum(positives * precision) / total
        lost = np.cumsum((positives * precision / taken)[::-1])[::-1]
        of_precision = (self._labels * gained[group] - lost[group]) / total

        below = 1 - (false_positives - negatives / 2) / n_negatives
        above = (true_positives - positives / 2) / total
        area = np.sum(positives * below) / total
        of_area = np.where(self._labels == 1, (below[group] - area) / total, (above[group] - area) / n_negatives)
        return np.stack([self._by_cluster(of_precision), self._by_cluster(of_area)])

    def _by_cluster(self, by_row: Floats) -> Floats:
        return np.bincount(self._cluster, weights=by_row, minlength=self._clusters).astype(np.float64)


class CostPerDay:
    """What decisions cost, in money per day: the mean over rows times the rows of a day.

    Args:
        costs: array of shape (n_rows,), what the decision on each row cost.
        days: whole days that the rows were taken from.
        cluster, clusters: as for `Ranking`.
    """

    measures: tuple[Measure, ...] = (EXPECTED_COST,)
    cells = 1

    def __init__(self, costs: Floats, days: float, cluster: Integers, clusters: int) -> None:
        self._sums = np.bincount(cluster, weights=costs, minlength=clusters)
        self._rows = np.bincount(cluster, minlength=clusters)
        self._per_day = len(costs) / days

    def figures(self, weights: Weights) -> Floats:
        """See `Statistic`."""
        rows = self._rows @ weights
        return ((self._sums @ weights) / np.maximum(rows, 1) * self._per_day)[None, :]

    def influence(self) -> Floats:
        """See `Statistic`."""
        rows = self._rows.sum()
        mean = self._sums.sum() / rows
        return ((self._sums - mean * self._rows) / rows * self._per_day)[None, :]


class CalibrationError:
    """Positives that the scores expect in the wrong place: Σ_bins |observed - expected| / positives; NaN without a positive.

    The bins are those of `ml.evaluation.metrics.reliability_bins` on all rows and stay the same in every replicate.

    Args:
        labels, scores, cluster, clusters: as for `Ranking`; scores are probabilities.
    """

    measures: tuple[Measure, ...] = (CALIBRATION,)

    def __init__(self, labels: Integers, scores: Floats, cluster: Integers, clusters: int, bins: int = 10) -> None:
        from scipy.sparse import csr_array

        bin_of = reliability_bins(scores, bins)
        self.cells = int(bin_of.max()) + 1
        shape = (self.cells, clusters)
        self._excess = csr_array((labels - scores, (bin_of, cluster)), shape=shape)
        self._positives = np.bincount(cluster, weights=labels, minlength=clusters)

    def figures(self, weights: Weights) -> Floats:
        """See `Statistic`."""
        positives = self._positives @ weights
        miscounted = np.abs(self._excess @ weights.astype(np.float64)).sum(axis=0)
        return np.divide(miscounted, positives, out=np.full_like(miscounted, np.nan), where=positives > 0)[None, :]

    def influence(self) -> Floats:
        """See `Statistic`."""
        total = self._positives.sum()
        excess = self._excess.sum(axis=1)
        error = np.abs(excess).sum() / total
        return ((np.sign(excess) @ self._excess - error * self._positives) / total)[None, :]


def cluster_codes(clusters: ArrayLike, rows: int) -> tuple[Integers, int]:
    """Number the clusters from 0: an array of shape (n_rows,) and how many there are.

    Raises:
        ValueError: another shape, or a cluster is missing.
    """
    array = np.asarray(clusters)
    if array.shape != (rows,):
        raise ValueError(f"clusters have shape {array.shape}, expected ({rows},) like labels")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"clusters are missing (NaN) for {int(np.isnan(array).sum()):,} rows")
    try:
        names, codes = np.unique(array, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"clusters cannot be sorted, are some of them missing or of another type? {error}") from error
    return codes, len(names)
