"""The version of the code, which is part of every address and every record.

A version is made by the code that rebuilds it from the lake, and by what that imports, directly or not. So a change in a page,
a notifier or a monitor leaves all addresses as they are, and a change in a window or a weight does not.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ml.config import PROJECT

NO_REPOSITORY = "not in a repository"
CHANGED = "-dirty"
MADE_BY = ("ml.training.reproduce", "ml.training.tune")
"""Modules that make a version: `reproduce` runs all of it but the search for settings."""
READ_BY_FEAST = "feature_repo"
"""Folder that Feast reads by itself."""


@cache
def code_version() -> dict[str, str]:
    """The git commit if there is one, the SHA-256 of the sources, and the SHA-256 of the dependency lock.

    A commit that ends in `-dirty` had uncommitted changes.
    """
    hashed = hashlib.sha256()
    for path in sources(PROJECT):
        hashed.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    lock = PROJECT / "requirements.txt"
    return {
        "sources": hashed.hexdigest(),
        "commit": commit(PROJECT),
        "lock": hashlib.sha256(lock.read_bytes()).hexdigest(),
    }


def commit(project: Path) -> str:
    """The commit of a checkout, as git would say it; no git has to be installed."""
    from dulwich import porcelain
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    try:
        with Repo.discover(str(project)) as repository:
            head = repository.head().decode()
            status = porcelain.status(repository, untracked_files="no")
    except (NotGitRepository, KeyError):
        return NO_REPOSITORY
    return f"{head}{CHANGED}" if status.unstaged or any(status.staged.values()) else head


def sources(project: Path) -> list[Path]:
    """The files that a version is made by, in the order of their paths.

    Args:
        project: folder of the checkout.
    """
    found: set[Path] = set()
    waiting = list(MADE_BY)
    while waiting:
        path = _file_of(project, waiting.pop())
        if path is not None and path not in found:
            found.add(path)
            waiting += _imported(path)
    found |= {path for path in (project / READ_BY_FEAST).iterdir() if path.suffix in (".py", ".yaml")}
    return sorted(found)


def _file_of(project: Path, module: str) -> Path | None:
    """The file of one of our modules; None for a library, and for a name within a module."""
    if module.partition(".")[0] not in ("ml", READ_BY_FEAST):
        return None
    base = project.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imported(path: Path) -> Iterator[str]:
    """All modules that a file imports at its top or within a function, with their packages; also names that are no modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
