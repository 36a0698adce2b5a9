"""The whole pipeline on this machine, through the real scheduler: data land, a model is trained, judged, and promoted.

The first call plays the archive and trains on it, then night after night until the gate has enough fresh days to decide again.
Meanwhile the world changes, if the deployment file plants a drift; monitoring confirms it and asks for a training by itself.
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
from rich.markup import escape
from rich.table import Table

from deploy.local import traffic
from deploy.local.api import Api, ApiError, Run, RunFailed, TaskInstance
from deploy.local.environment import PROJECT, USER
from deploy.local.pace import minutes_left, stages
from deploy.local.preflight import StackError
from deploy.local.stack import DAG_IDS, Stack
from deploy.local.traffic import Played, ServiceError
from ml.clock import present
from ml.config import Config, ConfigError, SimulationFeed, load
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.requests import Answer, Recorded
from ml.ledger.signals import Confirmation
from ml.overview.alarms import Span, alarms
from ml.overview.decisions import Judged, decisions
from ml.overview.releases import released
from ml.simulate.feed import write_until

DAY = dt.timedelta(days=1)
PATIENCE = 3600
TRIGGERED_WITHIN = 60
TRIGGERS = {"on_demand": "on demand", "schedule": "nightly", "new_data": "new data"}

say = Console(highlight=False).print


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what to do."""


def instants(config: Config, decided: Sequence[Decision], days: int | None = None) -> list[dt.datetime]:
    """The instants to run at: one a day, so many `days`, or up to the one at which the next decision can fall."""
    if config.feed is None:
        raise DemoError(f"{config.name} has no 'feed' section, so there is nothing to play; use the DAGs with your own files")
    fresh = int(config.gate.fresh.value)
    if not decided:
        return [config.feed.first_as_of + night * DAY for night in range((days or fresh) + 1)]
    last = max(decision.as_of for decision in decided)
    after = max(last, present(config))
    next_one = last + max(fresh, int(config.retraining.new_data.value)) * DAY
    until = after + days * DAY if days else max(next_one, after + DAY)
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
        self.shown: set[tuple[str, str]] = set()

    def __call__(self, run: Run, tasks: Sequence[TaskInstance]) -> None:
        for task in tasks:
            state = task.state or ""
            if state in ("running", "success", "failed", "up_for_retry") and (task.task_id, state) not in self.shown:
                self.shown.add((task.task_id, state))
                if state != "running":
                    say(f"  {run.dag_id:7} {task.task_id:30} {state:8} {_seconds(task.start, task.end):6.1f} s")


def _seconds(start: str | None, end: str | None) -> float:
    if start is None or end is None:
        return 0.0
    return (dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)).total_seconds()


def run_once(config: Config, api: Api, as_of: dt.datetime) -> None:
    """Ingest at an instant, and follow what the new data start: monitoring, and a training; and what an alarm starts."""
    before, watched = _run_ids(api, "train"), _run_ids(api, "monitor")
    before_it = Ledger(config.ledger).signals.confirmations(config.name)
    run_id = api.trigger("ingest", {"as_of": as_of.isoformat()})
    ingest = api.wait("ingest", run_id, PATIENCE, Progress())
    if ingest.note:
        say(f"  [dim]{ingest.note.splitlines()[0]}[/dim]")
    announced = any(t.task_id == "announce" and t.state == "success" for t in api.task_instances("ingest", run_id))
    if not announced:
        api.trigger("train", {"as_of": as_of.isoformat(), "reason": "demo: no new file had landed"})
    _follow(api, "monitor", _triggered(api, "monitor", watched))
    raised = Ledger(config.ledger).signals.confirmations(config.name)[len(before_it) :]
    for alarm in raised:
        say(f"  [bold red]alarm[/bold red]   {alarm.reason}")
    training = _triggered(api, "train", before)
    _follow(api, "train", training)
    for alarm in raised:
        request, answer = _answered(config, alarm)
        say(f"  [bold]request {request.id}[/bold] ({request.trigger}) {answer.answer}: {escape(answer.reason)}")
        if answer.run_id != training:
            _follow(api, "train", answer.run_id)


