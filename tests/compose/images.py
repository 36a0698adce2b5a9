"""Base images of docker-compose.yaml, and what stands for those that cannot be pulled where the tests run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ml.config import PROJECT
from tests.compose.engine import CommandFailed, Engine, run

STAND_INS = Path(__file__).parent / "stand_ins"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NAMED = re.compile(r"\$\{(\w+_IMAGE):-([^}]+)\}")
OURS = "PERENNIAL_"
PULLED_WITHIN = 300
STANDS_FOR = {
    "PYTHON_IMAGE": "Debian's own Python 3.11, with this machine's certificates",
    "POSTGRES_IMAGE": "Debian's own PostgreSQL 15; of the image's conventions, those that docker-compose.yaml uses",
    "REDIS_IMAGE": "Debian's own Redis 7.0",
    "PROMETHEUS_IMAGE": "Debian's own Prometheus 2.42",
    "S3_IMAGE": "moto, which keeps objects in memory and asks for no signature; it says nothing about MinIO itself",
}
"""What stands for an image, by the variable that names it."""


def wanted() -> dict[str, str]:
    """The base images of docker-compose.yaml that have a stand-in, by the variable that names each."""
    named = dict(NAMED.findall((PROJECT / "docker-compose.yaml").read_text()))
    return {variable: image for variable, image in named.items() if variable in STANDS_FOR}


def prepare(engine: Engine, say: Callable[[str], None]) -> dict[str, str]:
    """Pull the base images, and make stand-ins for those that cannot be pulled: variables that name these."""
    missing = {variable: image for variable, image in wanted().items() if not _there(engine, image)}
    if not missing:
        return {}
    base = _named("PYTHON_IMAGE")
    if not _is_kept(engine, base):
        _make_base(engine, base)
    for variable in missing:
        if not _is_kept(engine, _named(variable)):
            _build(engine, variable, base)
    for variable, image in missing.items():
        say(f"{image} cannot be pulled here. In its place: {STANDS_FOR[variable]}")
    return {variable: _named(variable) for variable in missing}


def _named(variable: str) -> str:
    return f"perennial-stand-in/{variable.removesuffix('_IMAGE').lower()}:bookworm"


def _is_kept(engine: Engine, image: str) -> bool:
    try:
        engine.docker("image", "inspect", image)
    except CommandFailed:
        return False
    return True


def _there(engine: Engine, image: str) -> bool:
    if _is_kept(engine, image):
        return True
    try:
        engine.docker("pull", "-q", image, timeout=PULLED_WITHIN)
    except (CommandFailed, subprocess.TimeoutExpired):
        return False
    return True


def _make_base(engine: Engine, name: str) -> None:
    """Debian with Python 3.11 and the certificates of this machine, which may be those of a proxy."""
    with TemporaryDirectory(prefix="perennial-base-") as folder:
        root = Path(folder) / "root.tar"
        packages = "ca-certificates,python3.11,python3.11-venv"
        run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(root)], engine.environ)
        bare = f"{name}-bare"
        engine.docker("import", str(root), bare)
        root.unlink()
        context = Path(folder)
        (context / "certificates.crt").write_bytes(CERTIFICATES.read_bytes())
        file = f"""FROM {bare}
COPY certificates.crt {CERTIFICATES}
ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}
RUN ln -s python3.11 /usr/bin/python3 2>/dev/null || true
"""
        (context / "Dockerfile").write_text(file)
        engine.docker("build", "-q", "-t", name, str(context))


def _build(engine: Engine, variable: str, base: str) -> None:
    file = STAND_INS / f"{variable.removesuffix('_IMAGE').lower()}.Dockerfile"
    words = ["build", "-q", "--network", "host", "--build-arg", f"BASE={base}", "-t", _named(variable), "-f", str(file)]
    if variable == "S3_IMAGE":
        words += ["--build-arg", f"MOTO={_pinned('moto')}"]
    engine.docker(*words, str(STAND_INS))


def _pinned(package: str) -> str:
    """The version of a package in the lock."""
    (found,) = re.findall(rf"^{package}==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    return str(found)
