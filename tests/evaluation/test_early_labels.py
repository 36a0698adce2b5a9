"""Labels that have not matured compare what two versions let pass, and nothing else, at any age of the events."""

from __future__ import annotations

import numpy as np
import pytest

from ml.evaluation.release import MISSED, Arm, Limits, early_check

LIMITS = Limits(errors=0.002, alerts=1.5, early=1.25, scores=0.2)
CUSTOMERS, A_DAY, FRAUD = 500, 500, 0.03


class Traffic:
    """Two arms; analysts answer alerts within a day, customers report what was let pass after a week on average."""

    def __init__(self, seed: int, caught: dict[str, float]) -> None:
        self._random, self._caught = np.random.default_rng(seed), caught
        self._days: dict[str, list[tuple[np.ndarray, ...]]] = {"new": [], "old": []}

    def day(self, number: int) -> None:
        """Answer a day's events."""
        draw = self._random
        for who, first in (("new", 0), ("old", CUSTOMERS)):
            positive = draw.random(A_DAY) < FRAUD
            alert = positive & (draw.random(A_DAY) < self._caught[who])
            reported = number + np.where(alert, 1.0, draw.exponential(7.0, A_DAY))
            customer = first + draw.integers(0, CUSTOMERS, A_DAY)
            self._days[who].append((customer, np.full(A_DAY, number), positive, alert, reported))

    def arms(self, now: float) -> tuple[Arm, Arm]:
        """Both arms as they are known at an instant, in days."""

        def arm(who: str) -> Arm:
            entity, day, positive, alert, reported = (np.concatenate(each) for each in zip(*self._days[who], strict=True))
            known = positive & (reported <= now)
            return Arm(entity, day, alert, np.zeros(len(day), dtype=bool), missed=known & ~alert)

        return arm("new"), arm("old")

    def breached_on(self, days: int) -> int | None:
        """The first day on which the check is breached, looked at every night."""
        for number in range(days):
            self.day(number)
            check = early_check(*self.arms(number + 1), LIMITS)
            assert check is not None
            if check.is_breached:
                return number
        return None


def test_versions_that_miss_equally_many_are_hardly_ever_told_apart_in_a_month_of_looks() -> None:
    breached = [seed for seed in range(20) if Traffic(seed, {"new": 0.6, "old": 0.6}).breached_on(28) is not None]
    assert len(breached) <= 1


def test_a_version_that_misses_more_is_found_while_its_labels_come_in() -> None:
    found = [Traffic(seed, {"new": 0.1, "old": 0.7}).breached_on(28) for seed in range(5)]
    assert all(day is not None and day > 1 for day in found), found


def test_a_version_that_catches_more_is_none_that_misses_more_although_more_of_its_positives_are_known() -> None:
    traffic = Traffic(1, {"new": 0.9, "old": 0.5})
    for number in range(10):
        traffic.day(number)
    new, old = traffic.arms(10)
    known = [(arm.alert | arm.missed).sum() for arm in (new, old)]
    assert known[0] > known[1]
    check = early_check(new, old, LIMITS)
    assert check is not None
    assert (check.is_breached, check.is_clear) == (False, True)
    assert f"{new.missed.sum():,} positives among 5,000 events are reported so far" in check.sentence


def test_one_stolen_card_is_no_evidence() -> None:
    """Twice as many missed positives as the bound is tightest at, all of one customer, tell nothing of the others."""
    nothing = np.zeros(4000, dtype=bool)
    missed = np.arange(4000) < 2 * MISSED
    customers, day = np.arange(4000) % 1000, np.zeros(4000, dtype=np.int64)
    old = Arm(customers + 1000, day, nothing, nothing, nothing)
    one = early_check(Arm(np.where(missed, 0, customers), day, nothing, nothing, missed), old, LIMITS)
    many = early_check(Arm(customers, day, nothing, nothing, missed), old, LIMITS)
    assert one is not None
    assert many is not None
    assert (one.is_breached, many.is_breached) == (False, True)


@pytest.mark.parametrize("empty", ["new", "old"])
def test_without_two_arms_there_is_nothing_to_compare(empty: str) -> None:
    def arm(rows: int) -> Arm:
        whole, flags = np.arange(rows), np.zeros(rows, dtype=bool)
        return Arm(whole, whole * 0, flags, flags, flags)

    assert early_check(arm(0 if empty == "new" else 5), arm(0 if empty == "old" else 5), LIMITS) is None
