"""A small client of Airflow's REST API: start a run, follow it, read what it left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

SILENCE = (
    30  # unanswered questions in a row, a second apart, before a run is given up: a busy machine may not answer for a while
)
PATIENCE = 120  # seconds until a question is unanswered: a change waits for a database that another process writes
FAILED = ("failed", "upstream_failed")
BUSY = 10  # times that a request is sent again, a second apart, because Airflow's database was locked


class ApiError(RuntimeError):
    """Airflow refused a request; the message says which, and what it answered."""


class Unreachable(ApiError):
    """Nobody answers at Airflow's address, or not in time."""


@dataclass(frozen=True)
class Run:
    """One run of a DAG; times are ISO 8601 in UTC, None for what has not happened."""

    dag_id: str
    run_id: str
    state: str
    run_type: str
    conf: dict[str, Any]
    queued_at: str | None
    start: str | None
    end: str | None
    note: str | None


@dataclass(frozen=True)
class TaskInstance:
    """One task of a run; `map_index` is −1 unless the task is mapped."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start: str | None
    end: str | None
    note: str | None


class RunFailed(RuntimeError):
    """A run ended in failure; the message names the tasks and shows the end of their logs."""

    def __init__(self, run: Run, message: str) -> None:
        super().__init__(message)
        self.run = run


@dataclass
class Api:
    """Airflow at `url`, with the login of the simple auth manager.

    Every method raises `ApiError` when Airflow refuses, and its subclass `Unreachable` when nobody answers.
    """

    url: str
    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        # A proxy of this machine's user has no business between two of its processes.
        self._http = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)
        self._token = ""

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def health(self) -> dict[str, dict[str, str | None]]:
        """Status and last heartbeat of each component, as Airflow reports them; needs no login."""
        answer = self._send("GET", "/api/v2/monitor/health", timeout=5)
        if answer.is_error:
            raise ApiError(f"Airflow at {self.url} answers {answer.status_code} when asked for its health")
        health: dict[str, dict[str, str | None]] = answer.json()
        return health

    def dags(self) -> dict[str, str | None]:
        """Known DAG ids, each with the time of its last parsing."""
        return {dag["dag_id"]: dag["last_parsed_time"] for dag in self._pages("/dags", "dags")}

    def import_errors(self) -> dict[str, tuple[str, str]]:
        """DAG files that cannot be imported: file, then when that was found and the traceback."""
        errors = self._pages("/importErrors", "import_errors")
        return {error["filename"]: (error["timestamp"], error["stack_trace"]) for error in errors}

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of a DAG."""
        self._ask("PATCH", f"/dags/{_in_path(dag_id)}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run with these parameters and return its id."""
        body = {"logical_date": None, "conf": conf or {}}
        run_id: str = self._ask("POST", f"/dags/{_in_path(dag_id)}/dagRuns", json=body)["dag_run_id"]
        return run_id

    def run(self, dag_id: str, run_id: str) -> Run:
        """One run as it is now."""
        return _run(self._ask("GET", _run_path(dag_id, run_id)))

    def runs(self, dag_id: str) -> list[Run]:
        """All runs of a DAG, the newest first."""
        path = f"/dags/{_in_path(dag_id)}/dagRuns"
        return [_run(record) for record in self._pages(path, "dag_runs", order_by="-run_after")]

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Tasks of a run with their states, in the order in which they started."""
        records = self._pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances")
        found = [
            TaskInstance(t["task_id"], t["map_index"], t["state"], t["try_number"], t["start_date"], t["end_date"], t["note"])
            for t in records
        ]
        return sorted(found, key=lambda task: (task.start is None, task.start or "", task.task_id, task.map_index))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task returned, or pushed under `key`."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_in_path(task_id)}/xcomEntries/{_in_path(key)}"
        return self._ask("GET", path, params={"map_index": map_index})["value"]

    def log_tail(self, dag_id: str, run_id: str, task: TaskInstance, lines: int = 30) -> str:
        """The last lines of a task's newest log, with the traceback if there is one."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_in_path(task.task_id)}/logs/{task.try_number}"
        answer = self._ask("GET", path, params={"map_index": task.map_index, "full_content": True})
        logged = [line for entry in answer["content"] for line in _log_lines(entry)]
        return "\n".join(logged[-lines:])

    def wait(
        self,
        dag_id: str,
        run_id: str,
        timeout: float,
        on_progress: Callable[[Run, Sequence[TaskInstance]], None] | None = None,
    ) -> Run:
        """Follow a run until it ends, once a second.

        Args:
            dag_id: the DAG.
            run_id: its run.
            timeout: seconds to wait at most.
            on_progress: called with the run and its tasks each time that a state has changed.

        Returns:
            The run, successful.

        Raises:
            RunFailed: it failed; the message holds the end of the failed tasks' logs.
            TimeoutError: it has not ended in time; the message says what its tasks are doing.
            Unreachable: Airflow has not answered for a while.
        """
        deadline = time.monotonic() + timeout
        seen: list[tuple[str, str | None]] = []
        unanswered = 0
        while True:
            try:
                run, tasks = self.run(dag_id, run_id), self.task_instances(dag_id, run_id)
                unanswered = 0
            except Unreachable:
                unanswered += 1
                if unanswered >= SILENCE:
                    raise
                time.sleep(1)
                continue
            states = [(run.state, None), *((task.task_id, task.state) for task in tasks)]
            if on_progress and states != seen:
                on_progress(run, tasks)
            seen = states
            if run.state == "failed":
                raise RunFailed(run, self._failure(run, tasks))
            if run.state == "success":
                return run
            if time.monotonic() > deadline:
                doing = ", ".join(f"{task.task_id}: {task.state or 'not started'}" for task in tasks)
                raise TimeoutError(f"{dag_id} run {run_id} is {run.state} after {timeout:.0f} s ({doing})")
            time.sleep(1)

    def _failure(self, run: Run, tasks: Sequence[TaskInstance]) -> str:
        failed = [task for task in tasks if task.state in FAILED]
        lines = [f"{run.dag_id} run {run.run_id} failed in {', '.join(task.task_id for task in failed) or 'no task'}"]
        lines += [
            f"--- {task.task_id}, try {task.try_number}\n{self.log_tail(run.dag_id, run.run_id, task)}"
            for task in failed
            if task.state == "failed"
        ]
        return "\n".join(lines)

    def _pages(self, path: str, key: str, **params: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = self._ask("GET", path, params={**params, "limit": 100, "offset": len(found)})
            found += answer[key]
            if not answer[key] or len(found) >= answer["total_entries"]:
                return found

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        if not self._token:
            self._login()
        answer = self._authorized(method, path, **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # the token has run out
            self._login()
            answer = self._authorized(method, path, **request)
        for _ in range(BUSY):
            if not _rolled_back(answer):
                break
            time.sleep(1)
            answer = self._authorized(method, path, **request)
        if answer.is_error:
            raise ApiError(f"{method} {path}: Airflow answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    def _authorized(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return self._send(method, f"/api/v2{path}", headers=headers, **request)

    def _login(self) -> None:
        answer = self._send("POST", "/auth/token", json={"username": self.user, "password": self.password})
        if answer.is_error:
            raise ApiError(f"Airflow at {self.url} refuses the login of {self.user!r}: {answer.status_code}")
        self._token = answer.json()["access_token"]

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **request)
        except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError) as error:
            raise Unreachable(f"Airflow at {self.url} does not answer: {error}; see `make status`") from error


def _rolled_back(answer: httpx.Response) -> bool:
    """Whether Airflow's database failed, as a SQLite file does while another process writes: nothing was changed."""
    return answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and '"Database error"' in answer.text


def _in_path(part: str) -> str:
    return quote(part, safe="")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{_in_path(dag_id)}/dagRuns/{_in_path(run_id)}"


def _run(record: dict[str, Any]) -> Run:
    return Run(
        dag_id=record["dag_id"],
        run_id=record["dag_run_id"],
        state=record["state"],
        run_type=record["run_type"],
        conf=record["conf"] or {},
        queued_at=record["queued_at"],
        start=record["start_date"],
        end=record["end_date"],
        note=record["note"],
    )


def _log_lines(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return [str(entry)]
    lines = [str(entry["event"])] if "::" not in str(entry["event"])[:2] else []
    for error in entry.get("error_detail") or []:
        lines += [f"  {f['filename']}:{f['lineno']} in {f['name']}" for f in error.get("frames", [])]
        lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
    return lines
