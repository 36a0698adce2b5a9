"""Runs a step in a process of its own and kills that process at a random point.

Processes are forked from a server that has imported everything and done nothing, so that each starts in milliseconds and a
kill falls on the step's own work. A kill comes after a random time, which may be in the middle of a library's native code,
or at a random line of this project, which finds the gaps between two writes that are too short to be hit by time.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

OURS = str(Path(__file__).resolve().parent.parent / "ml") + os.sep
IMPORTED = [
    "catboost",
    "great_expectations",
    "deltalake",
    "duckdb",
    "feast",
    "feast.infra.offline_stores.duckdb",
    "mlflow.artifacts",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna.importance",
    "optuna.samplers",
    "optuna.storages.journal",
    "pandas",
    "pyarrow.dataset",
    "sqlalchemy",
    "tests.test_kills",
    "tests.monitoring.living",
]
IN_A_ROW = 4

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(IMPORTED)


class Step:
    """Something that can be killed: a function of this test suite and what it is called with.

    Parameters:
        function: importable by its name; it does the work.
        arguments: picklable values.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def run(self) -> Any:
        """Run to the end and return the answer."""
        ours, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=_answer, args=(theirs, self.function, self.arguments))
        process.start()
        theirs.close()
        try:
            answer = ours.recv()
        except EOFError:
            answer = None
        process.join()
        assert process.exitcode == 0, f"{self.function.__name__} ended with {process.exitcode}"
        return answer

    def measure(self) -> tuple[float, int]:
        """Run to the end and say how many seconds and how many lines of ours that took."""
        lines = processes.Value("q", 0)
        process = processes.Process(target=_count, args=(lines, self.function, self.arguments))
        process.start()
        begun = time.perf_counter()
        process.join()
        assert process.exitcode == 0, f"{self.function.__name__} ended with {process.exitcode}"
        return time.perf_counter() - begun, lines.value

    def kill(self, dice: random.Random, seconds: float, lines: int) -> bool:
        """Kill it somewhere on its way; whether it was killed, or had ended before."""
        if dice.random() < 0.5:
            process = processes.Process(target=self.function, args=self.arguments)
            process.start()
            process.join(timeout=dice.uniform(0, seconds))
            process.kill()
        else:
            at = dice.randrange(1, lines)
            process = processes.Process(target=_die_at, args=(at, self.function, self.arguments))
            process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), f"{self.function.__name__} ended with {process.exitcode}"
        return process.exitcode != 0


@dataclass(frozen=True)
class Phase:
    """A step, what every reader must find at any time while it is being killed, and what must be there at the end."""

    function: Callable[[Path], None]
    at_any_time: Callable[[Path, Any], None]
    what_is_there: Callable[[Path], Any]


def killed_anywhere(name: str, phase: Phase, state: Path, kills: int) -> None:
    """Kill a step so many times, up to `IN_A_ROW` times in a row, and let it run again: nothing may be half, lost or doubled.

    Parameters:
        state: the home to start from each time; the step works on a copy beside it.
    """
    home = state.parent / "home"
    step, look = Step(phase.function, home), Step(phase.what_is_there, home)
    _restore(state, home)
    seconds, lines = step.measure()
    expected = look.run()
    look_halfway = Step(phase.at_any_time, home, expected)
    dice = random.Random(f"{name} {os.getpid()}")  # noqa: S311
    killed = 0
    while killed < kills:
        _restore(state, home)
        for _ in range(dice.randint(1, IN_A_ROW)):
            killed += step.kill(dice, seconds, lines)
        look_halfway.run()
        step.run()
        assert look.run() == expected, f"seed {os.getpid()}, after {killed} kills"
    step.run()
    assert look.run() == expected, "running it once more changed something"


def _restore(state: Path, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(state, home)


def _answer(pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    pipe.send(function(*arguments))


def _count(lines: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    def seen(number: int) -> None:
        lines.value = number

    _trace(seen)
    function(*arguments)


def _die_at(line: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    def seen(number: int) -> None:
        if number == line:
            os.kill(os.getpid(), signal.SIGKILL)

    _trace(seen)
    function(*arguments)


def _trace(seen: Callable[[int], None]) -> None:
    """Call `seen` before each line of this project with the number of lines so far."""
    number = 0

    def local(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal number
        if event == "line":
            number += 1
            seen(number)
        return local

    def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(OURS) else None

    sys.settrace(entered)
