"""Environments of peers: each has the packages of a compiled list, in a folder of its own under var/peers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from ml.config import PROJECT


def interpreter(name: str) -> Path:
    """Interpreter of the environment of `requirements-NAME.txt`, made when it is not there or not as the list says."""
    requirements = PROJECT / f"benchmarks/peers/requirements-{name}.txt"
    environment = PROJECT / f"var/peers/{name}"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp, python = environment / "installed", environment / "bin/python"
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = Path(sys.executable).with_name("uv")
        print(f"installing the peers into {environment}", flush=True)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", requirements], check=True)
        stamp.write_text(wanted)
    return python
