"""The step `fit`: the best candidate of the frozen training set, in a folder of its own with all that is told of it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ml.config import Config
from ml.errors import Refused
from ml.evaluation.metrics import average_precision, calibration_error, roc_auc
from ml.registry.turn import turn
from ml.registry.versions import Registry
from ml.training import chosen, dataset
from ml.training.code import code_version
from ml.training.learn import select
from ml.training.model import Model, importance, save, threshold_for

RECORD, TRAINING_SET, DEPLOYMENT, TUNING = "fit.json", "training_set.json", "deployment.json", "tuning.json"
OTHERS = "others"


class NoOrigin(Refused, LookupError):
    """A model does not say what it was made from."""


@dataclass(frozen=True)
class Fit:
    """A fitted model: its address, its MLflow run, and what the validation window said.

    Slope and intercept are those of `ml.training.calibrate`, folded into the model; the calibration errors are shares of the
    validation window's positives, before and after; none where a model is from before models were calibrated. `settings` names
    the search that decided for the model's settings; it is empty where they are the deployment file's. `candidates` holds the
    figure of each candidate in `selected_by`, the deployment's primary metric, on the validation window; `candidate` is the one
    that this model is.
    """

    model: str
    training_set: str
    trained_until: str
    labels_known_until: str
    mlflow_run: str
    mlflow_experiment: str
    trees: int
    validation_average_precision: float
    validation_roc_auc: float
    threshold: float
    importance: dict[str, float]
    code: dict[str, str]
    calibration_slope: float = 1.0
    calibration_intercept: float = 0.0
    calibration_error_before: float | None = None
    calibration_error: float | None = None
    settings: str = ""
    candidate: str = ""
    candidates: dict[str, float] = field(default_factory=dict)
    selected_by: str = ""

    @property
    def size(self) -> str:
        """How much was learned, in words."""
        return f"{self.trees:,} trees" if self.trees else f"coefficients of {len(self.importance):,} inputs"

    @property
    def selection(self) -> str:
        """Which candidate the model is, and what each of them reached on the validation window, in words."""
        if not self.candidates:
            return "one candidate was fitted"
        told = ", ".join(f"{name} {figure:.4g}" for name, figure in self.candidates.items())
        return f"{self.candidate}, selected by {self.selected_by} on the validation window: {told}"

    @property
    def settings_from(self) -> str:
        """Where the model's settings came from, in words."""
        return f"search {self.settings}" if self.settings else "deployment file"


def folder_of(config: Config, model: str) -> Path:
    """Folder of a fitted model."""
    return config.home / "models" / model


def describe(config: Config, model: str) -> Fit:
    """The record of a fitted model."""
    return record_of(folder_of(config, model))


def record_of(folder: Path) -> Fit:
    """The record in a model's folder, wherever the folder lies."""
    return Fit(**json.loads((folder / RECORD).read_text()))


def origin_of(folder: Path) -> tuple[dataset.TrainingSet, Config]:
    """What a model was made from, by its own folder: its training set, and its deployment without a home.

    Raises:
        NoOrigin: the folder does not say.
    """
    lacking = [name for name in (TRAINING_SET, DEPLOYMENT) if not (folder / name).is_file()]
    if lacking:
        raise NoOrigin(
            f"{folder} has no {' and no '.join(lacking)}: the version was registered before versions said what they were made "
            "from; train again to have one that does"
        )
    told = json.loads((folder / TRAINING_SET).read_text())
    deployment = json.loads((folder / DEPLOYMENT).read_text())
    return dataset.TrainingSet(**told), Config.model_validate(deployment | {"home": folder})


def others(config: Config, model: str) -> dict[str, Model]:
    """The candidates of a training that were not selected, by name."""
    return {folder.name: Model(folder) for folder in sorted((folder_of(config, model) / OTHERS).glob("*"))}


def registry(config: Config) -> Registry:
    """The registry of a deployment's model."""
    return Registry(config.tracking, config.name)


