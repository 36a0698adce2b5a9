"""The environment in which Airflow runs on one machine: settings, secrets and silence towards vendors."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.preflight import HOST
from ml import TELEMETRY_OFF

PROJECT = Path(__file__).resolve().parents[2]
USER = "admin"


@dataclass(frozen=True)
class Secrets:
    """What the components of one stack share and nobody else may read; never shown by `repr`."""

    fernet_key: str = field(repr=False)
    api_secret_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    password: str = field(repr=False)


def passwords_file(airflow_home: Path) -> Path:
    """The simple auth manager's file: JSON, user to password."""
    return airflow_home / "passwords.json"


def shared_secrets(airflow_home: Path) -> Secrets:
    """Read the secrets of a stack; made at random the first time, readable for their owner only."""
    keys = _private_json(
        airflow_home / "secrets.json",
        lambda: {
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api_secret_key": secrets.token_urlsafe(64),
            "jwt_secret": secrets.token_urlsafe(64),
        },
    )
    passwords = _private_json(passwords_file(airflow_home), lambda: {USER: secrets.token_urlsafe(12)})
    return Secrets(**keys, password=passwords[USER])


def environment(home: Path, config: Path, port: int, dags_folder: Path, title: str) -> dict[str, str]:
    """All variables of the stack's processes.

    Settings of Airflow in the caller's environment are dropped, for one left over from another installation would
    point this stack at that installation's database; connections and variables (`AIRFLOW_CONN_*`, `AIRFLOW_VAR_*`) stay.

    Args:
        home: folder of the deployment; Airflow's own is `home/airflow`.
        config: the deployment file, absolute.
        port: of Airflow's web server and API on 127.0.0.1.
        dags_folder: folder of the DAG files.
        title: shown in the web UI's header.
    """
    airflow_home = home / "airflow"
    known = shared_secrets(airflow_home)
    url = f"http://{HOST}:{port}"
    scripts = str(Path(sys.executable).parent)
    own = ("AIRFLOW_CONN_", "AIRFLOW_VAR_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_") or k.startswith(own)}
    unproxied = [*filter(None, kept.get("NO_PROXY", kept.get("no_proxy", "")).split(",")), HOST, "localhost"]
    login = {"conn_type": "http", "host": HOST, "port": port, "login": USER, "password": known.password, "schema": "http"}
    return {
        **kept,
        **TELEMETRY_OFF,
        "PATH": os.pathsep.join([scripts, kept.get("PATH", os.defpath)]),
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "NO_PROXY": ",".join(unproxied),
        "no_proxy": ",".join(unproxied),
        # Components are forked; Apple's runtime ends a forked child unless this is set.
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        "PERENNIAL_CONFIG": str(config),
        "AIRFLOW_CONN_PERENNIAL_API": json.dumps(login),
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__INSTANCE_NAME": title,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": known.api_secret_key,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": known.jwt_secret,
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": known.fernet_key,
        # Looking up the full name asks a name server, for seconds where there is none; logs are read from disk anyway.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(airflow_home)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        # A file that changes is read again at once; one that stays as it is costs seconds of a processor each time.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home}/airflow.db",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "deploy.local.sqlite.CONNECT",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC": "deploy.local.sqlite.CONNECT_ASYNC",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(airflow_home / "logs"),
        # Tasks are forked from a process that has imported their libraries and done nothing else.
        "AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD": "deploy.preload",
        "AIRFLOW__SCHEDULER__MP_START_METHOD": "forkserver",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # When a busy machine misses the end of a task's output, the task counts as running for so long: 60 seconds by default.
        "AIRFLOW__WORKERS__SOCKET_CLEANUP_TIMEOUT": "5",
    }


def _private_json(path: Path, make: Callable[[], dict[str, str]]) -> dict[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    if not path.exists():
        write_private(path, json.dumps(make()))
    path.chmod(0o600)
    found: dict[str, str] = json.loads(path.read_text())
    return found


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path` in one step, readable for its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)
