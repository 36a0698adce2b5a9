"""Quarantined rows as JSON: readable by a person, and converted back to exactly the same values.

Text, whole numbers, truth values and finite doubles are plain JSON. Times are `{"timestamp": [count since 1970, unit, time
zone], "text": …}`, non-finite doubles `{"float": "nan"}`, and every other type is kept as Arrow bytes in base64 beside its
text. A line of a CSV file that could not be split into fields is `{"line": …}` alone.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LINE = "line"


def pack(table: pa.Table, rows: list[int] | None = None) -> list[str]:
    """One JSON text for each of the rows, by their positions; for all of them when left out."""
    columns = {name: _cells(table[name] if rows is None else _take(table[name], rows)) for name in table.column_names}
    return [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def pack_line(text: str) -> str:
    """JSON text of a line that could not be split into fields."""
    return json.dumps({LINE: text})


def line_of(content: str) -> str | None:
    """The line that could not be split into fields; None if the content is a row."""
    row = json.loads(content)
    return str(row[LINE]) if set(row) == {LINE} else None


def unpack(contents: list[str]) -> pa.Table:
    """The rows of one file, with the types that they were delivered in (except for the widths of numbers).

    Args:
        contents: JSON texts that `pack` made of rows of one table.
    """
    rows = [json.loads(content) for content in contents]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def value_of(cell: pa.Scalar) -> Any:
    """A value as a Python object, or as text where Python has no such type."""
    try:
        return cell.as_py()
    except (pa.ArrowException, ValueError, OverflowError, NotImplementedError, ImportError, KeyError):
        return str(cell)


def _take(column: pa.ChunkedArray, rows: list[int]) -> pa.ChunkedArray:
    try:
        return column.take(pa.array(rows, pa.int64()))
    except pa.ArrowNotImplementedError:
        return pa.chunked_array([chunk for row in rows for chunk in column.slice(row, 1).chunks], column.type)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.to_pylist()
    if pa.types.is_float64(kind):
        return [v if v is None or math.isfinite(v) else {"float": str(v)} for v in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        counts = column.cast(pa.int64()).to_pylist()
        return [c if c is None else {"timestamp": [c, kind.unit, kind.tz], "text": _time(c, kind)} for c in counts]
    return [
        None if not chunk[i].is_valid else {"arrow": _bytes(chunk.slice(i, 1)), "text": str(value_of(chunk[i]))}
        for chunk in column.chunks
        for i in range(len(chunk))
    ]


def _time(count: int, kind: pa.TimestampType) -> str:
    utc = pa.scalar(count, pa.timestamp(kind.unit, "UTC" if kind.tz else None))
    return str(pc.cast(utc, pa.string()).as_py())


def _bytes(cell: pa.Array) -> str:
    batch = pa.record_batch({"cell": cell})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return base64.b64encode(sink.getvalue()).decode()


def _column(cells: list[Any]) -> pa.Array:
    tagged = next((cell for cell in cells if isinstance(cell, dict)), {})
    if "timestamp" in tagged:
        _, unit, tz = tagged["timestamp"]
        return pa.array([cell and cell["timestamp"][0] for cell in cells], pa.int64()).cast(pa.timestamp(unit, tz))
    if "arrow" in tagged:
        values = [
            cell and pa.ipc.open_stream(base64.b64decode(cell["arrow"])).read_all()["cell"].combine_chunks() for cell in cells
        ]
        kind = next(value.type for value in values if value is not None)
        return pa.concat_arrays([pa.nulls(1, kind) if value is None else value for value in values])
    plain = [float(cell["float"]) if isinstance(cell, dict) else cell for cell in cells]
    whole = [value for value in plain if isinstance(value, int) and not isinstance(value, bool)]
    return pa.array(plain, pa.uint64() if whole and max(whole) > 2**63 - 1 else None)
