"""Where the tables of a lake lie: in a folder, or in an object store such as S3.

Readers and writers of both are the same; what differs is how tables are listed, how a load is marked, and what a lock covers.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.artifacts import lock_file, write_file
from ml.artifacts.objects import is_plain, open_objects, require_conditional_puts

if TYPE_CHECKING:
    import duckdb
    from obstore.store import ObjectStore

LOG = "_delta_log"
LOADING = ".loading"


class Root(ABC):
    """The place of a lake's tables.

    Attributes:
        address: a folder's path or a URI.
        options: what Delta Lake needs to open it, besides the credentials of the environment.
    """

    address: str
    options: dict[str, str]

    def uri(self, table: str) -> str:
        """Address of a table."""
        return f"{self.address}/{table}"

    @abstractmethod
    def tables(self) -> list[str]:
        """Names of all existing tables, in order."""

    @abstractmethod
    def has(self, path: str) -> bool:
        """Whether a file is there; its path is that below the root."""

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Keep other writers of this machine out, until the block or the process ends."""

    @abstractmethod
    def mark(self, load: str) -> None:
        """Note that a load is going on."""

    @abstractmethod
    def unmark(self, load: str) -> None:
        """Note that a load has ended; another process may have noted it before."""

    @abstractmethod
    def marked(self) -> str | None:
        """A load that is going on or was cut off."""

    @abstractmethod
    def let_read(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read the files of this root."""


class FolderRoot(Root):
    """A root in a folder; one load at a time has the lock, and one marker is enough."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.address, self.options = str(path), {}

    def tables(self) -> list[str]:
        """See `Root.tables`."""
        return sorted(log.parent.name for log in self._path.glob(f"*/{LOG}"))

    def has(self, path: str) -> bool:
        """See `Root.has`."""
        return (self._path / path).exists()

    def lock(self) -> AbstractContextManager[None]:
        """See `Root.lock`."""
        return lock_file(self._path / ".lock")

    def mark(self, load: str) -> None:
        """See `Root.mark`."""
        write_file(self._path / LOADING, lambda path: path.write_text(load))

    def unmark(self, load: str) -> None:
        """See `Root.unmark`."""
        (self._path / LOADING).unlink(missing_ok=True)

    def marked(self) -> str | None:
        """See `Root.marked`."""
        marker = self._path / LOADING
        return marker.read_text() if marker.exists() else None

    def let_read(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing to do: DuckDB reads folders."""


class BucketRoot(Root):
    """A root in an object store, for machines that share nothing else.

    Loads of several machines may overlap, so each has a marker of its own; that no batch is loaded twice is the work of Delta
    Lake's transactions, and its commits are conditional puts. Credentials and endpoint come from the environment:
    `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and their like.
    """

    def __init__(self, uri: str) -> None:
        self.address = uri.rstrip("/")
        self.options = {"allow_http": "true"} if is_plain() else {}

    @cached_property
    def _store(self) -> ObjectStore:
        return open_objects(self.address)

    def tables(self) -> list[str]:
        """See `Root.tables`."""
        import obstore

        folders = obstore.list_with_delimiter(self._store)["common_prefixes"]
        return sorted(folder for folder in folders if obstore.list_with_delimiter(self._store, f"{folder}/{LOG}")["objects"])

    def has(self, path: str) -> bool:
        """See `Root.has`."""
        import obstore

        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            return False
        return True

    def lock(self) -> AbstractContextManager[None]:
        """See `Root.lock`."""
        require_conditional_puts(self.address)
        name = hashlib.sha256(self.address.encode()).hexdigest()[:32]
        return lock_file(Path(tempfile.gettempdir()) / f"perennial-{os.getuid()}" / f"{name}.lock")

    def mark(self, load: str) -> None:
        """See `Root.mark`."""
        import obstore

        obstore.put(self._store, f"{LOADING}/{load}", b"")

    def unmark(self, load: str) -> None:
        """See `Root.unmark`."""
        import obstore

        if self.has(f"{LOADING}/{load}"):
            obstore.delete(self._store, f"{LOADING}/{load}")

    def marked(self) -> str | None:
        """See `Root.marked`."""
        import obstore

        loads = [found["path"] for chunk in obstore.list(self._store, LOADING) for found in chunk]
        return min(loads).rpartition("/")[2] if loads else None

    def let_read(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read by this store's own client; DuckDB's would be an extension that is downloaded at run time."""
        from ml.lake.ranges import RangeStore

        scheme: Any = self.address.partition("://")[0]
        # A cached instance would keep the endpoint that the environment named when it was made.
        options: dict[str, Any] = {"client_options": {"allow_http": is_plain()}, "skip_instance_cache": True}
        connection.register_filesystem(RangeStore(scheme, **options))


def root_of(place: Path | str) -> Root:
    """The root at a folder or a URI."""
    return BucketRoot(place) if isinstance(place, str) and "://" in place else FolderRoot(Path(place))
