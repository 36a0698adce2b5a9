"""Releases that wait for a person, for tests under a real scheduler."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

from deploy.local.api import Api, Run
from ml import artifacts
from ml.config import Config
from ml.lake import segments
from ml.lake.segments import PREDICTIONS, Record
from ml.ledger.ledger import Ledger
from ml.ledger.releases import Course, Release
from tests.dags.triggering import AS_OF, ENDED, PATIENCE, until

EVENTS = 20
APPROVED = {
    "steps": [{"share": 0, "requests": EVENTS, "hours": 1}, {"share": 10, "requests": EVENTS, "hours": 1}],
    "split": "customer",
    "approval": 10,
}
"""A plan that a person has to agree to before the new version answers anything."""


def begin(config: Config, judgement: str) -> Course:
    """Release version 2 in place of version 1, as if the gate had promoted it, after all events of its first step."""
    assert config.release is not None
    course = Ledger(config.ledger).releases.begin(
        Release(
            model=config.name,
            version="2",
            champion="1",
            judgement=judgement,
            hashes={},
            plan=config.release.model_dump(mode="json"),
            expected={"log_odds": [0.0] * 101},
            as_of=AS_OF,
            actor="test",
            reason="it is better",
            run_id="test",
        )
    )
    lines = b"".join(segments.line(record) for number in range(EVENTS) for record in _scored(course, number))
    artifacts.of(config).put(PREDICTIONS, f"release-{course.release.id}.jsonl", lambda path: path.write_bytes(lines))
    return course


def _scored(course: Course, number: int) -> list[Record]:
    """Both scores of an event, as the service logs them."""
    event = f"E{course.release.id}-{number}"
    shared = {
        "event_id": event,
        "event_time": AS_OF.isoformat(),
        "scored_at": AS_OF.isoformat(),
        "release": course.release.id,
        "arm": "rest",
        "key": f"C{number}",
        "share": 0.0,
        "score": 0.01,
        "decision": "pass",
        "milliseconds": 1.0,
    }
    roles = {"1": "champion", "2": "shadow"}
    return [shared | {"id": f"{event} by {version}", "version": version, "role": role} for version, role in roles.items()]


def look(api: Api, hours: int) -> Run:
    """Let DAG `release` look so many hours after the release began; returns its run when it has ended."""
    as_of = AS_OF + dt.timedelta(hours=hours)
    return api.wait("release", api.trigger("release", {"as_of": as_of.isoformat()}), PATIENCE)


def waits(api: Api, run: Run) -> bool:
    """Whether a run of DAG `approve` waits for a person."""
    tasks = api.task_instances("approve", run.run_id)
    return any(task.task_id == "decide" and task.state == "awaiting_input" for task in tasks)


def asked(api: Api, known: set[str]) -> Run:
    """The run of DAG `approve`, none of those that are known, that waits for a person."""
    return until(
        lambda: next((run for run in api.runs("approve") if run.run_id not in known and waits(api, run)), None),
        "a person is asked",
    )


def respond(api: Api, run: Run, option: str) -> None:
    """Fill in the form of a run of DAG `approve` and send it, as the page does, until the run has ended.

    Airflow asks again after an answer in the very second of the question: its scheduler then takes the task for lost.
    """
    path = f"/dags/approve/dagRuns/{quote(run.run_id, safe='')}/taskInstances/decide/-1/hitlDetails"

    def has_ended() -> bool:
        if waits(api, run):
            api._ask("PATCH", path, json={"chosen_options": [option], "params_input": {}})
        return api.run("approve", run.run_id).state in ENDED

    until(has_ended, "the answer is recorded")
    assert api.run("approve", run.run_id).state == "success"
