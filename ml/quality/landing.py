"""Finds and reads landing files. Nothing in a file is trusted: not its name, not its format, not its types."""

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
    """One file of the landing folder; the SHA-256 of its content is the batch that it becomes, whatever its name.

    Where the feed says whose answers a file holds, `source` is that column's name in the file and what it says, and the same
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

    Links and folders are passed over, so a name in the landing folder can never lead out of it; so are names with a leading
    dot, which is how a feed marks a file that it is still writing. `passed_over` tells of the others.
    """
    found = []
    for path, kind, source in _matching(config):
        if _fault(path) is None:
            try:
                with path.open("rb") as file:
                    found.append(LandingFile(path, kind, _digest(hashlib.file_digest(file, "sha256"), source), source))
            except FileNotFoundError:
                continue  # taken away since the folder was listed
    return found


def passed_over(config: Config) -> list[str]:
    """What lies in the landing folder, looks like a delivery and is not read: a sentence each, which says why."""
    matching = {path: f"it matches a pattern, but {fault}" for path, *_ in _matching(config) if (fault := _fault(path))}
    patterns = [config.events.files, *(feed.files for feed in config.labels.feeds)]
    taken = {path for path, *_ in _matching(config)}
    for path in sorted(config.landing.glob("*")):
        if path in taken or path.name.startswith("."):
            continue
        if near := [pattern for pattern in patterns if _is_near(path.name.lower(), pattern.lower())]:
            matching[path] = (
                f"it differs from the pattern {near[0]!r} in capitals or in its ending; rename it, or change the pattern"
            )
    return [f"{_shown(path)} is not read: {why}" for path, why in sorted(matching.items())]


def _is_near(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern but for its capitals, or but for how its format is written or packed."""
    form, asked = format_of(name), format_of(pattern)
    alike = form is not None and (asked is None or form.startswith(PARQUET) == asked.startswith(PARQUET))
    return fnmatchcase(name, pattern) or (alike and fnmatchcase(bare(name), bare(pattern)))


def _matching(config: Config) -> Iterator[tuple[Path, str, Source | None]]:
    """Whatever in the landing folder matches a pattern, with its kind and its feed's source; each feed's by name."""
    feeds = [(config.events.files, "events", None), *[(feed.files, "labels", feed.source) for feed in config.labels.feeds]]
    taken: set[tuple[str, Path]] = set()
    for pattern, kind, told in feeds:
        source = None if told is None else (config.labels.columns["source"], told)
        for path in sorted(config.landing.glob(pattern)):
            if path.parent == config.landing and not path.name.startswith(".") and (kind, path) not in taken:
                taken.add((kind, path))
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
    """Id of the batch of a file, from the hash of its content."""
    if source is not None:
        content.update(f"\0{source[1]}".encode())
    return str(content.hexdigest())


def read(file: LandingFile) -> Raw:
    """Read a landing file without interpreting it; its feed's source where it tells none.

    Raises:
        Unreadable: see `formats.read_as`; or gone, or not the content any more that the file was found with.
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
