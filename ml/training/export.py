"""The step `export_graph`: one ONNX graph from raw columns to a probability, checked against the model's scores."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml import artifacts
from ml.config import Config
from ml.ledger.run import BY_HAND, Run
from ml.model.copies import EXPECTED, JUDGED, SAMPLE
from ml.model.formats import ParityError
from ml.model.graph import to_onnx
from ml.model.model import INPUTS, Model
from ml.training import dataset
from ml.training.fit import DEPLOYMENT, RECORD, TRAINING_SET, TUNING, describe
from ml.training.fit import folder_of as fitted_folder
from ml.training.refused import record_refusal

KIND, PARITY = "exports", "parity.json"
SAMPLE_ROWS = 200


@dataclass(frozen=True)
class Export:
    """Comparison of graph and model on the holdout: the largest difference, and the number of rows that cross the threshold."""

    model: str
    rows: int
    largest_difference: float
    crossed_threshold: int


def export_graph(config: Config, as_of: dt.datetime, model: str, run: Run = BY_HAND) -> Export:
    """Export a fitted model and check it on the holdout.

    Args:
        run: the training run; it is recorded with a refusal.

    Raises:
        ParityError: a probability differs by more than `training.parity`, or a row crosses the decision threshold.
    """
    store = artifacts.of(config)
    with record_refusal(config, as_of, "export_graph", run.id, ParityError), store.lock(KIND, model):
        folder = store.put(KIND, model, lambda path: _fill(config, model, path))
    return Export(**json.loads((folder / PARITY).read_text()))


def folder_of(config: Config, model: str) -> Path:
    """Folder of an exported model.

    Raises:
        Missing: it is not exported.
    """
    return artifacts.of(config).get(KIND, model)


def _fill(config: Config, model: str, folder: Path) -> None:
    fitted = describe(config, model)
    holdout = dataset.read(config, fitted.training_set, (dataset.HOLDOUT,))
    _write(fitted_folder(config, model), folder, holdout)
    if fitted.refit_of:
        shutil.copytree(folder_of(config, fitted.refit_of), folder / JUDGED)
    parity = compare(Model(folder), holdout, fitted.threshold, config.training.parity.value, model)
    (folder / PARITY).write_text(json.dumps(asdict(parity), indent=1))


def compare(model: Model, rows: pd.DataFrame, threshold: float, tolerance: float, name: str) -> Export:
    """Score rows with the model and with its graph, and compare.

    Raises:
        ParityError: see `export_graph`.
    """
    native, graph = model.score(rows), model.score_onnx(rows)
    difference = np.abs(native - graph)
    crossed = int(((native >= threshold) != (graph >= threshold)).sum())
    parity = Export(name, len(rows), float(difference.max()), crossed)
    if not difference.max() <= tolerance or crossed:
        worst = int(difference.argmax())
        raise ParityError(
            f"model {name}: ONNX answers {graph[worst]:.9f} where {model.estimator.FILE} answers {native[worst]:.9f} (event "
            f"{rows['event_id'].iloc[worst]}); at most {tolerance:g} apart was expected, and {crossed} of {len(rows)} rows "
            f"change sides at the threshold {threshold:.6f}; this model is not registered"
        )
    return parity


def _write(source: Path, target: Path, holdout: pd.DataFrame) -> None:
    """Write the graph as an MLflow ONNX model, with the model itself, inputs, records and a sample to check copies."""
    import mlflow.onnx
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    model = Model(source)
    signature = ModelSignature(
        Schema(
            [
                *[ColSpec("float", name) for name in model.inputs.fill],
                *[ColSpec("string", name) for name in model.inputs.categories],
            ]
        ),
        Schema([ColSpec("float", model.inputs.answer)]),
    )
    mlflow.onnx.save_model(
        to_onnx(model.estimator, model.inputs),
        str(target),
        signature=signature,
        pip_requirements=["onnxruntime", "numpy", "pandas"],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    for name in (model.estimator.FILE, INPUTS, RECORD, TRAINING_SET, DEPLOYMENT):
        shutil.copy(source / name, target / name)
    if (source / TUNING).is_file():
        shutil.copy(source / TUNING, target / TUNING)
    positives = holdout[holdout["label"] == 1].head(SAMPLE_ROWS // 2)
    sample = pd.concat([positives, holdout[holdout["label"] == 0].head(SAMPLE_ROWS - len(positives))])[model.inputs.names]
    sample.assign(**{EXPECTED: model.score(sample)}).to_parquet(target / SAMPLE, index=False)
