"""A replicate is scikit-learn's metric with integer weights; the influence function is the metric's derivative."""

from math import exp, factorial

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.evaluation import bootstrap
from ml.evaluation.bootstrap import compare_rankings
from ml.evaluation.clusters import Clusters, effective_clusters
from ml.evaluation.metrics import average_precision, roc_auc
from ml.evaluation.statistics import Ranking


def stream(seed, rows=4000, clusters=300, rate=0.04, ties=None):
    """Labels, two models' scores, clusters and one day for all, with errors that the rows of a cluster share."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, clusters, rows)
    labels = (rng.random(rows) < rate).astype(int)
    shared = 1.5 * labels + 0.7 * rng.normal(size=rows)
    champion, challenger = (shared + 0.5 * rng.normal(size=clusters)[cluster] + 0.4 * rng.normal(size=rows) for _ in range(2))
    if ties:
        champion, challenger = np.round(champion * ties) / ties, np.round(challenger * ties) / ties
    return labels, champion, challenger, cluster, np.zeros(rows)


@pytest.mark.parametrize("ties", [None, 1, 4])
def test_a_replicate_is_scikit_learn_with_the_weights_of_the_clusters(ties):
    labels, scores, _, cluster, day = stream(1, ties=ties)
    weights = np.random.default_rng(2).poisson(1.0, (300, 25)).astype(np.int32)
    ap, auc = Ranking(labels, scores, Clusters.of(cluster, day, labels)).figures(weights)
    for i in range(25):
        row_weights = weights[cluster, i]
        assert ap[i] == pytest.approx(average_precision_score(labels, scores, sample_weight=row_weights), abs=1e-12)
        assert auc[i] == pytest.approx(roc_auc_score(labels, scores, sample_weight=row_weights), abs=1e-12)


@pytest.mark.parametrize("ties", [None, 2])
def test_standard_error_is_that_of_a_loop_over_scikit_learn(ties):
    """An independent bootstrap with 600 replicates: two standard errors differ by 1/√(2·600)·√(1+600/4000) = 3.1 %, times 3."""
    labels, champion, challenger, cluster, day = stream(3, ties=ties)
    rng = np.random.default_rng(4)
    loop = []
    for _ in range(600):
        weights = rng.poisson(1.0, 300)[cluster]
        loop.append(
            average_precision_score(labels, challenger, sample_weight=weights)
            - average_precision_score(labels, champion, sample_weight=weights)
        )
    paired = compare_rankings(labels, champion, challenger, cluster, day, replicates=4000, seed=5)["average precision"]
    assert paired.standard_error == pytest.approx(np.std(loop, ddof=1), rel=0.095)


@pytest.mark.parametrize("ties", [None, 2])
def test_influence_is_the_derivative_by_the_weight_of_a_cluster(ties):
    labels, scores, _, cluster, day = stream(6, rows=600, clusters=20, ties=ties)
    influence = Ranking(labels, scores, Clusters.of(cluster, day, labels)).influence()
    step = 1e-5
    for metric, of_metric in zip((average_precision, roc_auc), influence, strict=True):
        for c in range(20):
            more, less = np.where(cluster == c, 1 + step, 1.0), np.where(cluster == c, 1 - step, 1.0)
            slope = (metric(labels, scores, more) - metric(labels, scores, less)) / (2 * step)
            assert of_metric[cluster == c].sum() == pytest.approx(slope, abs=1e-8)
        assert of_metric.sum() == pytest.approx(0, abs=1e-12)  # weighing everything twice changes nothing


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [None, 2])
def test_the_two_standard_errors_agree(seed, ties):
    """Within 10 %: the bootstrap's own error with 1,000 replicates is 2.2 %, the rest is curvature."""
    paired = compare_rankings(*stream(seed, rows=12_000, clusters=1000, ties=ties), replicates=1000, seed=seed)[
        "average precision"
    ]
    assert paired.standard_error == pytest.approx(paired.standard_error_influence, rel=0.10)


def test_figures_of_the_rows_themselves():
    labels, champion, challenger, cluster, day = stream(7)
    told = compare_rankings(labels, champion, challenger, cluster, day, replicates=300, seed=1)
    paired = told["average precision"]
    assert paired.champion == pytest.approx(average_precision_score(labels, champion))
    assert paired.challenger == pytest.approx(average_precision_score(labels, challenger))
    assert paired.gain == paired.challenger - paired.champion
    assert told["ROC AUC"].champion == pytest.approx(roc_auc_score(labels, champion))
    assert told["ROC AUC"].challenger == pytest.approx(roc_auc_score(labels, challenger))
    assert paired.interval[0] < paired.lower_bound < paired.gain < paired.upper_bound < paired.interval[1]


def test_the_seed_decides_and_nothing_else():
    labels, champion, challenger, cluster, day = stream(8)
    rows = (labels, champion, challenger, cluster, day)
    one, again, other = (compare_rankings(*rows, replicates=300, seed=s)["average precision"] for s in (1, 1, 2))
    assert one == again
    assert one.lower_bound != other.lower_bound
    order = np.random.default_rng(0).permutation(len(labels))
    names = np.array([f"card {c:04d}" for c in cluster], dtype=object)
    other_order = (labels[order], champion[order], challenger[order], names[order], day)
    shuffled = compare_rankings(*other_order, replicates=300, seed=1)["average precision"]
    assert shuffled.lower_bound == pytest.approx(one.lower_bound, abs=1e-12)


