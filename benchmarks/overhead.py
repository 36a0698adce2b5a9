"""What Airflow adds: the wall time of a run of the DAG `train` over that of the same steps called in one Python process.

Both train on the demo's data (config/demo.yaml, some 590,000 simulated payments), as of the same instant and from the same
ingested state, which is made once and copied back before each run; they must come to the same decision. They take turns,
the process first, and Airflow is not running while the process is measured.

process_seconds
    A fresh `python -m ml train`, from its start to its end: imports included, for that is how the steps are called in one
    process. `import_seconds` says how much of it is libraries, so that whoever keeps a warm process can subtract it.
dag_seconds
    From `start_date` to `end_date` of the DAG run, as Airflow's API tells them. Airflow is started as `make demo` starts it
    (`ready_seconds`) and has run `ingest` once, which finds nothing new. `queued_to_end` counts from `queued_at`.
tasks
    Per task: `waited` from the end of the task before it (or of the run's start) to its own start, and `running`.
    They and `closing`, from the last task's end to the run's, add up to `dag_seconds`.
processor_ratio
    The same ratio in processor time, all of Airflow's processes included. Other programs disturb it less than `ratio`;
    `others` is the share of this machine's processors that they took meanwhile, and a `ratio` means little if it is large.

The last line is a JSON object; `ratio` is dag_seconds over process_seconds, of the repeat with the median ratio.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import yaml

from deploy.libraries import LIBRARIES
from deploy.local.api import Run, TaskInstance
from deploy.local.preflight import free_port
from deploy.local.processes import session_members
from deploy.local.stack import Stack
from deploy.local.state import State
from ml.config import PROJECT, Config, load
from ml.ledger.ledger import Ledger

PATIENCE = 3600


@dataclass(frozen=True)
class Cost:
    """What a way took: seconds by the clock, seconds of processors, and the share of the processors that others took."""

    seconds: float
    processor: float
    others: float


@dataclass(frozen=True)
class Trained:
    """A run of `train` by Airflow, in seconds."""

    cost: Cost
    queued_to_end: float
    ready: float
    tasks: dict[str, dict[str, float]]
    closing: float


@dataclass(frozen=True)
class Bench:
    """A deployment in a folder of its own, and the state that both ways start from."""

    folder: Path
    config: Config
    as_of: dt.datetime

    @classmethod
    def make(cls, folder: Path) -> Bench:
        """Write the demo's deployment with its home in `folder`, and ingest what the feed brings up to its first instant."""
        told = yaml.safe_load((PROJECT / "config" / "demo.yaml").read_text()) | {"home": str(folder / "home")}
        (folder / "deployment.yaml").write_text(yaml.safe_dump(told))
        config = load(folder / "deployment.yaml")
        assert config.feed is not None
        bench = cls(folder, config, config.feed.first_as_of)
        bench.ml("feed", "--until", str((bench.as_of - dt.timedelta(days=1)).date()))
        bench.ml("ingest", "--as-of", bench.as_of.isoformat())
        shutil.copytree(config.home, folder / "ingested")
        return bench

    def ml(self, command: str, *arguments: str) -> Cost:
        """Run `python -m ml COMMAND`, from its start to its end."""
        config = ["--config", str(self.folder / "deployment.yaml")]
        return cost_of([sys.executable, "-m", "ml", command, *config, *arguments])

    def restore(self) -> None:
        """Bring back the ingested state, under the same address: stores remember where they lie."""
        shutil.rmtree(self.config.home)
        shutil.copytree(self.folder / "ingested", self.config.home)

    def by_process(self) -> Cost:
        """A training in one process."""
        self.restore()
        return self.ml("train", "--as-of", self.as_of.isoformat())

    def by_airflow(self) -> Trained:
        """A training by the DAG, under Airflow as the demo starts it."""
        self.restore()
        stack = Stack(self.config.home, self.folder / "deployment.yaml", free_port())
        begun = time.perf_counter()
        stack.start()
        try:
            stack.wait_ready(timeout=600)
            ready = time.perf_counter() - begun
            with stack.api() as api:
                for dag_id in ("ingest", "train"):
                    api.unpause(dag_id)
                conf = {"as_of": self.as_of.isoformat()}
                api.wait("ingest", api.trigger("ingest", conf), PATIENCE)
                meter = Meter(lambda: _processor_seconds(self.config.home))
                run = api.wait("train", api.trigger("train", conf), PATIENCE)
                cost = meter.read()
                tasks = api.task_instances("train", run.run_id)
        finally:
            stack.stop()
        return taken_apart(run, tasks, cost, ready)

    def decision(self) -> tuple[str, str, int, float | None]:
        """What the training that ran last came to."""
        (told,) = Ledger(self.config.ledger).decisions.all(self.config.name)
        return told.outcome, told.reason, told.training_rows, told.difference


