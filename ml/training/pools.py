"""Training rows on the disk, quantized: of each value only between which of a model's borders it lies, in one byte.

CatBoost fits trees on nothing else. It quantizes rows while it reads them from a text file, which is written here in parts, so
that the numbers are never in memory as a whole. The trees are those that are fitted on the same rows in memory, bit for bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

if TYPE_CHECKING:
    from catboost import Pool

FILE = "train.quantized"
# Label and weight are the first two columns; all others are numbers.
COLUMNS = "0\tLabel\n1\tWeight\n"


@dataclass(frozen=True)
class DiskPool:
    """A quantized pool in a file; the names of its columns are not in it."""

    path: Path
    names: list[str]

    def open(self) -> Pool:
        """The pool, in memory as it is in the file."""
        from catboost import Pool

        pool = Pool(f"quantized://{self.path}")
        pool.set_feature_names(self.names)
        return pool


def quantized(
    folder: Path, names: list[str], parts: Iterable[np.ndarray], labels: np.ndarray, weights: np.ndarray, threads: int
) -> DiskPool:
    """Write and quantize a pool.

    Args:
        folder: where the file goes, and while it is made a text of about ten bytes a value.
        parts: consecutive rows, float32 of shape (n_part_rows, n_columns), no value missing.
        labels: shape (n_rows,).
        weights: shape (n_rows,).
    """
    from catboost.utils import quantize

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        text, columns = Path(temporary) / "rows.tsv", Path(temporary) / "columns"
        columns.write_text(COLUMNS)
        _write(text, _tables(names, parts, labels, weights))
        pool = quantize(str(text), column_description=str(columns), thread_count=threads)
        pool.save(str(folder / FILE))
    return DiskPool(folder / FILE, names)


def _tables(names: list[str], parts: Iterable[np.ndarray], labels: np.ndarray, weights: np.ndarray) -> Iterator[pa.Table]:
    """Label, weight and numbers; a float as text has as many digits as it takes to read the same float again."""
    begin = 0
    for part in parts:
        rows = slice(begin, begin := begin + len(part))
        numbers = {f"{place}": part[:, place] for place in range(len(names))}
        yield pa.table({"label": labels[rows], "weight": weights[rows].astype(np.float32)} | numbers)


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    options = csv.WriteOptions(include_header=False, delimiter="\t")
    with csv.CSVWriter(path, first.schema, write_options=options) as file:
        file.write_table(first)
        for table in tables:
            file.write_table(table)
