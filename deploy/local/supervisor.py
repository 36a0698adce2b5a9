"""The process that holds one stack: it leads the session, starts Airflow's components and waits for them.

The components are forked from here after Airflow has been imported once. Against four `airflow …` commands that takes half
the processor time (14 instead of 27 seconds) and a quarter less memory (610 instead of 820 MB); `airflow standalone` takes
more than either. Started by `deploy.local.stack`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn

from deploy.local.preflight import HOST
from deploy.local.processes import Process, end_session
from deploy.local.state import State

RUNNING, FAILED = "running", "failed"  # phases that others ask for
PATIENCE = 5.0  # seconds that components get to end by themselves

# Log servers are left out: everything runs on this machine, so the web server reads logs from disk.
COMPONENTS: dict[str, Sequence[str]] = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
SHARED_IMPORTS = (
    "airflow.cli.cli_parser",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.dag_processing.manager",
    "airflow.serialization.serialized_objects",
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.execution_api.app",
)


@dataclass
class Supervisor:
    """One stack's processes."""

    state: State
    children: dict[int, str] = field(default_factory=dict)

    def run(self) -> None:
        """Bring everything up and stay until all components have ended or SIGTERM comes."""
        signal.signal(signal.SIGTERM, self._end)
        self._phase("importing Airflow")
        importlib.import_module("airflow.settings")
        migration = self._fork("migrate", ["db", "migrate"])
        for name in SHARED_IMPORTS:
            importlib.import_module(name)
        self._phase("preparing the metadata database")
        while migration in self.children:
            self._collect()
            time.sleep(0.05)
        if self.state.exits["migrate"] != 0:
            self._phase(FAILED)
            return
        # Objects that no collection touches stay in pages that all components share.
        gc.collect()
        gc.freeze()
        for name, command in COMPONENTS.items():
            self._fork(name, command)
        self._phase("waiting for the web server")
        starting = True
        while self.children:
            if starting and _tasks_can_start(self.state.port):
                starting = False
                self._phase(RUNNING)
                # Only now: their start would take the processors from Airflow's.
                self._start_tracking()
                self._start_serving()
            self._collect()
            time.sleep(0.3)

    def _fork(self, name: str, command: Sequence[str]) -> int:
        log = self._log(name)
        pid = os.fork()
        if pid == 0:
            _become_airflow(log, command)
        os.close(log)
        self._started(name, pid)
        return pid

    def _start_tracking(self) -> None:
        if self.state.mlflow_port is None:
            return
        home = self.state.home
        command = [sys.executable, "-m", "deploy.local.tracking", "--port", str(self.state.mlflow_port)]
        command += ["--store", f"sqlite:///{home}/mlflow.db", "--artifacts", str(home / "mlartifacts")]
        self._spawn("mlflow", command)

    def _start_serving(self) -> None:
        if self.state.serving_port is None:
            return
        command = [sys.executable, "-m", "ml", "serve", "--config", str(self.state.config)]
        self._spawn("serving", [*command, "--home", str(self.state.home), "--port", str(self.state.serving_port)])

    def _spawn(self, name: str, command: list[str]) -> None:
        log = self._log(name)
        pid = os.posix_spawn(
            command[0],
            command,
            {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
            setsigdef=[signal.SIGTERM],
        )
        os.close(log)
        self._started(name, pid)

    def _log(self, name: str) -> int:
        return os.open(self.state.home / "logs" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _started(self, name: str, pid: int) -> None:
        self.children[pid] = name
        self.state = self.state.with_component(name, Process.of(pid)).write()

    def _collect(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self.children.pop(pid, None)
            if name:
                code = os.waitstatus_to_exitcode(status)
                print(f"{name} (process {pid}) ended with {code}", flush=True)
                self.state = self.state.with_exit(name, code).write()

    def _phase(self, phase: str) -> None:
        print(phase, flush=True)
        self.state = self.state.in_phase(phase).write()

    def _end(self, *_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        count = end_session(os.getsid(0), PATIENCE, spare=[os.getpid()])
        print(f"ended {count} processes", flush=True)
        os._exit(0)


def _become_airflow(log: int, command: Sequence[str]) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.argv = ["airflow", *command]
    code = 1
    try:
        from airflow.__main__ import main as airflow

        airflow()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - it belongs into this log and must not reach the supervisor
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tasks_can_start(port: int) -> bool:
    """Whether the API that tasks talk to answers.

    Airflow builds it during its first request, which takes longer than a task waits for an answer: without this
    question the first task of a stack loses 10 to 15 seconds to retries.
    """
    with closing(HTTPConnection(HOST, port, timeout=120)) as connection:
        try:
            connection.request("GET", "/execution/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False


def main() -> None:
    """Run one stack; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.supervisor", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the deployment")
    parser.add_argument("--config", type=Path, required=True, help="the deployment file")
    parser.add_argument("--port", type=int, required=True, help="of Airflow's web server")
    parser.add_argument("--mlflow-port", type=int, help="of MLflow's pages; none without it")
    parser.add_argument("--serving-port", type=int, help="of the scoring service; none without it")
    args = parser.parse_args()
    itself = Process.of(os.getpid())
    state = State(args.home, args.config, args.port, args.mlflow_port, args.serving_port, supervisor=itself)
    Supervisor(state.write()).run()


if __name__ == "__main__":
    main()
