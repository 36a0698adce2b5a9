"""Only the stores write: whatever a step leaves in a deployment's home passes through `ml.artifacts` or `ml.lake`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.config import PROJECT, load
from ml.simulate.feed import write_until
from tests import deployments

pytestmark = pytest.mark.proof

WATCHED = r"""
import json, os, sys

HOME, PROJECT, FOUND = sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)
STORES = tuple(f"{PROJECT}/ml/{room}/" for room in ("artifacts", "lake"))
OTHERS = tuple(f"/site-packages/{package}/" for package in ("mlflow", "feast", "optuna"))
writes = {"all": 0, "wrong": {}}

def stack():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back

def watch(event, args):
    if event == "open":
        path, _, flags = args
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event in ("os.rename", "os.link"):
        path = args[1]
    elif event in ("os.mkdir", "os.remove", "os.rmdir"):
        path = args[0]
    else:
        return
    if not str(path).startswith(f"{HOME}/"):
        return
    writes["all"] += 1
    callers = list(stack())
    if any(file.startswith(STORES) or any(other in file for other in OTHERS) for file, _ in callers):
        return
    if any(file.startswith(f"{PROJECT}/ml/") for file, _ in callers):
        by = next(f"{file}:{line}" for file, line in callers if file.startswith(f"{PROJECT}/ml/"))
        writes["wrong"].setdefault(by, f"{event} {path}")

sys.addaudithook(watch)
from ml.__main__ import main

code = main(sys.argv[1:])
with open(FOUND, "w") as file:
    json.dump(writes, file)
sys.exit(code)
"""


def watched(path: Path, home: Path, tmp_path: Path, *words: str) -> int:
    """Run a word of the command line, and assert that only stores write; returns the number of writes."""
    found = tmp_path / f"{words[0]}.json"
    as_of = ["--config", str(path), "--as-of", deployments.FIRST_AS_OF.isoformat()]
    command = [sys.executable, "-c", WATCHED, str(home), str(PROJECT), str(found), *words, *as_of]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = json.loads(found.read_text())
    assert seen["wrong"] == {}, words
    return int(seen["all"])


def test_steps_write_through_the_stores_alone(tmp_path: Path) -> None:
    told = deployments.small_told()
    told["feed"]["customers"], told["training"]["model"]["iterations"] = 800, 30
    path = deployments.write(tmp_path, told)
    config = load(path)
    write_until(config, (deployments.FIRST_AS_OF.date()))
    words = (["ingest"], ["train", "--force"], ["monitor"], ["maintain"])
    for each in words:
        assert watched(path, config.home, tmp_path, *each) > 0, each
