"""A Docker engine and Compose for the tests of docker-compose.yaml: the machine's own, or one that is started here."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGES = ("docker.io", "docker-compose", "mmdebstrap")
STARTED_WITHIN = 90


class NoEngine(RuntimeError):
    """No engine can be had on this machine; the message says what was tried."""


class CommandFailed(RuntimeError):
    """A command ended with another exit code than 0; the message has the end of what it printed."""


@dataclass(frozen=True)
class Engine:
    """An engine: its address (empty for the default one), and the command of Compose."""

    host: str
    compose: tuple[str, ...]

    @property
    def environ(self) -> dict[str, str]:
        """Variables for commands that ask it; images are built by the builder that every version of the engine has."""
        return (
            os.environ
            | {"DOCKER_BUILDKIT": "0", "COMPOSE_HTTP_TIMEOUT": "600"}
            | ({"DOCKER_HOST": self.host} if self.host else {})
        )

    def docker(self, *words: str, stdin: bytes | None = None, timeout: float = 1800) -> str:
        """Run a command of docker and return what it printed."""
        return run(["docker", *words], self.environ, stdin, timeout)


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine until the end of the block. One that was started here is stopped then, and its images are deleted.

    Raises:
        NoEngine: there is none, and none can be installed or started.
    """
    if _answers(""):
        yield Engine("", _compose())
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoEngine("no Docker engine answers, and without root and apt-get none can be installed")
    _install()
    with TemporaryDirectory(prefix="perennial-engine-") as folder, _started(Path(folder)) as host:
        yield Engine(host, _compose())


def run(words: Sequence[str], environ: dict[str, str], stdin: bytes | None = None, timeout: float = 1800) -> str:
    """Run a command and return what it printed.

    Raises:
        CommandFailed: its exit code is not 0.
    """
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    ran = subprocess.run(words, env=environ, capture_output=True, timeout=timeout, **given)
    if ran.returncode:
        told = (ran.stdout + ran.stderr).decode(errors="replace")[-6000:]
        raise CommandFailed(f"{' '.join(words)} ended with {ran.returncode}:\n{told}")
    return ran.stdout.decode()


def _install() -> None:
    missing = [name for name in PACKAGES if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode]
    if not missing:
        return
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    try:
        run([*apt, "update"], dict(os.environ))
        run([*apt, "install", "-y", "--no-install-recommends", *missing], os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    except CommandFailed as error:
        raise NoEngine(f"no Docker engine answers, and {', '.join(missing)} cannot be installed: {error}") from None


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    """A daemon of our own until the end of the block; yields its address."""
    host, log = f"unix://{folder}/docker.sock", folder / "dockerd.log"
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", host]
    with log.open("wb") as file:
        daemon = subprocess.Popen(["dockerd", *places], stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + STARTED_WITHIN
        while not _answers(host):
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"dockerd of Debian's docker.io does not start here:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.5)
        yield host
    finally:
        daemon.terminate()
        daemon.wait(60)


def _answers(host: str) -> bool:
    if not shutil.which("docker"):
        return False
    address = ["-H", host] if host else []
    return subprocess.run(["docker", *address, "version"], capture_output=True).returncode == 0


def _compose() -> tuple[str, ...]:
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise NoEngine("a Docker engine answers, but neither `docker compose` nor docker-compose is there")
