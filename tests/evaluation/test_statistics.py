"""Cost per day and calibration error as functions of the clusters' weights, against a direct computation from the rows."""

import numpy as np
import pytest

from ml.evaluation.bootstrap import closed_form, paired_bootstrap
from ml.evaluation.clusters import Clusters
from ml.evaluation.metrics import calibration_error, decision_costs, reliability_bins
from ml.evaluation.statistics import CalibrationError, CostPerDay

CLUSTERS, DAYS = 40, 14.0


def scored(seed=1, rows=1500):
    """Labels, calibrated scores of many ties, what a miss costs, and clusters."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.beta(0.5, 6, rows), 2)
    labels = (rng.random(rows) < scores).astype(np.int64)
    return labels, scores, rng.lognormal(4, 1, rows), rng.integers(0, CLUSTERS, rows)


def on_one_day(cluster, labels):
    return Clusters.of(cluster, np.zeros(len(labels)), labels)


def cost_of(labels, scores, missed, cluster):
    costs = decision_costs(labels, scores >= 0.3, missed, 4, 6)
    return costs, CostPerDay(costs, DAYS, on_one_day(cluster, labels))


def replicates(count=20):
    return np.random.default_rng(2).poisson(1.0, (CLUSTERS, count)).astype(np.int32)


def slopes(statistic):
    """Change of the figure per unit of weight of each cluster, by whole weights on a scale of a hundred thousand."""
    scale = 100_000
    equal = np.full((CLUSTERS, CLUSTERS), scale, dtype=np.int32)
    more, less = (statistic.figures(equal + sign * np.eye(CLUSTERS, dtype=np.int32))[0] for sign in (1, -1))
    return (more - less) / 2 * scale


def test_a_replicate_of_the_cost_is_the_mean_of_the_rows_as_often_as_they_were_drawn():
    """The days stay 14, so the mean is taken times the rows of a day, not times those that were drawn."""
    rows = scored()
    costs, statistic = cost_of(*rows)
    weights = replicates()
    for i, figure in enumerate(statistic.figures(weights)[0]):
        drawn = np.repeat(costs, weights[rows[3], i])
        assert figure == pytest.approx(drawn.mean() * len(costs) / DAYS)


def test_at_equal_weights_the_cost_is_what_the_decisions_cost_in_a_day():
    costs, statistic = cost_of(*scored())
    assert statistic.figures(np.ones((CLUSTERS, 1), dtype=np.int32))[0, 0] == pytest.approx(costs.sum() / DAYS)


def test_a_replicate_of_the_calibration_error_takes_the_rows_as_often_as_they_were_drawn():
    labels, scores, _, cluster = scored()
    weights, bins = replicates(), reliability_bins(scores)
    told = CalibrationError(labels, scores, on_one_day(cluster, labels)).figures(weights)[0]
    for i, figure in enumerate(told):
        row = weights[cluster, i]
        excess = sum(abs(np.sum(row * (labels - scores) * (bins == b))) for b in np.unique(bins))
        assert figure == pytest.approx(excess / np.sum(row * labels))


@pytest.mark.parametrize("seed", range(5))
def test_at_equal_weights_it_is_the_metric_of_the_same_name(seed):
    labels, scores, _, cluster = scored(seed)
    figure = CalibrationError(labels, scores, on_one_day(cluster, labels)).figures(np.ones((CLUSTERS, 1), dtype=np.int32))[0, 0]
    assert figure == pytest.approx(calibration_error(labels, scores), abs=1e-12)


def test_influence_is_the_derivative_by_the_weight_of_a_cluster():
    labels, scores, missed, cluster = scored()
    calibration = CalibrationError(labels, scores, on_one_day(cluster, labels))
    for statistic in (calibration, cost_of(labels, scores, missed, cluster)[1]):
        influence = statistic.influence()
        assert influence.shape == (1, len(labels))
        assert np.bincount(cluster, influence[0]) == pytest.approx(slopes(statistic), rel=1e-4, abs=1e-8)
        assert influence.sum() == pytest.approx(0, abs=1e-9)  # weighing everything twice changes nothing


def test_a_replicate_without_a_positive_has_no_calibration_error():
    labels, scores, _, cluster = scored()
    labels[cluster > 0] = 0
    weights = np.ones((CLUSTERS, 1), dtype=np.int32)
    weights[0] = 0
    assert np.isnan(CalibrationError(labels, scores, on_one_day(cluster, labels)).figures(weights)).all()


def test_a_saving_is_a_gain():
    """Lower is better for both, so what the challenger saves or miscounts less has a positive sign."""
    labels, scores, missed, cluster = scored()
    careless = np.zeros_like(scores)
    dear, cheap = (cost_of(labels, s, missed, cluster)[1] for s in (careless, scores))
    saved = closed_form(dear, cheap, on_one_day(cluster, labels), alpha=0.05)["expected cost"]
    assert saved.gain == pytest.approx(saved.champion - saved.challenger)
    assert saved.gain > 0
    off, right = (CalibrationError(labels, s, on_one_day(cluster, labels)) for s in (np.sqrt(scores), scores))
    assert closed_form(off, right, on_one_day(cluster, labels), alpha=0.05)["calibration error"].gain > 0


def test_bootstrap_and_influence_agree_on_the_error_of_the_cost():
    """Within 12 %: the bootstrap's own error with 1,000 replicates is 2.2 %, the rest is the chance number of rows."""
    labels, scores, missed, cluster = scored(rows=6000)
    old, new = (cost_of(labels, s, missed, cluster)[1] for s in (np.roll(scores, 1), scores))
    told = paired_bootstrap([old], [new], on_one_day(cluster, labels), replicates=1000, seed=3)["expected cost"]
    assert told.standard_error == pytest.approx(told.standard_error_influence, rel=0.12)
