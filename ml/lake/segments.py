"""Segments of a log: lines that each say how to tell whether they are whole.

A line is the CRC-32 of its record in eight hexadecimal digits, a blank, and the record as JSON. A process that is killed leaves
at most one line that is cut short, at the end, and its writing was not acknowledged.

Example:
    >>> whole = line({"id": "a", "score": 0.5})
    >>> read(whole + line({"id": "b"})[:-4])
    ([{'id': 'a', 'score': 0.5}], 32)
"""

from __future__ import annotations

import json
import zlib
from typing import Any

Record = dict[str, Any]
PREDICTIONS, FEEDBACK = "prediction_log", "feedback_log"
"""Kinds of artifacts that sealed segments become."""


def line(record: Record) -> bytes:
    """A record as a line."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read(content: bytes) -> tuple[list[Record], int]:
    """The records of a segment and the size in bytes of its whole lines; what follows a broken line is not read."""
    records: list[Record] = []
    size = 0
    for each in content.splitlines(keepends=True):
        if not (each.endswith(b"\n") and _is_whole(each)):
            break
        records.append(json.loads(each[9:]))
        size += len(each)
    return records, size


def _is_whole(each: bytes) -> bool:
    try:
        return int(each[:8], 16) == zlib.crc32(each[9:-1])
    except ValueError:
        return False