class Meter:
    """Measures from its making to `read`.

    Args:
        own: processor seconds that what is measured has taken so far.
    """

    def __init__(self, own: Callable[[], float]) -> None:
        self.own = own
        self.begun = self._now()

    def _now(self) -> tuple[float, float, float]:
        machine = psutil.cpu_times()
        return time.perf_counter(), self.own(), machine.user + machine.system

    def read(self) -> Cost:
        """What it cost until now."""
        seconds, own, machine = (now - then for now, then in zip(self._now(), self.begun, strict=True))
        others = max(machine - own, 0) / (seconds * (psutil.cpu_count() or 1))
        return Cost(round(seconds, 2), round(own, 2), round(others, 3))


def cost_of(command: Sequence[str]) -> Cost:
    """Run a command and say what it took."""

    def ended() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    meter = Meter(ended)
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    return meter.read()


def _processor_seconds(home: Path) -> float:
    """What all processes of a running stack have taken, those included that have ended."""
    state = State.read(home)
    assert state is not None
    # The four times are its own, user and system, and those of the children that it has collected.
    return sum(sum(psutil.Process(p.pid).cpu_times()[:4]) for p in session_members(state.supervisor.pid))


def taken_apart(run: Run, tasks: Sequence[TaskInstance], cost: Cost, ready: float) -> Trained:
    """Where the time of a run went; its tasks ran one after another and are given in that order."""
    assert run.start is not None
    assert run.end is not None
    assert run.queued_at is not None
    before, parts = run.start, {}
    for task in tasks:
        assert task.start is not None
        assert task.end is not None
        parts[task.task_id] = {"waited": _between(before, task.start), "running": _between(task.start, task.end)}
        before = task.end
    return Trained(
        replace(cost, seconds=_between(run.start, run.end)),
        _between(run.queued_at, run.end),
        round(ready, 2),
        parts,
        _between(before, run.end),
    )


def _between(start: str, end: str) -> float:
    return round((dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds(), 2)


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=1, help="runs of each way (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench.make(Path(temporary))
        imports = cost_of([sys.executable, "-c", f"import {', '.join(LIBRARIES)}"])
        runs = [turn(bench) for _ in range(asked.repeat)]
    process, dag = sorted(runs, key=lambda run: ratio(*run))[len(runs) // 2]
    for task, parts in dag.tasks.items():
        print(f"{task:30} waited {parts['waited']:6.2f} s, running {parts['running']:6.2f} s")
    print(
        json.dumps(
            {
                "ratio": ratio(process, dag),
                "dag_seconds": dag.cost.seconds,
                "process_seconds": process.seconds,
                "import_seconds": imports.seconds,
                "queued_to_end": dag.queued_to_end,
                "ready_seconds": dag.ready,
                "processor_ratio": round(dag.cost.processor / process.processor, 3),
                "processor": {"dag": dag.cost.processor, "process": process.processor, "import": imports.processor},
                "others": {"dag": dag.cost.others, "process": process.others},
                "tasks": dag.tasks,
                "closing": dag.closing,
                "ratios": [ratio(*run) for run in runs],
            }
        )
    )


def turn(bench: Bench) -> tuple[Cost, Trained]:
    """Train both ways, the process first."""
    process = bench.by_process()
    decided = bench.decision()
    dag = bench.by_airflow()
    if bench.decision() != decided:
        raise SystemExit(f"the process decided {decided}, the DAG {bench.decision()}: they did not do the same")
    print(f"process {process.seconds:.1f} s, DAG {dag.cost.seconds:.1f} s")
    return process, dag


def ratio(process: Cost, dag: Trained) -> float:
    """The DAG's seconds over the process's."""
    return round(dag.cost.seconds / process.seconds, 3)


if __name__ == "__main__":
    main()
