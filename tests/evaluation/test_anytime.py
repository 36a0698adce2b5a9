"""The bounds hold for all looks together: simulated over as many looks as anybody takes."""

from __future__ import annotations

import numpy as np
import pytest

from ml.evaluation.anytime import excess_of_rate, radius

ALPHA = 0.05


def test_an_equal_mean_crosses_the_bound_at_any_of_a_thousand_looks_in_at_most_alpha() -> None:
    """A bound for one look would be crossed in nearly half of them."""
    random, looks, worlds = np.random.default_rng(11), 1000, 4000
    sums = random.standard_normal((worlds, looks)).cumsum(axis=1)
    z = sums / np.sqrt(np.arange(1, looks + 1))
    bounds = np.array([radius(look / 300, ALPHA) for look in range(1, looks + 1)])
    crossed = (z > bounds).any(axis=1).mean()
    assert (z > 1.645).any(axis=1).mean() > 0.4
    assert crossed < ALPHA + 3 * (ALPHA * (1 - ALPHA) / worlds) ** 0.5
    assert crossed > 0.01, "so wide a bound would find nothing"


def test_a_worse_mean_is_found_at_about_the_planned_number_of_rows() -> None:
    random, looks, worlds, planned = np.random.default_rng(12), 600, 1000, 300
    sums = (0.25 + random.standard_normal((worlds, looks))).cumsum(axis=1)
    z = sums / np.sqrt(np.arange(1, looks + 1))
    bounds = np.array([radius(look / planned, ALPHA) for look in range(1, looks + 1)])
    assert (z[:, :planned] > bounds[:planned]).any(axis=1).mean() > 0.85


@pytest.mark.parametrize(("rate", "limit", "least", "most"), [(0.002, 0.002, 0.0, 0.062), (0.01, 0.002, 0.99, 1.0)])
def test_a_rate_is_found_above_its_limit_and_not_at_it(rate: float, limit: float, least: float, most: float) -> None:
    random, worlds, trials = np.random.default_rng(13), 1000, 4000
    found = 0
    for _ in range(worlds):
        happened = np.flatnonzero(random.random(trials) < rate)
        found += any(excess_of_rate(k, int(at) + 1, limit) >= 1 / ALPHA for k, at in enumerate(happened, start=1))
    assert least <= found / worlds <= most


def test_few_clusters_make_it_wider() -> None:
    assert radius(1.0, 0.01, degrees_of_freedom=5) > 1.5 * radius(1.0, 0.01)


@pytest.mark.parametrize(("progress", "alpha"), [(0, 0.05), (1, 0.0), (1, 0.5), (-1, 0.05)])
def test_nonsense_is_refused(progress: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        radius(progress, alpha)
