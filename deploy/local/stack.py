"""Airflow on one machine for one deployment: start it, wait for it, ask it, stop it.

`home/airflow` holds Airflow's database, secrets and task logs; `home/logs` what its components say. Nothing listens on
another address than 127.0.0.1.
"""

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import preflight
from deploy.local.api import Api, ApiError, Unreachable
from deploy.local.environment import PROJECT, USER, environment, shared_secrets
from deploy.local.preflight import HOST, StackError
from deploy.local.processes import end_session, session_members
from deploy.local.state import State
from deploy.local.supervisor import FAILED, PATIENCE, RUNNING
from ml.config import Config, ConfigError, load

DAG_IDS = ("ingest", "maintain", "messages", "monitor", "score", "train", "watch")
MLFLOW_PORT, SERVING_PORT = 5000, 8000
HEALTH = {"scheduler": "scheduler", "dag_processor": "DAG processor", "triggerer": "triggerer"}


@dataclass(frozen=True)
class Status:
    """What runs.

    Attributes:
        running: whether anything of the stack runs.
        dead: Airflow components that have ended although the stack was not stopped, with their exit code where known.
        url: of Airflow's pages.
        mlflow_url: of MLflow's pages, None when the deployment uses a server elsewhere.
        serving_url: of the scoring service, None when none was asked for.
    """

    running: bool
    dead: dict[str, int | None]
    url: str
    mlflow_url: str | None
    serving_url: str | None


