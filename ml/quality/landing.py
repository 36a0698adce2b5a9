"""Finds and reads landing files. Nothing in a file is trusted: not its name, not its format, not its types."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from ml.config import Config

FORMATS = (".parquet", ".csv")


class Unreadable(ValueError):
    """A landing file that cannot be read as a table; the message says what was found."""


@dataclass(frozen=True)
class LandingFile:
    """One file of the landing folder; the SHA-256 of its content is the batch that it becomes, whatever its name.

    Where the feed says whose answers a file holds, `source` is that column's name in the file and what it says, and the same
    content from another source is another batch.
    """

    path: Path
    kind: str
    digest: str
    source: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The file's name as text, whatever bytes it is made of."""
        return os.fsencode(self.path.name).decode(errors="backslashreplace")


@dataclass(frozen=True)
class Malformed:
    """A line of a CSV file with the wrong number of fields; `row` counts data rows from 1."""

    row: int
    text: str
    reason: str


@dataclass(frozen=True)
class Raw:
    """A file as it was delivered: columns by their own names, `rows` the data row numbers, from 1, of the table's rows."""

    table: pa.Table
    rows: np.ndarray
    malformed: list[Malformed]


def find_files(config: Config) -> list[LandingFile]:
    """All regular files directly in the landing folder that match the patterns of the deployment, by kind and name.

    Links and folders are passed over, so a name in the landing folder can never lead out of it; so are names with a leading
    dot, which is how a feed marks a file that it is still writing.
    """
    found = [_file(path, "events") for path in _matching(config, config.events.files)]
    taken: set[Path] = set()
    for feed in config.labels.feeds:
        source = None if feed.source is None else (config.labels.columns["source"], feed.source)
        mine = [path for path in _matching(config, feed.files) if path not in taken]
        found += [_file(path, "labels", source) for path in mine]
        taken.update(mine)
    return found


def _matching(config: Config, pattern: str) -> list[Path]:
    """Files of the landing folder whose names match a pattern, by name."""
    return [
        path
        for path in sorted(config.landing.glob(pattern))
        if path.is_file() and not path.is_symlink() and path.parent == config.landing
        if path.suffix in FORMATS and not path.name.startswith(".")
    ]


def _file(path: Path, kind: str, source: tuple[str, str] | None = None) -> LandingFile:
    with path.open("rb") as file:
        return LandingFile(path, kind, _digest(hashlib.file_digest(file, "sha256"), source), source)


def _digest(content: Any, source: tuple[str, str] | None) -> str:
    """Id of the batch of a file, from the hash of its content."""
    if source is not None:
        content.update(f"\0{source[1]}".encode())
    return str(content.hexdigest())


def read(file: LandingFile) -> Raw:
    """Read a landing file without interpreting it: Parquet with its types, CSV as text; its feed's source if it tells none.

    Raises:
        Unreadable: zero bytes, truncated, not the format that the name says, not UTF-8, a column name twice, or not the content
            any more that the file was found with.
    """
    content = file.path.read_bytes()
    if _digest(hashlib.sha256(content), file.source) != file.digest:
        raise Unreadable("the file was written to while it was read; wait until it is whole")
    raw = read_as(file.path.suffix, content)
    if file.source is None or file.source[0] in raw.table.column_names:
        return raw
    column, source = file.source
    return replace(raw, table=raw.table.append_column(column, pa.repeat(pa.scalar(source), raw.table.num_rows)))


def read_as(suffix: str, content: bytes) -> Raw:
    """Read what a file of that suffix holds.

    Raises:
        Unreadable: zero bytes, truncated, not the format that the suffix says, not UTF-8, or a column name twice.
    """
    if not content:
        raise Unreadable("the file has zero bytes")
    try:
        raw = _read_parquet(content) if suffix == ".parquet" else _read_csv(content)
        raw.table.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"not readable as {suffix[1:]}: {str(error).splitlines()[0]}") from error
    names = raw.table.column_names
    if len(set(names)) < len(names):
        raise Unreadable(f"column names occur twice: {sorted({n for n in names if names.count(n) > 1})}")
    return raw


def _read_parquet(content: bytes) -> Raw:
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    plain = [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table.columns]
    return Raw(pa.table(plain, names=table.column_names), np.arange(1, table.num_rows + 1), [])


def _read_csv(content: bytes) -> Raw:
    malformed: list[Malformed] = []

    def set_aside(row: pc.InvalidRow) -> str:
        reason = f"the line has {row.actual_columns} fields, expected {row.expected_columns}"
        malformed.append(Malformed(row.number - 1, row.text, reason))
        return "skip"

    parse = pc.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside)
    header = content.partition(b"\n")[0] + b"\n"
    names = pc.read_csv(pa.BufferReader(header), parse_options=pc.ParseOptions(newlines_in_values=True)).column_names
    table = pc.read_csv(
        pa.BufferReader(content),
        read_options=pc.ReadOptions(use_threads=False),
        parse_options=parse,
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )
    numbers = np.arange(1, table.num_rows + len(malformed) + 1)
    return Raw(table, np.setdiff1d(numbers, [line.row for line in malformed], assume_unique=True), malformed)
