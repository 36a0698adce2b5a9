"""Many processes open a new home at once, and none of them fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ml.artifacts import lock_file
from ml.config import PROJECT

HOLD = """
import sys, time, pathlib
from ml.artifacts import lock_file
with lock_file(pathlib.Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(600)
"""

OPEN = """
import sys
from ml.registry.versions import Registry
print(Registry(sys.argv[1], "fraud").experiment("fraud", sys.argv[2]))
"""


def test_processes_that_open_a_new_registry_at_once_find_one_experiment(tmp_path: Path) -> None:
    """Without turns, tables are made twice: `table scorers already exists`."""
    uri = f"sqlite:///{tmp_path}/new/folder/mlflow.db"
    words = [sys.executable, "-c", OPEN, uri, str(tmp_path / "artifacts")]
    started = [
        subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in started]
    assert [code for *_, code in ended] == [0, 0, 0], ended
    assert len({out for out, *_ in ended}) == 1


def test_a_process_that_is_killed_gives_its_turn_back(tmp_path: Path) -> None:
    lock = tmp_path / "some" / "lock"
    held = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "in\n"
    held.kill()
    held.wait()
    with lock_file(lock):
        pass