class Stack:
    """Airflow for one deployment, on this machine, with SQLite and the LocalExecutor.

    Args:
        home: folder of the deployment; made when it is not there.
        config_path: the deployment file, or a folder of several.
        port: of Airflow's pages and API on 127.0.0.1.
        dags_folder: folder of the DAG files.
        say: receives a sentence each time that something happens.
        serves: whether the scoring service of the deployment is started too.
    """

    def __init__(
        self,
        home: Path,
        config_path: Path,
        port: int = 8080,
        dags_folder: Path = PROJECT / "dags",
        say: Callable[[str], None] = print,
        serves: bool = False,
    ) -> None:
        self.home = home.resolve()
        self.config_path = config_path.resolve()
        self.port = port
        self.dags_folder = dags_folder.resolve()
        self.say = say
        self.serves = serves

    @property
    def url(self) -> str:
        """Airflow's pages."""
        state = State.read(self.home)
        return f"http://{HOST}:{state.port if state else self.port}"

    @property
    def password(self) -> str:
        """The password of `admin`."""
        return shared_secrets(self.home / "airflow").password

    def api(self) -> Api:
        """A client that is logged in as `admin`."""
        return Api(self.url, USER, self.password)

    def status(self) -> Status:
        """What runs at this moment, from the processes themselves."""
        state = State.read(self.home)
        if state is None or not _members(state):
            return Status(False, {}, self.url, None, None)
        dead = dict(state.dead)
        if not state.supervisor.alive:
            dead["supervisor"] = None
        mlflow, serving = (f"http://{HOST}:{port}" if port else None for port in (state.mlflow_port, state.serving_port))
        return Status(True, dead, self.url, mlflow, serving)

    def start(self) -> bool:
        """Start the stack in the background and return without waiting for it; see `wait_ready`.

        A stack that runs is left alone; one of which a component has died is stopped and started again; what a crash or a
        reboot left behind is cleared away.

        Returns:
            Whether anything was started.

        Raises:
            StackError: the port is taken, the folder cannot be used, or the stack runs on another port or with another
                deployment file.
            ConfigError: the deployment file cannot be used.
        """
        config = None if self.config_path.is_dir() else load(self.config_path)
        preflight.check_home(self.home)
        title = f"Perennial: {config.name}" if config else "Perennial"
        environ = environment(self.home, self.config_path, self.port, self.dags_folder, title)
        with self._locked():
            state = State.read(self.home)
            if state is not None and _members(state):
                if state.supervisor.alive and not state.dead:
                    self._must_match(state)
                    self.say(f"already running at {self.url}")
                    return False
                self.say(f"{', '.join(state.dead) or 'the supervisor'} has died; starting everything again")
                self._stop(state)
            preflight.check_port(self.port)
            if warning := preflight.memory_warning():
                self.say(warning)
            self._launch(environ, _mlflow_port(config) if config else None, _port(SERVING_PORT) if self.serves else None)
        return True

    def wait_ready(self, timeout: float = 180, dag_ids: Sequence[str] = DAG_IDS) -> None:
        """Wait until all components are healthy and these DAGs have been parsed since the start.

        Raises:
            StackError: the stack is not running; a component died (with the end of its log); one of these DAGs is missing and a
                DAG file cannot be imported (with the traceback); it takes longer than `timeout` seconds (with what is missing).
        """
        begun = time.monotonic()
        said = ""
        with self.api() as api:
            while True:
                state = self._running()
                missing = self._missing(state, api, dag_ids)
                if not missing:
                    self.say(f"ready at {self.url} after {time.monotonic() - begun:.0f} s")
                    return
                if missing != said:
                    self.say(missing)
                    said = missing
                if time.monotonic() - begun > timeout:
                    raise StackError(f"not ready after {timeout:.0f} s: {missing}; the logs are in {self.home / 'logs'}")
                time.sleep(0.5)

    def stop(self) -> int:
        """End every process of the stack, the running tasks too.

        Returns:
            How many processes were ended; 0 when nothing ran.

        Raises:
            StackError: it belongs to another user, or a process does not end.
        """
        if not State.path(self.home).parent.is_dir():
            return 0
        with self._locked():
            state = State.read(self.home)
            return self._stop(state) if state else 0

    def _launch(self, environ: dict[str, str], mlflow_port: int | None, serving_port: int | None) -> None:
        logs = self.home / "logs"
        logs.mkdir(exist_ok=True)
        for old in logs.glob("*.log"):
            old.replace(old.with_suffix(".log.1"))
        command = [sys.executable, "-m", "deploy.local.supervisor", "--home", str(self.home)]
        command += ["--config", str(self.config_path), "--port", str(self.port)]
        if mlflow_port:
            command += ["--mlflow-port", str(mlflow_port)]
            environ = environ | {"PERENNIAL_MLFLOW_URL": f"http://{HOST}:{mlflow_port}"}
        if serving_port:
            command += ["--serving-port", str(serving_port)]
        with (logs / "supervisor.log").open("wb") as log:
            supervisor = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while (state := State.read(self.home)) is None or state.supervisor.pid != supervisor.pid:
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"the supervisor does not come up:\n{_tail(logs / 'supervisor.log')}")
            time.sleep(0.05)
        self.say(f"starting Airflow at {self.url} (process {supervisor.pid}, logs in {logs})")

    def _stop(self, state: State) -> int:
        members = _members(state)
        if members:
            self.say(f"stopping {len(members)} processes")
            if state.supervisor.alive:
                os.kill(state.supervisor.pid, signal.SIGTERM)
                deadline = time.monotonic() + PATIENCE + 2
                while state.supervisor.alive and time.monotonic() < deadline:
                    time.sleep(0.1)
            end_session(state.supervisor.pid, patience=1)
        State.path(self.home).unlink(missing_ok=True)
        return len(members)

    def _must_match(self, state: State) -> None:
        for what, now, asked, remedy in (
            ("port", state.port, self.port, f"use PORT={state.port}"),
            ("deployment file", state.config, self.config_path, "give each deployment a `home:` of its own"),
        ):
            if now != asked:
                raise StackError(
                    f"the stack in {self.home} runs with {what} {now}, asked for {asked}; end it with `make stop`, or {remedy}"
                )

    def _running(self) -> State:
        state = State.read(self.home)
        if state is None:
            raise StackError("the stack is not running; start it with `make demo`")
        if state.phase == FAILED:
            raise StackError(f"the metadata database cannot be prepared:\n{_tail(self.home / 'logs' / 'migrate.log')}")
        if state.dead:
            name, code = next(iter(state.dead.items()))
            raise StackError(f"{name} has died{_told(code)}:\n{_tail(self.home / 'logs' / f'{name}.log')}")
        if not state.supervisor.alive:
            raise StackError(f"the supervisor has died:\n{_tail(self.home / 'logs' / 'supervisor.log')}")
        return state

    def _missing(self, state: State, api: Api, dag_ids: Sequence[str]) -> str:
        if state.phase != RUNNING:
            return state.phase
        started = dt.datetime.fromtimestamp(state.supervisor.started, dt.UTC)
        try:
            health = api.health()
            late = [name for key, name in HEALTH.items() if not _healthy(health[key], f"latest_{key}_heartbeat", started)]
            if late:
                return f"waiting for the {', '.join(late)}"
            parsed = {dag_id for dag_id, when in api.dags().items() if _since(when, started)}
            unparsed = [dag_id for dag_id in dag_ids if dag_id not in parsed]
            for file, (found_at, traceback) in api.import_errors().items() if unparsed else ():
                if _since(found_at, started):
                    raise StackError(f"{file} cannot be imported:\n{traceback}")
        except Unreachable:
            return "waiting for the web server"
        except ApiError as error:
            return str(error)
        return f"waiting for the DAG {', '.join(unparsed)}" if unparsed else ""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = State.path(self.home).with_name(".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:
            raise StackError(f"{path.parent} belongs to another user; use the user that started the stack") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def stop_all(root: Path, say: Callable[[str], None] = print) -> int:
    """Stop every stack whose home lies directly in `root`; returns how many processes were ended."""
    homes = [file.parent.parent for file in root.glob("*/airflow/stack.json")]
    return sum(Stack(home, home, say=say).stop() for home in homes)


def _members(state: State) -> list[int]:
    """Ids of the stack's running processes; none when its session id has gone to a stranger."""
    known = [state.supervisor, *state.components.values()]
    if not any(process.alive for process in known):
        return []
    return sorted(process.pid for process in session_members(state.supervisor.pid))


def _mlflow_port(config: Config) -> int | None:
    return _port(MLFLOW_PORT) if config.mlflow_uri is None else None


def _port(usual: int) -> int:
    """The usual port if it is free, else another one."""
    return usual if preflight.port_error(usual) is None else preflight.free_port()


def _healthy(component: dict[str, str | None], heartbeat: str, started: dt.datetime) -> bool:
    return component["status"] == "healthy" and _since(component[heartbeat], started)


def _since(when: str | None, started: dt.datetime) -> bool:
    """Whether it happened after the start; the database remembers heartbeats and parsings from before."""
    return when is not None and dt.datetime.fromisoformat(when) >= started


def _told(code: int | None) -> str:
    return "" if code is None else f" with exit code {code}"


def _tail(log: Path, lines: int = 30) -> str:
    try:
        logged = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return f"({log} was not written)"
    return "\n".join([f"--- end of {log}", *logged[-lines:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m deploy.local.stack`; see `--help`. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.stack", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "stop-all", "status"], help="stop-all: every stack in var/")
    parser.add_argument("--config", type=Path, default=PROJECT / "config" / "demo.yaml", help="the deployment file")
    parser.add_argument("--port", type=int, default=8080, help="of Airflow's pages on 127.0.0.1 (default: 8080)")
    args = parser.parse_args(arguments)
    try:
        if args.command == "stop-all":
            print(f"ended {stop_all(PROJECT / 'var')} processes")
            return 0
        stack = Stack(load(args.config).home, args.config, args.port, serves=True)
        if args.command == "stop":
            ended = stack.stop()
            print(f"ended {ended} processes" if ended else "nothing was running")
            return 0
        if args.command == "start":
            stack.start()
            stack.wait_ready()
        _print_status(stack)
    except (StackError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_status(stack: Stack) -> None:
    status = stack.status()
    if not status.running:
        print(f"{stack.home}: not running")
        return
    print(f"{stack.home}: running")
    print(f"  Airflow  {status.url}  (user {USER}, password in {stack.home / 'airflow' / 'passwords.json'})")
    if status.mlflow_url:
        print(f"  MLflow   {status.mlflow_url}")
    if status.serving_url:
        print(f"  scores   {status.serving_url}  (see docs/serving.md)")
    for name, code in status.dead.items():
        print(f"  {name} has died{_told(code)}; see {stack.home / 'logs'}; starting again mends it")


if __name__ == "__main__":
    sys.exit(main())
