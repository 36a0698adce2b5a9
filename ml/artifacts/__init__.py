"""Artifacts: what steps make and other steps read, each published whole under a kind and a key.

Example: two writers of one key are harmless, because the first one to publish wins.
    >>> import tempfile
    >>> store = Folder(Path(tempfile.mkdtemp()))
    >>> store.put_text("notes", "a/first", "one").read_text()
    'one'
    >>> store.put_text("notes", "a/first", "two").read_text()
    'one'
    >>> store.has("notes", "a/second"), store.list("notes")
    (False, ['a'])
"""

from __future__ import annotations

from pathlib import Path

from ml.artifacts.folder import Folder, write_file
from ml.artifacts.lock import lock_file
from ml.artifacts.store import Missing, Store
from ml.config import Config

__all__ = ["Folder", "Missing", "Path", "Store", "find", "local", "lock_file", "of", "write_file"]


def of(config: Config) -> Store:
    """The artifacts of a deployment: in its home, or in the object store that it names."""
    if config.artifacts is None:
        return local(config)
    from ml.artifacts.objects import Objects

    return Objects(config.artifacts, local(config))


def find(config: Config, kind: str, key: str) -> Path | None:
    """The path of an artifact on this machine, None if there is none."""
    try:
        return of(config).get(kind, key)
    except Missing:
        return None


def local(config: Config) -> Folder:
    """What this machine keeps for itself in the deployment's home: caches, and files that are still changing."""
    return Folder(config.home)
