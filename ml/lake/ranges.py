"""Files of an object store for readers that share one opened file between threads, as DuckDB does.

DuckDB sets the position of a file and reads from there, in two calls. An fsspec file has one position, so that of two threads
one reads what the other was to read. Here each thread has a position of its own, and a read is one request for a range.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import obstore
from obstore.fsspec import FsspecStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class RangeFile:
    """A file that threads may read at once.

    Args:
        name: of its object in the store.
        size: its bytes.
    """

    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store, self._name, self.size = store, name, size
        self._own = threading.local()

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of this thread."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        self._own.position = start + position
        return self.tell()

    def tell(self) -> int:
        """The position of this thread."""
        position: int = getattr(self._own, "position", 0)
        return position

    def read(self, length: int = -1) -> bytes:
        """Bytes from the position of this thread on, at most `length`, and move it behind them."""
        start = self.tell()
        end = self.size if length < 0 else min(start + length, self.size)
        if end <= start:
            return b""
        content = bytes(obstore.get_range(self._store, self._name, start=start, end=end))
        self._own.position = start + len(content)
        return content

    def close(self) -> None:
        """Nothing is held."""


class RangeStore(FsspecStore):
    """Obstore's file system, with such files."""

    def _open(self, path: str, mode: str = "rb", *others: Any, **options: Any) -> Any:
        if mode != "rb":
            raise ValueError(f"{path}: opened with mode {mode!r}, expected 'rb'; Delta Lake writes, and DuckDB only reads")
        bucket, name = self._split_path(path)
        return RangeFile(self._construct_store(bucket), name, self.size(path))
