"""When the stack counts as ready: only what happened since the start counts."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from os import getpid
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.local.api import BUSY, SILENCE, Api, ApiError, Unreachable
from deploy.local.environment import PROJECT
from deploy.local.preflight import StackError
from deploy.local.processes import Process
from deploy.local.stack import DAG_IDS, Stack
from deploy.local.state import State

NOW = dt.datetime.now(dt.UTC)
BEFORE, SINCE = ((NOW + dt.timedelta(seconds=s)).isoformat() for s in (-3600, 3600))

OPEN = ("/auth/token", "/api/v2/monitor/health")


class Airflow:
    """Answers as Airflow does, with what a test puts in."""

    def __init__(self, port: int) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "/auth/token": (201, {"access_token": "good"}),
            "/api/v2/monitor/health": (200, {}),
            "/api/v2/importErrors": (200, {"import_errors": [], "total_entries": 0}),
            "/api/v2/dags": (200, {"dags": [], "total_entries": 0}),
        }
        self.beats(SINCE)
        self.parsed(**dict.fromkeys(DAG_IDS, SINCE))
        self.silent = 0  # requests that get no answer
        self.locked = 0  # requests on which the database fails
        answers, airflow = self.answers, self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if airflow.silent > 0:
                    airflow.silent -= 1
                    return
                path = urlsplit(self.path).path
                code, body = answers[path]
                if path not in OPEN and self.headers["Authorization"] != "Bearer good":
                    code, body = 401, {"detail": "Token Expired"}
                elif path not in OPEN and airflow.locked > 0:
                    airflow.locked -= 1
                    code, body = 500, {"detail": {"reason": "Database error"}}
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(code)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", port), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def beats(self, scheduler: str, triggerer: str = SINCE) -> None:
        self.answers["/api/v2/monitor/health"] = (
            200,
            {
                "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": scheduler},
                "triggerer": {"status": "healthy", "latest_triggerer_heartbeat": triggerer},
                "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": SINCE},
            },
        )

    def parsed(self, **when: str) -> None:
        dags = [{"dag_id": dag_id, "last_parsed_time": time} for dag_id, time in when.items()]
        self.answers["/api/v2/dags"] = (200, {"dags": dags, "total_entries": len(dags)})

    def has_run(self, state: str) -> None:
        run = {"dag_id": "train", "dag_run_id": "r", "state": state, "run_type": "manual", "conf": None, "note": None}
        times = {"queued_at": SINCE, "start_date": SINCE, "end_date": None}
        self.answers["/api/v2/dags/train/dagRuns/r"] = (200, run | times)
        none: dict[str, Any] = {"task_instances": [], "total_entries": 0}
        self.answers["/api/v2/dags/train/dagRuns/r/taskInstances"] = (200, none)

    def cannot_import(self, file: str, traceback: str, found_at: str) -> None:
        error = {"filename": file, "stack_trace": traceback, "timestamp": found_at}
        self.answers["/api/v2/importErrors"] = (200, {"import_errors": [error], "total_entries": 1})


@pytest.fixture
def airflow(free_port: int) -> Iterator[Airflow]:
    fake = Airflow(free_port)
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def stack(tmp_path: Path, free_port: int) -> Stack:
    (tmp_path / "airflow").mkdir()
    State(tmp_path, PROJECT / "config" / "demo.yaml", free_port, None, None, Process.of(getpid()), "running").write()
    return Stack(tmp_path, PROJECT / "config" / "demo.yaml", free_port)


def test_it_is_ready_when_all_beat_and_all_dags_are_parsed(airflow: Airflow, stack: Stack) -> None:
    stack.wait_ready(timeout=5)


def test_a_heartbeat_of_an_earlier_scheduler_does_not_count(airflow: Airflow, stack: Stack) -> None:
    airflow.beats(scheduler=BEFORE)
    with pytest.raises(StackError, match=r"not ready after 0 s: waiting for the scheduler; the logs are in"):
        stack.wait_ready(timeout=0)


@pytest.mark.parametrize("train", [{}, {"train": BEFORE}])
def test_a_dag_must_have_been_parsed_since_the_start(airflow: Airflow, stack: Stack, train: dict[str, str]) -> None:
    airflow.parsed(**{dag_id: SINCE for dag_id in DAG_IDS if dag_id != "train"}, **train)
    with pytest.raises(StackError, match="waiting for the DAG train"):
        stack.wait_ready(timeout=0)


def test_an_import_error_is_raised_with_its_traceback_while_a_dag_is_missing(airflow: Airflow, stack: Stack) -> None:
    airflow.parsed(**{dag_id: SINCE for dag_id in DAG_IDS if dag_id != "train"})
    airflow.cannot_import("train.py", "ModuleNotFoundError: No module named 'ml.training'", SINCE)
    with pytest.raises(StackError, match=r"train\.py cannot be imported:\nModuleNotFoundError: No module named"):
        stack.wait_ready(timeout=5)


def test_an_import_error_beside_all_dags_harms_none_of_them(airflow: Airflow, stack: Stack) -> None:
    airflow.cannot_import("broken_deployments.py", "ValueError: loans.yaml is broken", SINCE)
    stack.wait_ready(timeout=5)


def test_an_import_error_from_before_is_not(airflow: Airflow, stack: Stack) -> None:
    airflow.cannot_import("train.py", "SyntaxError", BEFORE)
    stack.wait_ready(timeout=5)


def test_a_refusal_names_the_request_and_the_answer(airflow: Airflow, stack: Stack) -> None:
    airflow.answers["/api/v2/dags"] = (403, {"detail": "Forbidden"})
    with stack.api() as api, pytest.raises(ApiError, match=r"GET /dags: Airflow answered 403: .*Forbidden"):
        api.dags()


def test_a_token_that_ran_out_is_replaced(airflow: Airflow, stack: Stack) -> None:
    with stack.api() as api:
        api._token = "expired"
        assert set(api.dags()) == set(DAG_IDS)


def test_a_wrong_password_is_told_with_the_user(airflow: Airflow, stack: Stack) -> None:
    airflow.answers["/auth/token"] = (401, {})
    with Api(stack.url, "admin", "wrong") as api, pytest.raises(ApiError, match="refuses the login of 'admin'"):
        api.dags()


def test_lists_are_read_to_their_end(airflow: Airflow, stack: Stack) -> None:
    page = [{"dag_id": str(i), "last_parsed_time": None} for i in range(100)]
    airflow.answers["/api/v2/dags"] = (200, {"dags": page, "total_entries": 300})
    with stack.api() as api:
        assert len(api._pages("/dags", "dags")) == 300


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.api.time.sleep", lambda _: None)


def test_a_request_that_the_database_rolled_back_is_sent_again(airflow: Airflow, stack: Stack, impatient: None) -> None:
    airflow.locked = BUSY
    with stack.api() as api:
        assert set(api.dags()) == set(DAG_IDS)


def test_a_database_that_stays_locked_is_told(airflow: Airflow, stack: Stack, impatient: None) -> None:
    airflow.locked = BUSY + 1
    with stack.api() as api, pytest.raises(ApiError, match=r"GET /dags: Airflow answered 500: .*Database error"):
        api.dags()


def test_a_moment_of_silence_does_not_end_the_waiting(airflow: Airflow, stack: Stack, impatient: None) -> None:
    airflow.has_run("success")
    airflow.silent = SILENCE - 1
    with stack.api() as api:
        assert api.wait("train", "r", timeout=60).state == "success"


def test_a_long_silence_does(airflow: Airflow, stack: Stack, impatient: None) -> None:
    airflow.has_run("success")
    airflow.silent = SILENCE
    with stack.api() as api, pytest.raises(Unreachable, match=r"does not answer: .*; see `make status`"):
        api.wait("train", "r", timeout=60)


def test_a_run_that_takes_too_long_is_told_with_its_state(airflow: Airflow, stack: Stack) -> None:
    airflow.has_run("running")
    with stack.api() as api, pytest.raises(TimeoutError, match="train run r is running after 0 s"):
        api.wait("train", "r", timeout=0)
