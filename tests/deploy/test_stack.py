"""Airflow on this machine: it starts, runs a DAG, tells what went wrong, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from threading import Timer

import httpx
import pytest

from deploy.local.api import Api, RunFailed
from deploy.local.environment import PROJECT, shared_secrets
from deploy.local.preflight import StackError
from deploy.local.processes import Process, session_members
from deploy.local.stack import Stack, main
from deploy.local.state import State

DEMO = PROJECT / "config" / "demo.yaml"
DAGS = """
import os
import subprocess
import sys
import time

import httpx
from airflow.sdk import Connection, dag, get_current_context, task


@dag(schedule=None)
def ingest():
    @task
    def tell():
        run = get_current_context()["dag_run"]
        login = Connection.get("perennial_api")
        url = f"http://{login.host}:{login.port}"
        asked = httpx.post(f"{url}/auth/token", json={"username": login.login, "password": login.password})
        headers = {"Authorization": "Bearer " + asked.json()["access_token"]}
        path = f"{url}/api/v2/dags/ingest/dagRuns/{run.run_id}"
        httpx.patch(path, json={"note": "written by a task"}, headers=headers).raise_for_status()
        code = [name for name in sys.modules if name.startswith("ml.")]
        return {
            "config": os.environ["PERENNIAL_CONFIG"],
            "rows": run.conf["rows"],
            "has": [name for name in ("catboost", "feast", "great_expectations", "mlflow") if name in sys.modules],
            "code": code,
        }

    @task
    def doubled(told):
        return 2 * told["rows"]

    doubled(tell())


@dag(schedule=None, params={"how": "fail"})
def train():
    @task
    def fit(params):
        if params["how"] == "fail":
            raise ValueError("the holdout is empty")
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)

    fit()


