"""How long the demo still takes, from how long its stages usually take and how fast this machine was so far."""

from __future__ import annotations

from collections.abc import Sequence

# Seconds of each stage on two quiet cores: Airflow's start, a night that decides, one that only brings data, the last decision.
START, FIRST, QUIET, LAST = 60.0, 220.0, 25.0, 140.0


def stages(nights: int) -> list[float]:
    """Usual seconds of the stages of a demo: the start, then one a night."""
    return [START, FIRST, *[QUIET] * (nights - 2), LAST][: nights + 1]


def minutes_left(usual: Sequence[float], done: int, seconds: float) -> float:
    """Minutes that the stages after the first `done` take, if this machine goes on as it did.

    Args:
        usual: usual seconds of all stages.
        done: how many of them are over.
        seconds: how long these took here.

    >>> minutes_left([60, 220, 140], done=1, seconds=120)
    12.0
    >>> minutes_left([60, 220, 140], done=0, seconds=0)
    7.0
    """
    pace = seconds / sum(usual[:done]) if done else 1.0
    return pace * sum(usual[done:]) / 60
