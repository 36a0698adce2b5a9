"""Simulated half-years in which recipes are judged and refits take office."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import refit_errors
from benchmarks.nightly import World
from benchmarks.refit_errors import EVERY, NIGHTS, SAME_RECIPE, YEAR, half_year


def test_refits_are_younger_and_so_better_where_models_age() -> None:
    judged, refit = (half_year(1, World(decay=0.1), policy) for policy in ("judged", "refit"))
    assert (judged["refreshes"], refit["refreshes"] > 0) == (0, True)
    assert refit["quality"] > judged["quality"] + 0.02


def test_a_recipe_that_is_clearly_worse_never_takes_office(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit_errors, "SPREAD", 0.2)
    for policy in ("judged", "refit"):
        assert half_year(2, World(), policy)["worse_recipes"] == 0


def test_a_half_year_is_the_same_again_and_counts_by_the_year() -> None:
    first = half_year(3, World(), "refit")
    assert half_year(3, World(), "refit") == first
    meetings = -(-NIGHTS // EVERY)
    assert first["promotions"] + first["refreshes"] <= meetings * YEAR / NIGHTS


def test_a_challenger_has_the_champions_recipe_as_often_as_stated() -> None:
    rng = np.random.default_rng(7)
    drawn = [refit_errors._recipe(rng, 1) for _ in range(2000)]
    assert abs(np.mean(np.array(drawn) == 1) - SAME_RECIPE) < 0.04
    assert set(drawn) == {0, 1, 2}
