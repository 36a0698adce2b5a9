"""What the demo says of the time that is left."""

from __future__ import annotations

import pytest

from deploy.local.pace import minutes_left, stages


def test_a_demo_of_four_nights_decides_on_the_first_and_on_the_last() -> None:
    usual = stages(4)
    assert len(usual) == 5
    assert usual[1] == max(usual)
    assert usual[-1] > usual[2] == usual[3]


@pytest.mark.parametrize("nights", [1, 2, 3, 26])
def test_each_night_is_one_stage_after_the_start(nights: int) -> None:
    assert len(stages(nights)) == nights + 1


def test_a_machine_that_is_twice_as_slow_takes_twice_as_long_for_the_rest() -> None:
    usual = stages(3)
    assert minutes_left(usual, 2, 2 * sum(usual[:2])) == pytest.approx(2 * sum(usual[2:]) / 60)
    assert minutes_left(usual, len(usual), 1000) == 0
