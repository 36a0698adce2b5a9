"""Finds and reads landing files. Neither the name, the format nor the types of a file are trusted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml.config import Config
from ml.quality.formats import NO_FORMAT, PARQUET, Raw, Unreadable, bare, format_of, read_as

Source = tuple[str, str]


@dataclass(frozen=True)
class LandingFile:
    """One file of the landing folder; the SHA-256 of its content is the id of its batch, whatever its name.

    Where the feed declares the source of its answers, `source` is the name of that column in the file and its value; the same
    content from another source is another batch.
    """

    path: Path
    kind: str
    digest: str
    source: Source | None = None

    @property
    def name(self) -> str:
        """The file's name as text, whatever bytes it is made of."""
        return _shown(self.path)


def find_files(config: Config) -> list[LandingFile]:
    """All files directly in the landing folder that match the patterns of the deployment and are read, by kind and name.

    Links and folders are ignored, so that a name in the landing folder can never lead out of it; so are names with a leading
    dot, which mark a file that is still being written. `ignored_files` lists the others.
    """
    files = []
    for path, kind, source in _matching(config):
        if _fault(path) is None:
            try:
                with path.open("rb") as file:
                    files.append(LandingFile(path, kind, _digest(hashlib.file_digest(file, "sha256"), source), source))
            except FileNotFoundError:
                continue  # deleted since the folder was listed
    return files


def ignored_files(config: Config) -> list[str]:
    """One sentence for each path in the landing folder that looks like a delivery but is not read, with the cause."""
    ignored = {path: f"it matches a pattern, but {fault}" for path, *_ in _matching(config) if (fault := _fault(path))}
    patterns = [config.events.files, *(feed.files for feed in config.labels.feeds)]
    taken = {path for path, *_ in _matching(config)}
    for path in sorted(config.landing.glob("*")):
        if path in taken or path.name.startswith("."):
            continue
        if near := [pattern for pattern in patterns if _is_near(path.name.lower(), pattern.lower())]:
            ignored[path] = (
                f"it differs from the pattern {near[0]!r} in capitals or in its ending; rename it, or change the pattern"
            )
    return [f"{_shown(path)} is not read: {why}" for path, why in sorted(ignored.items())]


def _is_near(name: str, pattern: str) -> bool:
    """Whether a name differs from a pattern only in capitals, or only in its file format or compression."""
    form, expected_form = format_of(name), format_of(pattern)
    alike = form is not None and (expected_form is None or form.startswith(PARQUET) == expected_form.startswith(PARQUET))
    return fnmatchcase(name, pattern) or (alike and fnmatchcase(bare(name), bare(pattern)))


def _matching(config: Config) -> Iterator[tuple[Path, str, Source | None]]:
    """Paths in the landing folder that match a pattern, with their kind and their feed's source; by feed, then by name."""
    feeds = [(config.events.files, "events", None), *[(feed.files, "labels", feed.source) for feed in config.labels.feeds]]
    yielded: set[tuple[str, Path]] = set()
    for pattern, kind, feed_source in feeds:
        source = None if feed_source is None else (config.labels.columns["source"], feed_source)
        for path in sorted(config.landing.glob(pattern)):
            if path.parent == config.landing and not path.name.startswith(".") and (kind, path) not in yielded:
                yielded.add((kind, path))
                yield path, kind, source


def _fault(path: Path) -> str | None:
    """Why a path is not read; None if it is."""
    if path.is_symlink():
        return "it is a link, and links are not followed"
    if path.is_dir():
        return "it is a folder; put its files into the landing folder itself"
    if not path.is_file():
        return "it is no regular file"
    if format_of(path.name) is None:
        return NO_FORMAT.replace("the name", "its name")
    if not os.access(path, os.R_OK):
        return "this account may not read it"
    return None


def _shown(path: Path) -> str:
    return os.fsencode(path.name).decode(errors="backslashreplace")


def _digest(content: Any, source: Source | None) -> str:
    """Id of a file's batch: the hash of its content and source."""
    if source is not None:
        content.update(f"\0{source[1]}".encode())
    return str(content.hexdigest())


def read(file: LandingFile) -> Raw:
    """Read a landing file without interpreting it, and add its feed's source if it has no such column.

    Raises:
        Unreadable: see `formats.read_as`; or the file was deleted or changed since it was found.
    """
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {error.strerror}") from error
    if _digest(hashlib.sha256(content), file.source) != file.digest:
        raise Unreadable("the file was written to while it was read; wait until it is whole")
    raw = read_as(file.path.name, content)
    if file.source is None or file.source[0] in raw.table.column_names:
        return raw
    column, source = file.source
    return replace(raw, table=raw.table.append_column(column, pa.repeat(pa.scalar(source), raw.table.num_rows)))
