"""The whole pipeline on this machine, through the real scheduler: data land, a model is trained, judged, and promoted.

The first call plays the archive and trains on it, then night after night until the gate has enough fresh days to decide again.
Each later call goes on to the next decision.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local.api import Api, ApiError, Run, RunFailed, TaskInstance
from deploy.local.environment import PROJECT, USER
from deploy.local.preflight import StackError
from deploy.local.stack import DAG_IDS, Stack
from ml.config import Config, ConfigError, load
from ml.registry.ledger import Decision, Ledger
from ml.simulate.feed import present, write_until

DAY = dt.timedelta(days=1)
PATIENCE = 3600
TRIGGERED_WITHIN = 60
TRIGGERS = {"on_demand": "on demand", "schedule": "nightly", "new_data": "new data"}

say = Console(highlight=False).print


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what to do."""


def instants(config: Config, decided: Sequence[Decision]) -> list[dt.datetime]:
    """The instants to run at: one a day, up to the one at which the gate has enough fresh days to decide again."""
    if config.feed is None:
        raise DemoError(f"{config.name} has no 'feed' section, so there is nothing to play; use the DAGs with your own files")
    fresh = int(config.gate.fresh.value)
    if not decided:
        return [config.feed.first_as_of + night * DAY for night in range(fresh + 1)]
    last = max(decision.as_of for decision in decided)
    after = max(last, present(config))
    until = max(last + fresh * DAY, after + DAY)
    return [after + night * DAY for night in range(1, (until - after) // DAY + 1)]


def feed(config: Config, as_of: dt.datetime, data: Path | None) -> None:
    """Drop the files of all days before `as_of` into the landing folder."""
    begun = time.monotonic()
    last = (as_of - DAY).date()
    console = Console()
    with console.status("the feed writes its files") as status:
        files = write_until(config, last, data, progress=lambda day: status.update(f"the feed writes the files of {day}"))
    if files:
        say(f"  {len(files)} files up to {last} landed in {config.landing} ({time.monotonic() - begun:.0f} s)")


class Progress:
    """Says what the tasks of a run come to."""

    def __init__(self) -> None:
        self.told: set[tuple[str, str]] = set()

    def __call__(self, run: Run, tasks: Sequence[TaskInstance]) -> None:
        for task in tasks:
            state = task.state or ""
            if state in ("running", "success", "failed", "up_for_retry") and (task.task_id, state) not in self.told:
                self.told.add((task.task_id, state))
                if state != "running":
                    say(f"  {run.dag_id:7} {task.task_id:30} {state:8} {_seconds(task.start, task.end):6.1f} s")


def _seconds(start: str | None, end: str | None) -> float:
    if start is None or end is None:
        return 0.0
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()


def run_once(config: Config, api: Api, as_of: dt.datetime) -> None:
    """Ingest at an instant, and follow the training that the new data start."""
    before = {run.run_id for run in api.runs("train")}
    run_id = api.trigger("ingest", {"as_of": as_of.isoformat()})
    ingest = api.wait("ingest", run_id, PATIENCE, Progress())
    if ingest.note:
        say(f"  [dim]{ingest.note.splitlines()[0]}[/dim]")
    announced = any(t.task_id == "announce" and t.state == "success" for t in api.task_instances("ingest", run_id))
    training = _triggered(api, before) if announced else None
    if training is None:
        training = api.trigger("train", {"as_of": as_of.isoformat(), "reason": "demo: no new file had landed"})
    done = api.wait("train", training, PATIENCE, Progress())
    if done.note:
        say(f"  [dim]{done.note}[/dim]")


def _triggered(api: Api, before: set[str]) -> str:
    """The run of `train` that the new data started."""
    deadline = time.monotonic() + TRIGGERED_WITHIN
    while time.monotonic() < deadline:
        new = [run.run_id for run in api.runs("train") if run.run_id not in before]
        if new:
            return new[-1]
        time.sleep(0.5)
    raise DemoError(f"no training started within {TRIGGERED_WITHIN} s after the new data; look at the scheduler's log")


def table(config: Config, api: Api) -> Table:
    """All decisions so far, one row a run of `train`."""
    took = {run.run_id: _seconds(run.start, run.end) for run in api.runs("train")}
    moves = {move.run_id: move.to_version for move in Ledger(config.ledger).history(config.name) if move.action == "promote"}
    shown = Table(title=f"{config.name}: {config.description}")
    for head, right in (
        ("as of", False),
        ("trigger", False),
        ("rows trained / held out", True),
        ("verdict", False),
        ("average precision", True),
        ("difference [95 % interval]", True),
        ("champion", True),
        ("seconds", True),
    ):
        shown.add_column(head, justify="right" if right else "left")
    champion = "-"
    for d in Ledger(config.ledger).decisions(config.name):
        champion = f"version {moves[d.run_id]}" if d.run_id in moves else champion
        primary = d.evidence["primary"]
        shown.add_row(
            f"{d.as_of:%Y-%m-%d %H:%M}",
            TRIGGERS.get(d.trigger, d.trigger),
            f"{d.training_rows:,} / {d.rows:,}",
            d.outcome,
            f"{primary['champion']:.3f} → {primary['challenger']:.3f}",
            f"{d.difference:+.3f} [{d.interval_low:+.3f}, {d.interval_high:+.3f}]",
            champion,
            f"{took[d.run_id]:.0f}" if d.run_id in took else "-",
        )
    return shown


def demo(config_path: Path, port: int, data: Path | None) -> None:
    """Run the demo; see the module."""
    begun = time.monotonic()
    config = load(config_path)
    stack = Stack(config.home, config_path, port, say=lambda text: say(f"  [dim]{text}[/dim]"))
    say("[bold]1[/bold]  Airflow starts, the feed lands")
    stack.start()
    planned = instants(config, Ledger(config.ledger).decisions(config.name))
    feed(config, planned[0], data)
    stack.wait_ready()
    with stack.api() as api:
        for dag in DAG_IDS:
            api.unpause(dag)
        for number, as_of in enumerate(planned, start=2):
            say(f"[bold]{number}[/bold]  as of {as_of:%Y-%m-%d %H:%M}")
            feed(config, as_of, data)
            run_once(config, api, as_of)
        Console(width=140).print(table(config, api))
    say(f"Airflow  {stack.url}  user {USER}, password {stack.password}")
    if stack.status().mlflow_url:
        say(f"MLflow   {stack.status().mlflow_url}")
    say(f"{(time.monotonic() - begun) / 60:.1f} minutes. `make demo` again goes on with the next day; `make stop` ends it.")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m deploy.local.demo`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__)
    parser.add_argument("--config", type=Path, default=PROJECT / "config" / "demo.yaml", help="the deployment file")
    parser.add_argument("--port", type=int, default=8080, help="of Airflow's pages on 127.0.0.1 (default: 8080)")
    parser.add_argument("--data", type=Path, default=None, help="file of past events, for a feed of kind replay")
    asked = parser.parse_args(arguments)
    try:
        demo(asked.config, asked.port, asked.data.resolve() if asked.data else None)
    except (StackError, ConfigError, DemoError, RunFailed, ApiError, TimeoutError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
