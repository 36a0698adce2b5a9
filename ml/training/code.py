"""The version of the code, which is part of every address and every record."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache

from ml.config import PROJECT

NO_REPOSITORY = "not in a repository"
CHANGED = "-dirty"


@cache
def code_version() -> dict[str, str]:
    """The git commit if there is one, the SHA-256 of the sources, and the SHA-256 of the dependency lock.

    A commit that ends in `-dirty` had uncommitted changes.
    """
    sources = sorted(p for room in ("ml", "feature_repo", "expectations") for p in (PROJECT / room).rglob("*") if p.is_file())
    hashed = hashlib.sha256()
    for path in sources:
        if path.suffix in (".py", ".yaml"):
            hashed.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", f"--dirty={CHANGED}"]
    git = subprocess.run(describe, cwd=PROJECT, capture_output=True, text=True, check=False)
    lock = PROJECT / "requirements.txt"
    return {
        "sources": hashed.hexdigest(),
        "commit": git.stdout.strip() or NO_REPOSITORY,
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest(),
    }
