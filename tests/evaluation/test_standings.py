"""Equal versions are hardly ever called different, however many are compared; a better one is found against all."""

from __future__ import annotations

import numpy as np
import pytest

from ml.evaluation.bootstrap import compare_rankings
from ml.evaluation.metrics import average_precision
from ml.evaluation.standings import ALPHA, Standings, standings

CUSTOMERS, EVENTS, DAYS, WORLDS = 400, 2000, 14, 200


def played(seed: int, *signals: float) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Labels, scores of a version for each signal, customers and days; each version has a common error for a customer."""
    draw = np.random.default_rng(seed)
    customers, days = draw.integers(0, CUSTOMERS, EVENTS), draw.integers(0, DAYS, EVENTS)
    labels = (draw.random(EVENTS) < 0.05).astype(np.int64)
    scores = {
        str(number): signal * labels + draw.normal(0, 0.5, CUSTOMERS)[customers] + draw.normal(0, 1, EVENTS)
        for number, signal in enumerate(signals, start=1)
    }
    return labels, scores, customers, days


def compared(seed: int, *signals: float) -> Standings:
    found = standings(*played(seed, *signals))
    assert found is not None
    return found


def test_of_equal_versions_any_is_called_better_in_at_most_alpha_of_all_competitions() -> None:
    """Where each comparison is looked at alone, it is in more of them."""
    worlds = [compared(seed, 2, 2, 2, 2, 2).comparisons for seed in range(WORLDS)]
    wrong = np.mean([any(each.is_certain for each in world) for world in worlds])
    alone = np.mean([any(not each.low < 0 < each.high for each in world) for world in worlds])
    assert wrong <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / WORLDS) ** 0.5
    assert alone > 2 * ALPHA


def test_a_better_version_is_found_against_each_of_the_others_and_these_are_not_told_apart() -> None:
    found = [compared(seed, 1, 3, 1).comparisons for seed in range(20)]
    certain = [{(each.first, each.second): np.sign(each.gain) for each in world if each.is_certain} for world in found]
    assert all((world.get(("1", "2")), world.get(("2", "3"))) == (1, -1) for world in certain)
    assert sum(("1", "3") in world for world in certain) <= 3


def test_figures_are_those_of_the_gate() -> None:
    labels, scores, customers, days = played(1, 1, 2, 3)
    found = standings(labels, scores, customers, days)
    assert found is not None
    assert [each.value for each in found.versions] == pytest.approx([average_precision(labels, s) for s in scores.values()])
    assert all(each.low < each.value < each.high for each in found.versions)
    assert [(each.first, each.second) for each in found.comparisons] == [("1", "2"), ("1", "3"), ("2", "3")]
    gate = compare_rankings(labels, scores["2"], scores["3"], customers, days, replicates=400, seed=1)["average precision"]
    last = found.comparisons[-1]
    assert last.gain == pytest.approx(gate.gain)
    assert (last.low, last.high) == pytest.approx(gate.interval, abs=0.2 * (gate.interval[1] - gate.interval[0]))


def test_versions_with_the_same_scores_do_not_differ() -> None:
    labels, scores, customers, days = played(1, 2)
    found = standings(labels, {"1": scores["1"], "2": scores["1"]}, customers, days)
    assert found is not None
    assert [(each.gain, each.p, each.is_certain) for each in found.comparisons] == [(0.0, 1.0, False)]


@pytest.mark.parametrize("what", ["few positives", "no negative", "one customer"])
def test_what_says_nothing_is_not_compared(what: str) -> None:
    labels, scores, customers, days = played(1, 2, 2)
    if what == "few positives":
        labels[np.flatnonzero(labels)[19:]] = 0
    elif what == "no negative":
        labels[:] = 1
    else:
        customers[:] = 3
    assert standings(labels, scores, customers, days) is None