def fit(config: Config, as_of: dt.datetime, training_set: str, settings: str = "") -> Fit:
    """Fit the deployment's model; the same training set, settings and code give the same folder, which is made once.

    Args:
        settings: address of what `choose_settings` decided for; the deployment file's own settings when empty.

    Raises:
        NoStudy: nothing was decided at that address.
        ValueError: the settings were searched on another training set.
    """
    if settings:
        if (searched := chosen.describe(config, settings).training_set) != training_set:
            raise ValueError(f"settings {settings} were searched on training set {searched}, not on {training_set}")
        config = chosen.tuned(config, settings)
    asked = config.training.model_dump(include={"model", "caps", "candidates"})
    selected_by = [config.gate.metric, config.costs and config.costs.model_dump()]
    told = [training_set, asked, config.training.alerts.value, selected_by, code_version()["sources"], settings]
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    folder = folder_of(config, key)
    if (folder / RECORD).exists():
        return describe(config, key)
    with turn(folder.with_name("fit.lock")):
        return describe(config, key) if (folder / RECORD).exists() else _tracked(config, training_set, settings, key)


def _tracked(config: Config, training_set: str, settings: str, key: str) -> Fit:
    """Fit within the MLflow run of the model's key."""
    import mlflow

    mlflow.set_tracking_uri(config.tracking)
    experiment = registry(config).experiment(config.name, f"{config.home}/mlartifacts")
    run = registry(config).run(experiment, key)
    mlflow.set_system_metrics_sampling_interval(1)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(run_id=run, log_system_metrics=True):
        record = _fit(config, training_set, settings, key, run, experiment)
        mlflow.log_params(config.training.model.model_dump() | {"windows_" + k: v for k, v in _windows(config).items()})
        mlflow.set_tag("settings", record.settings_from)
        if settings:
            mlflow.log_artifact(str(folder_of(config, key) / TUNING))
    return record


def _windows(config: Config) -> dict[str, float]:
    cut = config.training
    return {"train": cut.train.value, "validation": cut.validation.value, "holdout": cut.holdout.value}


def _fit(config: Config, training_set: str, settings: str, key: str, run: str, experiment: str) -> Fit:
    frozen = dataset.describe(config, training_set)
    rows = dataset.read(config, training_set, (dataset.TRAIN, dataset.VALIDATION))
    validation = rows[rows[dataset.SPLIT] == dataset.VALIDATION]
    selected = select(config, rows)
    learned, inputs = selected.learned, selected.inputs
    folder = folder_of(config, key)
    partial = folder.with_name(f"{key}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save(partial, learned, inputs)
    for name, other in selected.others.items():
        (partial / OTHERS / name).mkdir(parents=True)
        save(partial / OTHERS / name, other, inputs)
    model = Model(partial)
    scores = model.score(validation)
    labels = validation["label"].to_numpy(np.int8)
    record = Fit(
        model=key,
        training_set=training_set,
        trained_until=frozen.windows["fitted_until"],
        labels_known_until=frozen.labels_known_until,
        mlflow_run=run,
        mlflow_experiment=experiment,
        trees=learned.trees,
        validation_average_precision=float(average_precision(labels, scores)),
        validation_roc_auc=float(roc_auc(labels, scores)),
        calibration_slope=learned.platt.slope,
        calibration_intercept=learned.platt.intercept,
        calibration_error_before=calibration_error(labels, learned.platt.undone(scores)),
        calibration_error=calibration_error(labels, scores),
        threshold=threshold_for(scores, int(config.training.validation.value), config.training.alerts.value),
        importance=importance(model),
        code=code_version(),
        settings=settings,
        candidate=selected.candidate,
        candidates=selected.figures,
        selected_by=selected.metric,
    )
    (partial / TRAINING_SET).write_text(json.dumps(asdict(frozen), indent=1))
    (partial / DEPLOYMENT).write_text(config.portable_json)
    if settings:
        shutil.copy(chosen.folder_of(config, settings) / chosen.CHOSEN, partial / TUNING)
    (partial / RECORD).write_text(json.dumps(asdict(record), indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return record