ingest()
train()
"""


@pytest.fixture(scope="module")
def stack(start_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "both.py").write_text(DAGS)
    started = start_stack(dags, DEMO)
    with started.api() as api:
        api.unpause("ingest")
        api.unpause("train")
    return started


@pytest.fixture
def api(stack: Stack) -> Api:
    return stack.api()


def test_a_run_is_triggered_followed_and_read(stack: Stack, api: Api) -> None:
    seen: list[dict[str, str | None]] = []
    run_id = api.trigger("ingest", {"rows": 21})
    run = api.wait("ingest", run_id, 120, on_progress=lambda _, tasks: seen.append({t.task_id: t.state for t in tasks}))
    assert (run.state, run.conf, run.note) == ("success", {"rows": 21}, "written by a task")
    assert seen[-1] == {"tell": "success", "doubled": "success"}
    assert [task.task_id for task in api.task_instances("ingest", run_id)] == ["tell", "doubled"]
    assert api.xcom("ingest", run_id, "tell") == {
        "config": str(DEMO),
        "rows": 21,
        "has": ["catboost", "feast", "great_expectations", "mlflow"],
        "code": [],
    }
    assert api.xcom("ingest", run_id, "doubled") == 42
    assert run in api.runs("ingest")


def test_a_failed_run_shows_the_task_and_its_error(api: Api) -> None:
    run_id = api.trigger("train", {"how": "fail"})
    with pytest.raises(RunFailed, match=r"train run .* failed in fit") as failure:
        api.wait("train", run_id, 120)
    assert "ValueError: the holdout is empty" in str(failure.value)
    assert "both.py" in str(failure.value)
    assert failure.value.run.run_id == run_id


def test_a_request_waits_for_a_database_that_another_process_locks(stack: Stack, api: Api) -> None:
    """Ten seconds, twice as long as SQLite waits by default."""
    path = stack.home / "airflow" / "airflow.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:
        database.execute("BEGIN IMMEDIATE")
        Timer(10, database.execute, ["ROLLBACK"]).start()
        run_id = api.trigger("ingest", {"rows": 1})
        assert not database.in_transaction
    assert api.wait("ingest", run_id, 120).state == "success"


def test_a_second_start_changes_nothing(stack: Stack) -> None:
    before = State.read(stack.home)
    assert stack.start() is False
    assert State.read(stack.home) == before


def test_a_start_with_something_else_is_refused(stack: Stack, tmp_path: Path, free_port: int) -> None:
    with pytest.raises(StackError, match=rf"runs with port {stack.port}, asked for {free_port}.*`make stop`"):
        Stack(stack.home, DEMO, free_port).start()
    other = tmp_path / "other.yaml"
    other.write_text(DEMO.read_text())
    with pytest.raises(StackError, match=r"runs with deployment file .*demo\.yaml, asked for .*other\.yaml"):
        Stack(stack.home, other, stack.port).start()


def test_another_stack_cannot_take_its_port(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=f"port {stack.port} of 127.0.0.1 is taken by"):
        Stack(tmp_path / "home", DEMO, stack.port).start()


def test_mlflow_shows_the_deployments_runs(stack: Stack) -> None:
    url = stack.status().mlflow_url
    assert url is not None
    deadline = time.monotonic() + 120
    while True:
        try:
            answer = httpx.post(f"{url}/api/2.0/mlflow/experiments/search", json={"max_results": 5}, timeout=60)
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline, "MLflow does not answer"
            time.sleep(0.5)
    assert answer.json()["experiments"][0]["artifact_location"].startswith(str(stack.home / "mlartifacts"))
    assert (stack.home / "mlflow.db").exists()


def test_nothing_listens_beyond_this_machine(stack: Stack) -> None:
    import psutil

    state = State.read(stack.home)
    assert state is not None
    ours = {process.pid for process in session_members(state.supervisor.pid)}
    sockets = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in ours]
    assert {c.laddr.port for c in sockets} >= {stack.port}
    assert {c.laddr.ip for c in sockets} == {"127.0.0.1"}


def test_no_secret_is_in_a_log_or_an_argument(stack: Stack) -> None:
    secrets = asdict(shared_secrets(stack.home / "airflow"))
    logs = [file for folder in (stack.home / "logs", stack.home / "airflow" / "logs") for file in folder.rglob("*.log")]
    assert {"supervisor.log", "api-server.log", "scheduler.log"} <= {file.name for file in logs}
    told = {file: file.read_text(errors="replace") for file in logs}
    assert not [(file, name) for file, text in told.items() for name, secret in secrets.items() if secret in text]
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [name for name, secret in secrets.items() if secret in arguments]


# The tests from here to the end of the fixture take the stack down, step by step.


def test_a_dead_component_is_told_with_its_log(stack: Stack) -> None:
    state = State.read(stack.home)
    assert state is not None
    os.kill(state.components["triggerer"].pid, 9)
    while state.components["triggerer"].alive:
        time.sleep(0.05)
    with pytest.raises(StackError, match=r"triggerer has died.*:\n--- end of .*triggerer\.log"):
        stack.wait_ready()
    while stack.status().dead == {"triggerer": None}:
        time.sleep(0.1)
    assert stack.status().dead == {"triggerer": -9}


def test_start_mends_it_and_ends_all_of_the_old_also_what_a_task_started(stack: Stack, api: Api) -> None:
    run_id = api.trigger("train", {"how": "stay"})
    before = State.read(stack.home)
    assert before is not None
    deadline = time.monotonic() + 60
    while not [p for p in session_members(before.supervisor.pid) if _name(p) == "sleep"]:
        assert time.monotonic() < deadline, api.task_instances("train", run_id)
        time.sleep(0.3)
    members = session_members(before.supervisor.pid)
    said: list[str] = []
    stack.say = said.append
    assert stack.start() is True
    assert said[0] == "triggerer has died; starting everything again"
    assert not [process for process in members if process.alive]
    after = State.read(stack.home)
    assert after is not None
    assert after.supervisor != before.supervisor


def test_stop_leaves_nothing(stack: Stack) -> None:
    state = State.read(stack.home)
    assert state is not None
    assert stack.status().running
    assert stack.stop() > 0
    assert session_members(state.supervisor.pid) == set()
    assert not stack.status().running
    assert stack.stop() == 0


def _name(process: Process) -> str:
    import psutil

    try:
        return psutil.Process(process.pid).name()
    except psutil.NoSuchProcess:
        return ""


def left_behind(home: Path, supervisor: Process) -> None:
    (home / "airflow").mkdir(parents=True)
    State(home, DEMO, 8080, None, None, supervisor=supervisor, phase="running").write()


def test_a_state_left_by_a_crash_does_not_touch_the_process_that_has_its_id_now(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        left_behind(tmp_path, Process(stranger.pid, Process.of(stranger.pid).started - 86400))
        stack = Stack(tmp_path, DEMO)
        assert stack.status().running is False
        assert stack.stop() == 0
        assert stranger.poll() is None
        assert State.read(tmp_path) is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_state_left_by_a_crash_does_not_keep_from_starting(tmp_path: Path, free_port: int) -> None:
    left_behind(tmp_path, Process(2**22 + 1, 1.0))
    with socket.create_server(("127.0.0.1", free_port)), pytest.raises(StackError, match=f"port {free_port}"):
        Stack(tmp_path, DEMO, free_port).start()


@pytest.mark.parametrize("text", ["", "4711", '{"port": 8080}', "[]"])
def test_a_state_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "airflow").mkdir()
    State.path(tmp_path).write_text(text)
    assert State.read(tmp_path) is None
    assert Stack(tmp_path, DEMO).stop() == 0


def test_a_state_survives_being_written_and_read(tmp_path: Path) -> None:
    left_behind(tmp_path, Process(4711, 1.25))
    state = State.read(tmp_path)
    assert state is not None
    full = state.with_component("scheduler", Process(4712, 2.5)).with_exit("scheduler", -9).write()
    assert State.read(tmp_path) == full
    assert full.dead == {"scheduler": -9}


def test_waiting_for_what_was_not_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="not running; start it"):
        Stack(tmp_path, DEMO).wait_ready(timeout=1)


def test_the_command_line_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "--config", str(tmp_path / "none.yaml")]) == 1
    assert "no such file" in capsys.readouterr().err
    config = tmp_path / "here.yaml"
    config.write_text(DEMO.read_text().replace("home: var/demo", f"home: {json.dumps(str(tmp_path / 'home'))}"))
    assert main(["stop", "--config", str(config)]) == 0
    assert main(["status", "--config", str(config)]) == 0
    assert capsys.readouterr().out == f"nothing was running\n{tmp_path / 'home'}: not running\n"
    assert not (tmp_path / "home").exists()
