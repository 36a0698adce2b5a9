"""Metrics of a model on a holdout as functions of the entities' weights, and the influence of each row on them.

Everything that does not depend on the weights (sorting, ties, bins) is computed once. A bootstrap replicate then needs only
sums of weights: one sparse product for a whole block of replicates.

Example: average precision and ROC AUC with weight 1 for both cards, and with weight 2 for the second.
    >>> labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.5, 0.4, 0.1])
    >>> ranking = Ranking(labels, scores, Clusters.of(["a", "a", "b", "b"], [0, 0, 1, 1], labels))
    >>> ranking.figures(np.array([[1, 1], [1, 2]], dtype=np.int32)).round(3).tolist()
    [[0.833, 0.833], [0.75, 0.778]]
    >>> ranking.influence()[0, :3].round(3).tolist()  # of the first three rows on average precision
    [0.139, -0.111, -0.028]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.clusters import Clusters
from ml.evaluation.metrics import Floats, Integers, reliability_bins

Weights = NDArray[np.int32]


@dataclass(frozen=True)
class Measure:
    """A metric: its name, its unit, and which direction is better."""

    name: str
    unit: str
    higher_is_better: bool = True


AVERAGE_PRECISION = Measure("average precision", "average precision")
ROC_AUC = Measure("ROC AUC", "area")
EXPECTED_COST = Measure("expected cost", "money per day", higher_is_better=False)
CALIBRATION = Measure("calibration error", "share of the positives", higher_is_better=False)


class Statistic(Protocol):
    """One or more measures of one model on rows that belong to clusters.

    Attributes:
        measures: the metrics, in the order of the rows of `figures` and `influence`.
        cells: size of the largest array that one replicate needs.
    """

    measures: tuple[Measure, ...]
    cells: int

    def figures(self, weights: Weights) -> Floats:
        """Measures by replicate, shape (n_measures, n_replicates), for weights of shape (n_entities, n_replicates)."""

    def influence(self) -> Floats:
        """Change of each measure per unit of weight of each row, shape (n_measures, n_rows), at equal weights."""


class Ranking:
    """Average precision and ROC AUC; NaN where a replicate has only one class.

    Both need the rows taken before and at the end of each tie group that holds a positive, and nothing in between. So the
    rows by falling score are cut into 2k + 1 segments: before a group, the group, and so on, and the rows after the last one.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        scores: array of shape (n_rows,), finite.
        clusters: entity and day of each row; entities are resampled, days are not.
    """

    measures: tuple[Measure, ...] = (AVERAGE_PRECISION, ROC_AUC)

    def __init__(self, labels: Integers, scores: Floats, clusters: Clusters) -> None:
        from scipy.sparse import csr_array

        self._order = order = np.argsort(-scores, kind="stable")
        falling, self._labels, entity = scores[order], labels[order], clusters.entity[order]
        self._starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
        self._ends = np.r_[self._starts[1:], len(labels)]
        hit = np.add.reduceat(self._labels, self._starts) > 0
        starts, ends = self._starts[hit], self._ends[hit]
        self.cells = 2 * len(ends) + 1

        row = np.arange(len(labels))
        group = np.searchsorted(ends, row, side="right")
        inside = row >= np.r_[starts, len(labels)][group]
        positive = self._labels == 1
        self._rows = csr_array(
            (np.ones(len(row), dtype=np.int32), (2 * group + inside, entity)), shape=(self.cells, clusters.entities)
        )
        self._positives = csr_array(
            (np.ones(positive.sum(), dtype=np.int32), (group[positive], entity[positive])),
            shape=(len(ends), clusters.entities),
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
        # Where one class is missing, both metrics are undefined.
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
        influence = np.empty((2, len(self._order)))
        influence[:, self._order] = of_precision, of_area
        return influence


class CostPerDay:
    """Cost of the decisions in money per day: the mean over rows times the rows of a day.

    Args:
        costs: array of shape (n_rows,), cost of the decision on each row.
        days: length of the window of the rows in days.
        clusters: as for `Ranking`.
    """

    measures: tuple[Measure, ...] = (EXPECTED_COST,)
    cells = 1

    def __init__(self, costs: Floats, days: float, clusters: Clusters) -> None:
        self._costs = costs
        self._sums = np.bincount(clusters.entity, weights=costs)
        self._rows = np.bincount(clusters.entity)
        self._per_day = len(costs) / days

    def figures(self, weights: Weights) -> Floats:
        """See `Statistic`."""
        rows = self._rows @ weights
        return ((self._sums @ weights) / np.maximum(rows, 1) * self._per_day)[None, :]

    def influence(self) -> Floats:
        """See `Statistic`."""
        return ((self._costs - self._costs.mean()) / len(self._costs) * self._per_day)[None, :]


class CalibrationError:
    """Calibration error Σ_bins |observed - expected| / positives; NaN without a positive.

    The bins are those of `ml.evaluation.metrics.reliability_bins` on all rows, the same in every replicate.

    Args:
        labels, scores, clusters: as for `Ranking`; scores are probabilities.
    """

    measures: tuple[Measure, ...] = (CALIBRATION,)

    def __init__(self, labels: Integers, scores: Floats, clusters: Clusters, bins: int = 10) -> None:
        from scipy.sparse import csr_array

        self._bin, self._missed, self._labels = reliability_bins(scores, bins), labels - scores, labels
        self.cells = int(self._bin.max()) + 1
        self._excess = csr_array((self._missed, (self._bin, clusters.entity)), shape=(self.cells, clusters.entities))
        self._positives = np.bincount(clusters.entity, weights=labels)

    def figures(self, weights: Weights) -> Floats:
        """See `Statistic`."""
        positives = self._positives @ weights
        miscounted = np.abs(self._excess @ weights.astype(np.float64)).sum(axis=0)
        return np.divide(miscounted, positives, out=np.full_like(miscounted, np.nan), where=positives > 0)[None, :]

    def influence(self) -> Floats:
        """See `Statistic`."""
        total = self._labels.sum()
        excess = self._excess.sum(axis=1)
        error = np.abs(excess).sum() / total
        return ((np.sign(excess)[self._bin] * self._missed - error * self._labels) / total)[None, :]