def live(config: Config, stack: Stack, day: dt.date) -> Played:
    """Have the scoring service score a day's events as they happen."""
    url = stack.status().serving_url
    if url is None:
        raise DemoError("the scoring service does not run: `make stop`, then `make demo` again starts it with everything else")
    traffic.wait_ready(url)
    played = traffic.play(config, url, day)
    say(
        f"  live    {played.answered:,} events of {day} scored by version {', '.join(played.versions)}, "
        f"{played.alerts} alerts, p99 {played.p99_ms:.0f} ms"
    )
    return played


def _run_ids(api: Api, dag_id: str) -> set[str]:
    return {run.run_id for run in api.runs(dag_id)}


def _follow(api: Api, dag_id: str, run_id: str) -> None:
    done = api.wait(dag_id, run_id, PATIENCE, Progress())
    if done.note:
        said, _, _ = done.note.partition("\n\n")
        say(f"  [dim]{escape(said)}[/dim]")


def _triggered(api: Api, dag_id: str, before: set[str]) -> str:
    """The run that an event of the ingest started."""
    deadline = time.monotonic() + TRIGGERED_WITHIN
    while time.monotonic() < deadline:
        new = [run.run_id for run in api.runs(dag_id) if run.run_id not in before]
        if new:
            return new[-1]
        time.sleep(0.5)
    raise DemoError(f"no run of {dag_id} started within {TRIGGERED_WITHIN} s after the ingest; look at the scheduler's log")


def _answered(config: Config, alarm: Confirmation) -> tuple[Recorded, Answer]:
    """The request that an alarm made, once the arbiter has answered it."""
    deadline = time.monotonic() + TRIGGERED_WITHIN
    while time.monotonic() < deadline:
        for request in Ledger(config.ledger).requests.all(config.name):
            if request.id == alarm.request and request.last is not None:
                return request, request.last
        time.sleep(0.5)
    raise DemoError(
        f"request {alarm.request} is not answered after {TRIGGERED_WITHIN} s; look at DAG watch and `python -m ml requests`"
    )


def table(config: Config, api: Api) -> Table:
    """All decisions so far, one row a run of `train`."""
    took = {run.run_id: _seconds(run.start, run.end) for run in api.runs("train")}
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
    for verdict in decisions(config):
        shown.add_row(
            f"{verdict.as_of:%Y-%m-%d %H:%M}",
            TRIGGERS.get(verdict.trigger, verdict.trigger),
            f"{verdict.training_rows:,} / {verdict.rows:,}",
            verdict.outcome,
            _values(verdict),
            f"{_number(verdict.difference)} [{_number(verdict.interval_low)}, {_number(verdict.interval_high)}]",
            f"version {verdict.champion_after}" if verdict.champion_after else "-",
            f"{took[verdict.run_id]:.0f}" if verdict.run_id in took else "-",
        )
    return shown


def alarm_table(config: Config) -> Table:
    """All alarms so far: what was planted, when it was confirmed, how the request was answered, what came of that."""
    shown = Table(title="alarms")
    for head in ("planted", "confirmed", "request", "verdict", "average precision a day"):
        shown.add_column(head)
    for alarm in alarms(config):
        answer, verdict = alarm.answer, alarm.verdict
        shown.add_row(
            _planted(config, alarm.day),
            f"{alarm.trigger} on {alarm.day}, seen as of {alarm.as_of:%Y-%m-%d %H:%M}",
            f"{alarm.request} {answer.answer} as of {answer.as_of:%Y-%m-%d %H:%M}" if answer else "-",
            f"{verdict.outcome}, {_values(verdict)} on the same days" if verdict else "-",
            "\n".join(_in_words(span) for span in alarm.performance),
        )
    return shown


