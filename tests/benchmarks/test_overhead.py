"""The overhead's account adds up."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overhead import Cost, taken_apart
from deploy.local.api import Run, TaskInstance

START = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
LENGTHS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=8)


def at(milliseconds: int) -> str:
    return (START + dt.timedelta(milliseconds=milliseconds)).isoformat()


@given(LENGTHS, st.integers(0, 1000))
def test_waiting_running_and_closing_add_up_to_the_run(lengths: list[tuple[int, int]], closing: int) -> None:
    now, tasks = 0, []
    for number, (waited, running) in enumerate(lengths):
        tasks.append(TaskInstance(f"task_{number}", -1, "success", 1, at(now + waited), at(now + waited + running), None))
        now += waited + running
    run = Run("train", "one", "success", "manual", {}, at(-500), at(0), at(now + closing), None)
    told = taken_apart(run, tasks, Cost(99.0, 1.0, 0.0), 20.0)
    assert list(told.tasks) == [task.task_id for task in tasks]
    assert told.cost.seconds == pytest.approx((now + closing) / 1000, abs=0.006)
    assert told.queued_to_end - told.cost.seconds == pytest.approx(0.5, abs=0.02)
    parts = [seconds for task in told.tasks.values() for seconds in task.values()]
    assert sum(parts) + told.closing == pytest.approx(told.cost.seconds, abs=0.006 * (len(parts) + 2))
