"""A version as good as the champion is hardly ever stepped back from; each fault is."""

from __future__ import annotations

import pytest

from benchmarks.release_errors import FAULTS, play


def test_an_equal_version_reaches_full_traffic() -> None:
    """The whole count, with its error, is the benchmark's."""
    ended = [play(seed, {})[0] for seed in range(6)]
    assert "stepped back" not in ended
    assert ended.count("finished") >= 4


CAUGHT = {"slow": {"latency"}, "raises": {"errors"}, "shifted": {"alerts", "scores"}}


@pytest.mark.parametrize("fault", CAUGHT)
def test_a_fault_steps_back_in_the_shadow(fault: str) -> None:
    word, step, _, why = play(1, FAULTS[fault])
    assert (word, step) == ("stepped back", 0)
    assert why.partition(":")[0] in CAUGHT[fault]


def test_a_worse_version_steps_back_when_labels_have_matured() -> None:
    word, _, days, why = play(1, FAULTS["worse"])
    assert word == "stepped back"
    assert days >= 7
    assert "labels: " in why


def test_a_version_that_misses_frauds_steps_back_before_a_label_has_matured() -> None:
    word, step, days, why = play(1, FAULTS["misses"])
    assert word == "stepped back"
    assert step == 3
    assert days < FAULTS["misses"]["delay"]
    assert "early: " in why
