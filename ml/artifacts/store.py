"""What every store of artifacts does."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from ml.errors import BadInput

Fill = Callable[[Path], object]
"""Makes an artifact, a file or a folder, at a path where nothing is; what it makes there becomes visible as a whole."""

PART = r"[A-Za-z0-9_-][A-Za-z0-9._=-]*"
NAME = re.compile(rf"{PART}(/{PART})*")


class Missing(FileNotFoundError):
    """There is no artifact of a kind under a key."""


class Store(ABC):
    """Artifacts by kind and key. Both are names such as `tuning` and `0a1b/plan.json`; paths of artifacts are for reading.

    An artifact never lies within another one: a machine that has a copy of the inner one would take the outer one for complete.
    """

    @abstractmethod
    def put(self, kind: str, key: str, fill: Fill, replace: bool = False) -> Path:
        """Publish an artifact whole or not at all, and return its path; nothing is made if the key is taken.

        Args:
            replace: publish over an earlier artifact; for files only.
        """

    def put_text(self, kind: str, key: str, text: str, replace: bool = False) -> Path:
        """Publish a text file; see `put`."""
        return self.put(kind, key, lambda path: path.write_text(text), replace)

    def put_by_content(self, kind: str, key_of: Callable[[str], str], fill: Fill) -> tuple[str, Path]:
        """Publish a file under a key that follows from the SHA-256 of its content; returns the hash and the path."""
        with self.private(kind) as folder:
            made = folder / "content"
            fill(made)
            sha256 = digest(made)
            return sha256, self.put(kind, key_of(sha256), made.rename)

    @abstractmethod
    def private(self, kind: str) -> AbstractContextManager[Path]:
        """A folder on this machine from which an artifact can be moved to its place by a rename."""

    @abstractmethod
    def get(self, kind: str, key: str) -> Path:
        """The path of an artifact on this machine.

        Raises:
            Missing: there is none.
        """

    @abstractmethod
    def has(self, kind: str, key: str) -> bool:
        """Whether there is an artifact under a key."""

    @abstractmethod
    def list(self, kind: str) -> list[str]:
        """First parts of the keys of a kind, in order."""

    @abstractmethod
    def delete(self, kind: str, key: str) -> None:
        """Delete an artifact, whole or not at all; none is no error."""

    @abstractmethod
    def lock(self, kind: str, key: str) -> AbstractContextManager[None]:
        """Processes of this machine take turns. It saves work and protects nothing: of two writers the first one wins."""


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def checked(name: str, what: str) -> str:
    """A kind or a key that cannot lead out of the store.

    Raises:
        BadInput: it is none.
    """
    if not NAME.fullmatch(name):
        raise BadInput(f"{what} is {name!r}, expected letters, digits, `.`, `_`, `=` and `-`, in parts between slashes")
    return name
