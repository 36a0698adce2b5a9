"""Writes a version's model in the formats of other runtimes, checked on the sample that it was registered with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from ml.artifacts.folder import private, publish, write_file
from ml.config import Config
from ml.errors import BadInput
from ml.model.copies import SAMPLE
from ml.model.formats import FORMATS, NoRuntime, compare, edge_case_rows, write
from ml.model.model import INPUTS, Model
from ml.training.fit import registry


@dataclass(frozen=True)
class WrittenFiles:
    """The written files, and the result of their check as text."""

    files: tuple[Path, ...]
    checked: str


def write_checked(config: Config, version: str, file_format: str, to: Path) -> WrittenFiles:
    """Write a registered version to a file, checked on the sample that it was registered with; a failed check writes nothing.

    Raises:
        BrokenModel: the version's files were changed since they were registered.
        ParityError: the file and the model give different scores.
        ValueError: the format is unknown or not available for this version, or `to` is a folder.
    """
    if file_format not in FORMATS:
        raise BadInput(f"format is {file_format!r}, expected one of {list(FORMATS)}")
    if to.is_dir():
        raise BadInput(f"{to} is a folder; name the file to write, such as {to / f'model.{file_format}'}")
    folder = registry(config).fetch(version)
    model = Model(folder)
    with private(to.parent) as temporary:
        written = temporary / f"model.{file_format}"
        write(model, file_format, written)
        rows = edge_case_rows(model.inputs, pd.read_parquet(folder / SAMPLE))
        try:
            difference = compare(model, file_format, written, rows)
            checked = f"checked: {len(rows)} rows score at most {difference:.2g} away from the registered model"
        except NoRuntime as error:
            checked = f"NOT CHECKED: {error}"
        files = [to]
        if file_format in ("cbm", "json"):
            inputs_copy = to.with_name(f"{to.stem}.{INPUTS}")
            files.append(write_file(inputs_copy, partial(shutil.copy, folder / INPUTS)))
        publish(written, to, replace=True)
    return WrittenFiles(tuple(files), checked)