def test_swapping_the_models_mirrors_the_figures():
    labels, champion, challenger, cluster, day = stream(9)
    there = compare_rankings(labels, champion, challenger, cluster, day, replicates=300, seed=1)["average precision"]
    back = compare_rankings(labels, challenger, champion, cluster, day, replicates=300, seed=1)["average precision"]
    assert back.gain == -there.gain
    assert back.lower_bound == pytest.approx(-there.upper_bound, abs=1e-15)


@pytest.mark.parametrize("ties", [None, 2])
def test_scores_that_rank_alike_differ_by_exactly_nothing(ties):
    labels, champion, _, cluster, day = stream(10, ties=ties)
    paired = compare_rankings(labels, champion, np.exp(3 * champion), cluster, day, replicates=300, seed=1)["average precision"]
    assert (paired.gain, paired.standard_error, paired.standard_error_influence) == (0, 0, 0)
    assert (paired.lower_bound, paired.upper_bound, paired.interval) == (0, 0, (0, 0))


def test_order_among_negatives_below_the_last_positive_is_no_difference_not_even_by_rounding():
    labels, champion, _, cluster, day = stream(11)
    below = champion < champion[labels == 1].min()
    challenger = np.where(below, 2 * champion.min() - champion, champion)
    assert below.sum() > 20
    paired = compare_rankings(labels, champion, challenger, cluster, day, replicates=300, seed=1)["average precision"]
    assert (paired.gain, paired.standard_error) == (0, 0)


def test_weights_are_poisson_with_mean_one():
    share = np.bincount(bootstrap._POISSON) / 2**16
    assert share == pytest.approx([exp(-1) / factorial(k) for k in range(len(share))], abs=2**-16)
    assert bootstrap._POISSON.mean() == pytest.approx(1, abs=1e-4)
    assert bootstrap._POISSON.var() == pytest.approx(1, abs=2e-4)


def test_degrees_of_freedom_count_the_clusters_that_carry_the_result():
    assert effective_clusters(np.ones(500)) == pytest.approx(500)
    assert effective_clusters(np.r_[np.full(40, 7e-9), np.zeros(5000)]) == pytest.approx(40)
    assert effective_clusters(np.r_[1.0, np.full(5000, 1e-6)]) == pytest.approx(1, abs=0.02)
    assert effective_clusters(np.zeros(500)) == 500


def test_one_cluster_that_carries_the_result_widens_the_bound():
    """Ranking every fraud of one card first lifts the metric; it is one observation, not two hundred."""
    rng = np.random.default_rng(15)
    cluster = np.r_[np.repeat(np.arange(400), 20), np.repeat(np.arange(60), 2), np.zeros(200, dtype=int)]
    labels = np.r_[np.zeros(8000, dtype=int), np.ones(320, dtype=int)]
    champion = labels + rng.normal(size=len(labels))
    challenger = np.where((labels == 1) & (cluster == 0), champion + 5, champion)
    paired = compare_rankings(labels, champion, challenger, cluster, np.zeros(len(labels)), replicates=500, seed=1)[
        "average precision"
    ]
    assert paired.gain > 0.1
    assert paired.degrees_of_freedom < 3
    assert paired.lower_bound < 0


def test_blocks_of_replicates_do_not_change_the_figures(monkeypatch):
    rows = stream(12)
    whole = compare_rankings(*rows, replicates=300, seed=1)
    monkeypatch.setattr(bootstrap, "CELLS_PER_BLOCK", 20 * 320)
    assert compare_rankings(*rows, replicates=300, seed=1) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entities": np.zeros(4000)}, "all rows belong to one cluster"),
        ({"entities": np.zeros(10)}, r"clusters have shape \(10,\), expected \(4000,\)"),
        ({"entities": np.full(4000, np.nan)}, "clusters are missing"),
        ({"entities": np.array(["a", None] * 2000, dtype=object)}, "clusters cannot be sorted"),
        ({"days": np.zeros(10)}, r"days have shape \(10,\), expected \(4000,\)"),
        ({"days": np.full(4000, np.datetime64("NaT"))}, "days are missing"),
        ({"challenger": np.full(4000, np.nan)}, "scores must be finite"),
        ({"champion": np.zeros(3)}, "labels have shape"),
        ({"replicates": 1}, "replicates is 1"),
        ({"alpha": 0.6}, "alpha is 0.6"),
        ({"confidence": 1.0}, "confidence 1.0"),
    ],
)
def test_says_what_is_wrong(change, message):
    names = ("labels", "champion", "challenger", "entities", "days")
    arguments = dict(zip(names, stream(13), strict=True)) | {"replicates": 200, "seed": 1} | change
    with pytest.raises(ValueError, match=message):
        compare_rankings(**arguments)


def test_says_when_replicates_lose_all_positives():
    labels, champion, challenger, cluster, day = stream(14)
    labels = np.where((labels == 1) & (cluster > 2), 0, labels)
    with pytest.raises(ValueError, match=r"replicates hold no positive or no negative: too few clusters hold one"):
        compare_rankings(labels, champion, challenger, cluster, day, replicates=300, seed=1)
