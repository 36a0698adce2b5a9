"""What the code was when something was computed: part of every address and of every record."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache

from ml.config import PROJECT

NO_REPOSITORY = "not in a repository"
CHANGED = "-dirty"


@cache
def code_version() -> dict[str, str]:
    """What the code was: the commit where there is one, SHA-256 over the sources, and over the lock of its dependencies.

    A commit with `-dirty` behind it had changes that were not committed.
    """
    sources = sorted(p for room in ("ml", "feature_repo", "expectations") for p in (PROJECT / room).rglob("*") if p.is_file())
    told = hashlib.sha256()
    for path in sources:
        if path.suffix in (".py", ".yaml"):
            told.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    describe = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", f"--dirty={CHANGED}"]
    git = subprocess.run(describe, cwd=PROJECT, capture_output=True, text=True, check=False)
    lock = PROJECT / "requirements.txt"
    return {
        "sources": told.hexdigest(),
        "commit": git.stdout.strip() or NO_REPOSITORY,
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest(),
    }