def _planted(config: Config, day: dt.date) -> str:
    """What the simulated world had changed by a day."""
    planted = config.feed.drift if isinstance(config.feed, SimulationFeed) else []
    return "\n".join(f"{entry['name']} on {entry['day']}" for entry in planted if str(entry["day"]) <= str(day)) or "-"


def _values(verdict: Judged) -> str:
    return f"{_number(verdict.champion_value, '.3f')} → {_number(verdict.challenger_value, '.3f')}"


def _number(value: float | None, form: str = "+.3f") -> str:
    return "-" if value is None else format(value, form)


def _in_words(span: Span) -> str:
    if span.mean is not None:
        return f"{span.name}: {span.mean:.3f} ({span.days} days)"
    return f"{span.name}: labels from {span.answers_from} on" if span.answers_from else f"{span.name}: -"


def live_table(config: Config, played: Sequence[Played]) -> Table:
    """The release of each champion, and the traffic that was scored since."""
    shown = Table(title="live traffic")
    for head, right in (("day", False), ("version", False), ("requests answered", True), ("refused", True)):
        shown.add_column(head, justify="right" if right else "left")
    for head in ("alerts", "p50", "p99"):
        shown.add_column(head, justify="right")
    for day in played:
        shown.add_row(
            str(day.day),
            ", ".join(day.versions),
            f"{day.answered:,}",
            f"{day.refused:,}",
            f"{day.alerts:,}",
            f"{day.p50_ms:.1f} ms",
            f"{day.p99_ms:.1f} ms",
        )
    shown.caption = "\n".join(released(config))
    return shown


def demo(config_path: Path, port: int, data: Path | None, days: int | None) -> None:
    """Run the demo; see the module."""
    begun = time.monotonic()
    config = load(config_path)
    stack = Stack(config.home, config_path, port, say=lambda text: say(f"  [dim]{text}[/dim]"), serves=True)
    planned = instants(config, Ledger(config.ledger).decisions.all(config.name), days)
    usual, played = stages(len(planned)), list[Played]()
    say(f"[bold]1[/bold]  Airflow starts, the feed lands; about {minutes_left(usual, 0, 0):.0f} minutes on two quiet cores")
    stack.start()
    feed(config, planned[0], data)
    stack.wait_ready()
    with stack.api() as api:
        for dag in DAG_IDS:
            api.unpause(dag)
        for number, as_of in enumerate(planned, start=2):
            left = minutes_left(usual, number - 1, time.monotonic() - begun)
            say(f"[bold]{number}[/bold]  as of {as_of:%Y-%m-%d %H:%M}, about {left:.0f} minutes left")
            feed(config, as_of, data)
            if Ledger(config.ledger).moves.champion(config.name):
                played.append(live(config, stack, (as_of - DAY).date()))
            run_once(config, api, as_of)
        Console(width=140).print(table(config, api))
        for more in (alarm_table(config), live_table(config, played)):
            if more.row_count:
                Console(width=140).print(more)
    say(f"Airflow  {stack.url}  user {USER}, password {stack.password}")
    if stack.status().mlflow_url:
        say(f"MLflow   {stack.status().mlflow_url}")
    if stack.status().serving_url:
        say(f"scores   {stack.status().serving_url}/v1/score, described by /openapi.json")
    say(f"{(time.monotonic() - begun) / 60:.1f} minutes. `make demo` again goes on with the next day; `make stop` ends it.")


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m deploy.local.demo`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__)
    parser.add_argument("--config", type=Path, default=PROJECT / "config" / "demo.yaml", help="the deployment file")
    parser.add_argument("--port", type=int, default=8080, help="of Airflow's pages on 127.0.0.1 (default: 8080)")
    parser.add_argument("--data", type=Path, default=None, help="file of past events, for a feed of kind replay")
    parser.add_argument("--days", type=int, default=None, help="days to play (default: until the next decision can fall)")
    asked = parser.parse_args(arguments)
    try:
        demo(asked.config, asked.port, asked.data.resolve() if asked.data else None, asked.days)
    except (StackError, ConfigError, DemoError, ServiceError, RunFailed, ApiError, TimeoutError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
