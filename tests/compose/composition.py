"""The composition of docker-compose.yaml under test: built, started, asked and taken down."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from deploy.compose import secrets_file
from deploy.local.api import Api, ApiError
from deploy.local.preflight import HOST, free_port
from ml.config import PROJECT
from tests import deployments
from tests.compose import images
from tests.compose.engine import Engine, run

NAME = "perennialtest"
HOME = "/srv/perennial/var"
CONFIG = f"{HOME}/tested.yaml"
ONCE = {"airflow-migrate", "migrate", "s3-bucket"}
PROFILES = {"s3"}
HEALTHY_WITHIN, READY_WITHIN = 900, 300
NEVER = "0 0 29 2 *"
WEAK, STRONG = 4, 40
"""Trees of a first champion, and of one that is better for certain."""
EVENTS = 400
PLAN = {
    "steps": [{"share": 0, "requests": EVENTS, "hours": 0}],
    "guardrails": {"latency": {"value": 1000, "unit": "milliseconds", "reason": "a busy test machine"}},
}


@dataclass(frozen=True)
class Composition:
    """A running composition.

    Parameters:
        engine: where it runs.
        secrets: its `.env`.
        variables: everything that docker-compose.yaml takes from the environment, the secrets among it.
    """

    engine: Engine
    secrets: dict[str, str] = field(repr=False)
    variables: dict[str, str] = field(repr=False)

    def compose(self, *words: str, stdin: bytes | None = None, timeout: float = 3600) -> str:
        """Run a command of Compose and return what it printed."""
        command = [*self.engine.compose, "-p", NAME, "--project-directory", str(PROJECT), *words]
        return run(command, self.engine.environ | self.variables, stdin, timeout)

    def container(self, service: str) -> str:
        """The id of a service's container."""
        (found,) = self.compose("ps", "-q", service).split()
        return found

    def within(self, service: str, *words: str, stdin: bytes = b"") -> str:
        """Run a command in a service's container and return what it printed."""
        return self.engine.docker("exec", "-i", self.container(service), *words, stdin=stdin)

    def url(self, service: str) -> str:
        """The address at which this machine reaches a service."""
        return f"http://{HOST}:{self.variables[f'{service.upper()}_PORT']}"

    def api(self) -> Api:
        """A client of Airflow as its administrator."""
        return Api(self.url("airflow"), "admin", self.secrets["AIRFLOW_ADMIN_PASSWORD"])

    def held(self) -> dict[str, Any]:
        """What the servers hold, see `tests/compose/inside.py`."""
        told: dict[str, Any] = json.loads(
            self.within("airflow-scheduler", "python", "-", stdin=(Path(__file__).parent / "inside.py").read_bytes())
        )
        return told

    def write_deployment(self, iterations: int) -> None:
        """Put the deployment file into the volume that all services share."""
        write = ("run", "--rm", "-T", "--no-deps", "migrate", "sh", "-c", f"cat > {CONFIG}.draft && mv {CONFIG}.draft {CONFIG}")
        self.compose(*write, stdin=told(iterations).encode())

    def feed(self, until: Any) -> None:
        """Let the files of all days up to one land."""
        self.within("airflow-scheduler", "python", "-m", "ml", "feed", "--config", CONFIG, "--until", str(until))

    def states(self) -> dict[str, str]:
        """How each service is: healthy, or the state of its container."""
        found = {}
        for container in self.compose("ps", "-q").split():
            told = json.loads(self.engine.docker("inspect", container))[0]
            state = told["State"]
            found[told["Config"]["Labels"]["com.docker.compose.service"]] = state.get("Health", {}).get(
                "Status", state["Status"]
            )
        return found

    def crash(self, service: str) -> None:
        """Kill all processes of a container at once, as a lost machine would; the engine starts it again."""
        told = json.loads(self.engine.docker("inspect", self.container(service)))[0]
        image = self.variables["PERENNIAL_AIRFLOW_IMAGE"]
        words = ["run", "--rm", "--user", "0", "--privileged", "--pid", "host", image, "sh", "-c"]
        self.engine.docker(*words, f"kill -9 {told['State']['Pid']}")


def told(iterations: int) -> str:
    """A small bank on all servers of docker-compose.yaml, its lake and artifacts in the object store."""
    servers = yaml.safe_load((PROJECT / "config" / "compose.yaml").read_text())
    found = deployments.small_told() | {key: value for key, value in servers.items() if key != "extends"}
    found["feed"] |= deployments.MORE_FRAUDS
    found["training"]["model"]["iterations"] = iterations
    found["schedule"]["train"] = NEVER
    return yaml.safe_dump(
        found | {"artifacts": "s3://perennial/fraud", "lake_uri": "s3://perennial/fraud/lake", "release": PLAN}
    )


@contextmanager
def started(engine: Engine, say: Callable[[str], None]) -> Iterator[Composition]:
    """Build the images, start everything, and wait until all is healthy; taken down with its volumes at the end."""
    with TemporaryDirectory(prefix="perennial-secrets-") as folder:
        secrets_file.write(Path(folder) / ".env")
        lines = (Path(folder) / ".env").read_text().splitlines()
    secrets = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    ports = {f"{each}_PORT": str(free_port()) for each in ("AIRFLOW", "MLFLOW", "SERVING", "PROMETHEUS")}
    own = {"BUILD_NETWORK": "host", "COMPOSE_PROFILES": ",".join(PROFILES), "PERENNIAL_CONFIG": CONFIG}
    ours = {f"PERENNIAL_{name}_IMAGE": f"perennial-{name.lower()}:tested" for name in ("AIRFLOW", "SERVING")}
    made = Composition(engine, secrets, secrets | ports | own | ours | images.prepare(engine, say))
    say("base images are there")
    made.compose("down", "-v", "--remove-orphans")
    for service, image in (("migrate", "serving"), ("airflow-migrate", "airflow")):
        made.compose("build", service)
        size = int(engine.docker("image", "inspect", "-f", "{{.Size}}", f"perennial-{image}:tested"))
        say(f"image {image} is built: {size / 1e9:.2f} GB")
    try:
        made.write_deployment(WEAK)
        made.compose("up", "-d")
        say("containers are started")
        _wait_healthy(made)
        say("all services are healthy")
        yield made
    finally:
        made.compose("down", "-v", "--timeout", "20")
        say("taken down")


def _wait_healthy(made: Composition) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN
    file = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
    services = {name for name, told in file["services"].items() if set(told.get("profiles", PROFILES)) & PROFILES} - ONCE
    while True:
        states = made.states()
        expected = {name: "running" if name == "s3" else "healthy" for name in services}
        waiting = {name: states.get(name, "absent") for name in services if states.get(name) != expected[name]}
        if not waiting:
            return
        if time.monotonic() > deadline:
            logs = made.compose("logs", "--tail", "40", *waiting)
            raise TimeoutError(f"after {HEALTHY_WITHIN} s still {waiting}\n{logs}")
        time.sleep(2)


def until(question: Callable[[], Any], what: str, seconds: float = READY_WITHIN) -> Any:
    """Ask until the answer is true, and return it; who does not answer is asked again."""
    deadline, error = time.monotonic() + seconds, ""
    while True:
        try:
            if answer := question():
                return answer
        except (ApiError, OSError) as failed:
            error = f" ({failed})"
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}{error}"
        time.sleep(1)


def status(url: str, **headers: str) -> int:
    """The HTTP status of an address."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
