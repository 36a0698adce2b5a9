"""A store of artifacts in a folder: each is made in a private folder, and moved to its place by one rename."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ml.artifacts.lock import lock_file
from ml.artifacts.store import Fill, Missing, Store, checked

PRIVATE, LOCKS = ".private-", ".locks"
LEFT_OVER = 24 * 3600.0
"""Seconds after which a private folder belongs to a process that was killed."""


class Folder(Store):
    """A store in a folder; see `ml.artifacts.store.Store`. The path of an artifact is `root/kind/key`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, kind: str, key: str, fill: Fill, replace: bool = False) -> Path:
        """See `Store.put`."""
        path = self.path(kind, key)
        if not replace and path.exists():
            return path
        with private(self.path(kind)) as folder:
            made = folder / path.name
            fill(made)
            return publish(made, path, replace)

    def private(self, kind: str) -> AbstractContextManager[Path]:
        """See `Store.private`."""
        return private(self.path(kind))

    def get(self, kind: str, key: str) -> Path:
        """See `Store.get`."""
        path = self.path(kind, key)
        if not path.exists():
            raise Missing(2, f"there is no {key} among {kind}", str(path))
        return path

    def has(self, kind: str, key: str) -> bool:
        """See `Store.has`."""
        return self.path(kind, key).exists()

    def list(self, kind: str) -> list[str]:
        """See `Store.list`."""
        path = self.path(kind)
        return sorted(name for name in os.listdir(path) if not name.startswith(".")) if path.is_dir() else []

    def delete(self, kind: str, key: str) -> None:
        """See `Store.delete`."""
        path = self.path(kind, key)
        if path.exists():
            with private(self.path(kind)) as folder:
                path.rename(folder / path.name)

    def lock(self, kind: str, key: str) -> AbstractContextManager[None]:
        """See `Store.lock`."""
        path = self.path(kind, key)
        return lock_file(self.root / LOCKS / path.relative_to(self.root).with_suffix(".lock"))

    def path(self, kind: str, key: str | None = None) -> Path:
        """Where an artifact lies or will lie; without a key the folder of a kind.

        Raises:
            BadInput: a name would lead out of the store.
        """
        folder = self.root / checked(kind, "kind of an artifact")
        return folder if key is None else folder / checked(key, "key of an artifact")

    def scratch(self, kind: str, key: str | None = None) -> Path:
        """A folder for files that change while they are in use, such as a journal that processes share."""
        path = self.path(kind, key)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def sweep(self, kind: str) -> int:
        """Delete what killed processes left behind more than a day ago; returns how many folders."""
        past = time.time() - LEFT_OVER
        old = [path for path in self.path(kind).glob(f"{PRIVATE}*") if path.is_dir() and path.stat().st_mtime < past]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return len(old)


def write_file(path: Path, fill: Fill) -> Path:
    """Write a file that is no artifact, whole or not at all; an earlier one is replaced."""
    with private(path.parent) as folder:
        made = folder / path.name
        fill(made)
        return publish(made, path, replace=True)


@contextmanager
def private(parent: Path) -> Iterator[Path]:
    """A folder beside others that nobody else looks into; it is deleted at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PRIVATE, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def publish(made: Path, path: Path, replace: bool) -> Path:
    """Move a file or folder to its place; without `replace` an earlier one is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if made.is_file() and replace:
        return made.replace(path)
    try:
        if made.is_file():
            os.link(made, path)
        else:
            made.rename(path)
    except OSError:
        if not path.exists():
            raise
    return path
