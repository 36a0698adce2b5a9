"""Reads the bytes of a file into columns under the feed's names: Parquet with its types, CSV as text, without interpretation.

In a CSV file an empty field without quotes is missing, and nothing else is: `""` is an empty text, `NA` is
two letters. The deployment declares what else means "missing".
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ml.errors import Refused

CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".br": "brotli"}
PARQUET = (".parquet", ".pq")
FORMATS = tuple(plain + packed for plain in (*PARQUET, ".csv") for packed in ("", *CODECS))
NO_FORMAT = f"the name ends in none of {', '.join((*PARQUET, '.csv'))}, also packed as {', '.join(CODECS)}"
# Events as text compress 10 to 30 times; a file that grows 100 times when unpacked is a decompression bomb.
GROWTH, ALWAYS = 100, 2**26
SUSPECT_QUOTE = re.compile(rb'[^,\r\n]"[^",\r\n]')
QUOTED = re.compile(rb'(?:(?<=[,\r\n])|\A)"(?:[^"]|"")*+"(?P<rest>[^,\r\n]*)')


class Unreadable(Refused, ValueError):
    """A file that cannot be read as a table; the message says why."""


@dataclass(frozen=True)
class Malformed:
    """A line of a CSV file with the wrong number of fields; `row` counts data rows from 1."""

    row: int
    text: str
    reason: str


@dataclass(frozen=True)
class Raw:
    """A file as it was delivered: columns by their own names, `rows` the data row numbers, from 1, of the table's rows.

    `unterminated` is the last data row if no newline follows it: it may be cut off.
    """

    table: pa.Table
    rows: np.ndarray
    malformed: list[Malformed]
    unterminated: int | None = None


def format_of(name: str) -> str | None:
    """Which of `FORMATS` a file is in by its name, in whatever capitals; None if it is in none."""
    return next((suffix for suffix in FORMATS if name.lower().endswith(suffix)), None)


def bare(name: str) -> str:
    """A file's name, or a pattern of names, without its format."""
    return name[: len(name) - len(format_of(name) or "")]


def read_as(name: str, content: bytes) -> Raw:
    """Read what a file of that name holds.

    Raises:
        Unreadable: zero bytes, cut off, not the format that the name says, not UTF-8, a column name twice, or compressed
            more than a hundredfold (a decompression bomb).
    """
    suffix = format_of(name)
    if suffix is None:
        raise Unreadable(NO_FORMAT)
    if not content:
        raise Unreadable("the file has zero bytes")
    try:
        codec = CODECS.get(f".{suffix.rpartition('.')[2]}")
        unpacked = content if codec is None else _unpack(content, codec)
        # The checksum of a packed file proves that it is complete, even if its last line has no newline.
        raw = _read_parquet(unpacked) if suffix.startswith(PARQUET) else _read_csv(unpacked, may_be_cut=codec is None)
        _check_values(raw.table, suffix[1:])
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError, OverflowError) as error:
        raise Unreadable(f"not readable as {suffix[1:]}: {_first_line(error)}") from error
    names = raw.table.column_names
    if len(set(names)) < len(names):
        raise Unreadable(f"column names occur twice: {sorted({n for n in names if names.count(n) > 1})}")
    return raw


def _check_values(table: pa.Table, form: str) -> None:
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise Unreadable(f"not readable as {form}: column {name!r}: {_first_line(error)}") from error


def _unpack(content: bytes, codec: str) -> bytes:
    most = max(ALWAYS, GROWTH * len(content))
    with pa.CompressedInputStream(pa.BufferReader(content), codec) as stream:
        unpacked: bytes = stream.read(most + 1)
    if len(unpacked) > most:
        raise Unreadable(f"{len(content):,} bytes unpack to more than {most:,}; send the file as Parquet, or in parts")
    return unpacked


def _read_parquet(content: bytes) -> Raw:
    file = pq.ParquetFile(pa.BufferReader(content))
    names = file.schema_arrow.names
    try:
        table = file.read(use_threads=False)
        columns = [plain(column) for column in table.columns]
    except (pa.ArrowException, OSError):
        # Read again, column by column, so that the message names the first column that fails.
        columns = [_read_column(file, number) for number in range(len(names))]
    return Raw(pa.table(columns, names=names), np.arange(1, file.metadata.num_rows + 1), [])


def _read_csv(content: bytes, may_be_cut: bool = True) -> Raw:
    ended = content.endswith((b"\n", b"\r"))
    names = pa.csv.open_csv(
        pa.BufferReader(content),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip"),
    ).schema.names
    malformed: list[Malformed] = []

    def set_aside(row: pa.csv.InvalidRow) -> str:
        reason = f"the line has {row.actual_columns} fields, expected {row.expected_columns}"
        malformed.append(Malformed(row.number - 1, row.text, reason))
        return "skip"

    # We append a line with one field too many; if the reader does not report it, an open quote has swallowed it.
    last = b"," * len(names)
    table = pa.csv.read_csv(
        pa.BufferReader(b"".join((content, b"" if ended else b"\n", last, b"\n"))),
        read_options=pa.csv.ReadOptions(use_threads=False),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=set_aside),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if not malformed or malformed[-1].text != last.decode():
        raise Unreadable(
            f"a quote that opens a field is never closed, so data row {table.num_rows + len(malformed)} swallows the rest; "
            "the file is not whole, or a quote in a value is not written twice"
        )
    malformed.pop()
    _check_quotes(content, table.num_rows + len(malformed))
    numbers = np.arange(1, table.num_rows + len(malformed) + 1)
    unterminated = len(numbers) if may_be_cut and not ended and len(numbers) else None
    rows = np.setdiff1d(numbers, [line.row for line in malformed], assume_unique=True)
    return Raw(table, rows, malformed, unterminated if len(rows) and unterminated == rows[-1] else None)


def _check_quotes(content: bytes, rows: int) -> None:
    """Refuse a quote that closes before its field ends: the text after it, even on later rows, would join the value."""
    if not SUSPECT_QUOTE.search(content) and not (b'"' in content and content.count(b"\n") > rows + 1):
        return
    for field in QUOTED.finditer(content.removeprefix(codecs.BOM_UTF8)):
        if field["rest"]:
            excerpt = field[0][-60:].decode(errors="backslashreplace")
            raise Unreadable(
                f"a quote closes in the middle of a field: …{excerpt!r}; a quote in a value is to be written twice"
            )


def _read_column(file: pq.ParquetFile, number: int) -> pa.ChunkedArray:
    name = file.schema_arrow.names[number]
    try:
        return plain(file.read(columns=[name], use_threads=False).column(name))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise Unreadable(f"not readable as parquet: column {name!r}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column decoded from dictionary, run-end, view and extension types; a UUID becomes text."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return pa.chunked_array([pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())])
    if isinstance(kind, pa.BaseExtensionType):
        return plain(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return plain(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], kind.value_type))
    if pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return column.cast(pa.large_binary())
    return column
