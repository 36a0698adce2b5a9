"""The step `fit`: fits the candidates on a frozen training set, and writes the best one and its records to a folder."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput, Refused
from ml.evaluation.metrics import average_precision, calibration_error, roc_auc
from ml.ledger.ledger import Ledger
from ml.ledger.run import BY_HAND, Run
from ml.model.copies import judged_folder
from ml.model.model import Model, importance, save, threshold_for
from ml.registry.versions import Registry
from ml.training import chosen, dataset
from ml.training.calibrate import RanksNothing
from ml.training.candidates import FitWindows, Selected, select_of
from ml.training.code import code_version
from ml.training.refused import record_refusal
from ml.training.weights import CapUnreachable

RECORD, TRAINING_SET, DEPLOYMENT, TUNING = "fit.json", "training_set.json", "deployment.json", "tuning.json"
KIND, OTHERS = "models", "others"
POOLS = "pools"
"""Kind of the artifacts that are a fit's own, and are deleted at its end."""
SETTINGS = {"model", "caps", "candidates", "pool"}
"""Keys of `training` from which a model is made."""


class NoOrigin(Refused, LookupError):
    """A model folder has no record of its training set or deployment."""


@dataclass(frozen=True)
class Fit:
    """The record of a fitted model: its address, its MLflow run, and its figures on the validation window.

    Slope and intercept are those of `ml.training.calibrate`, folded into the model. The calibration errors, before and after,
    are shares of the validation window's positives; None for a model made before calibration was added. `settings` is the study
    that chose the model's settings; empty for those of the deployment file. `candidates` has the figure of each candidate in
    `selected_by`, the deployment's primary metric, on the validation window; `candidate` is the name of this model's candidate.
    `recipe` is the hash of all that makes a model besides rows: settings, candidate, inputs and code; empty for a model made
    before it was recorded. `incumbent` is the champion's candidate, which was preferred; empty where none was. A refit has the
    address of the judged model as `refit_of`, and that model's figures on the validation window; its `trained_until` and
    `labels_known_until` are its own.
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
    recipe: str = ""
    refit_of: str = ""
    incumbent: str = ""

    @property
    def size(self) -> str:
        """The size of the model as text."""
        return f"{self.trees:,} trees" if self.trees else f"coefficients of {len(self.importance):,} inputs"

    @property
    def selection(self) -> str:
        """The selected candidate and the figures of all candidates on the validation window, as text."""
        if not self.candidates:
            return "one candidate was fitted"
        figures = ", ".join(f"{name} {figure:.4g}" for name, figure in self.candidates.items())
        preferred = ", the champion's if none is better beyond chance" if self.incumbent else ""
        return f"{self.candidate}, selected by {self.selected_by} on the validation window{preferred}: {figures}"

    @property
    def settings_from(self) -> str:
        """The origin of the model's settings, as text."""
        return f"search {self.settings}" if self.settings else "deployment file"


def folder_of(config: Config, model: str) -> Path:
    """Folder of a fitted model.

    Raises:
        Missing: there is none.
    """
    return artifacts.of(config).get(KIND, model)


def exists(config: Config, model: str) -> bool:
    """Whether a model is fitted."""
    return artifacts.of(config).has(KIND, model)


def describe(config: Config, model: str) -> Fit:
    """The record of a fitted model."""
    return record_of(folder_of(config, model))


def record_of(folder: Path) -> Fit:
    """The record in a model's folder, which may be a copy."""
    return Fit(**json.loads((folder / RECORD).read_text()))


def origin_of(folder: Path) -> tuple[dataset.TrainingSet, Config]:
    """The training set that a model was fitted on, and its deployment, with the folder as home; read from the model's folder.

    Raises:
        NoOrigin: the folder lacks one of the records.
    """
    missing = [name for name in (TRAINING_SET, DEPLOYMENT) if not (folder / name).is_file()]
    if missing:
        raise NoOrigin(
            f"{folder} has no {' and no '.join(missing)}: the version was registered before versions said what they were made "
            "from; train again to have one that does"
        )
    record = json.loads((folder / TRAINING_SET).read_text())
    deployment = json.loads((folder / DEPLOYMENT).read_text())
    return dataset.TrainingSet(**record), Config.model_validate(deployment | {"home": folder})


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of the trees that a model was fitted with; read from the model's folder, which may be a copy.

    Raises:
        NoOrigin: the folder does not say so.
    """
    if (folder / TUNING).is_file():
        settings: dict[str, Any] = json.loads((folder / TUNING).read_text())["model"]
        return settings
    return origin_of(folder)[1].training.model.model_dump()


def others(config: Config, model: str) -> dict[str, Model]:
    """The candidates of a training that were not selected, by name."""
    return {folder.name: Model(folder) for folder in sorted((folder_of(config, model) / OTHERS).glob("*"))}


def registry(config: Config) -> Registry:
    """The registry of a deployment's model."""
    return Registry(config.tracking, config.name)


def fit(config: Config, as_of: dt.datetime, training_set: str, settings: str = "", run: Run = BY_HAND) -> Fit:
    """Fit the deployment's model; equal training set, settings and code give the same folder, which is made once.

    Args:
        settings: study of the settings that `choose_settings` chose; empty for those of the deployment file.
        run: the training run; it is recorded with a refusal.

    Raises:
        NoStudy: the study does not exist or is not decided.
        ValueError: the settings were tuned on another training set.
        CapUnreachable, RanksNothing: nothing can be fitted on these rows, see `ml.training.candidates`.
    """
    with record_refusal(config, as_of, "fit", run.id, (CapUnreachable, RanksNothing)):
        return _fit_once(config, training_set, settings)


def _fit_once(config: Config, training_set: str, settings: str) -> Fit:
    incumbent = incumbent_of(config)
    config = _settled(config, training_set, settings)
    key = _key_of(config, training_set, settings, incumbent)
    if exists(config, key):
        return describe(config, key)
    with artifacts.of(config).lock(KIND, key):
        return describe(config, key) if exists(config, key) else _tracked(config, training_set, settings, incumbent, key)


def _settled(config: Config, training_set: str, settings: str) -> Config:
    """The deployment with the settings of a study on this training set, if one is given."""
    if not settings:
        return config
    if (study_set := chosen.describe(config, settings).training_set) != training_set:
        raise BadInput(f"settings {settings} were searched on training set {study_set}, not on {training_set}")
    return chosen.tuned(config, settings)


def key_of(config: Config, training_set: str, settings: str = "") -> str:
    """Address of the model that `fit` makes of a training set; errors of the settings as for `fit`."""
    return _key_of(_settled(config, training_set, settings), training_set, settings, incumbent_of(config))


def incumbent_of(config: Config) -> str:
    """The champion's candidate; empty without a champion, or where nothing is refreshed."""
    version = Ledger(config.ledger).moves.champion(config.name) if config.training.refit else None
    return record_of(judged_folder(registry(config).fetch(version))).candidate if version else ""


def _key_of(config: Config, training_set: str, settings: str, incumbent: str) -> str:
    settings_used = config.training.model_dump(include=SETTINGS)
    selected_by = [config.gate.metric, config.costs and config.costs.model_dump()]
    hashed = [training_set, settings_used, config.training.alerts.value, selected_by, code_version()["sources"], settings]
    hashed += [incumbent] if incumbent else []
    return hashlib.sha256(json.dumps(hashed).encode()).hexdigest()


def adopt(config: Config, folder: Path) -> Fit:
    """Take a model that another deployment with the same settings has fitted, under an MLflow run of this one's own.

    Args:
        folder: the model's folder, whose address follows from what it was made of.
    """
    made = record_of(folder)
    settled = chosen.tuned(config, made.settings) if made.settings else config
    with tracked(config, made.model) as (run, experiment):
        record = replace(made, mlflow_run=run, mlflow_experiment=experiment)

        def fill(copy: Path) -> None:
            shutil.copytree(folder, copy)
            (copy / RECORD).write_text(json.dumps(asdict(record), indent=1))

        artifacts.of(config).put(KIND, made.model, fill)
        log_settings(settled, record)
    return record


@contextmanager
def tracked(config: Config, key: str) -> Iterator[tuple[str, str]]:
    """Work within the MLflow run whose name is a model's key, with the system's metrics; the ids of run and experiment."""
    import mlflow

    mlflow.set_tracking_uri(config.tracking)
    experiment = registry(config).experiment(config.name, config.mlflow_artifacts)
    run = registry(config).run(experiment, key)
    mlflow.set_system_metrics_sampling_interval(1)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(run_id=run, log_system_metrics=True):
        yield run, experiment


def log_settings(config: Config, record: Fit) -> None:
    """Log a model's settings to the current MLflow run, with the study that chose them."""
    import mlflow

    cut = config.training
    windows = {f"windows_{name}": getattr(cut, name).value for name in ("train", "validation", "holdout")}
    mlflow.log_params(cut.model.model_dump() | windows)
    mlflow.set_tag("settings", record.settings_from)
    if record.settings:
        mlflow.log_artifact(str(folder_of(config, record.model) / TUNING))


def _tracked(config: Config, training_set: str, settings: str, incumbent: str, key: str) -> Fit:
    with tracked(config, key) as (run, experiment):
        record = _fit(config, training_set, settings, incumbent, key, run, experiment)
        log_settings(config, record)
    return record


def recipe_of(config: Config, candidate: str, inputs: list[str]) -> str:
    """Hash of all that makes a model besides its rows, under the settings that were used."""
    made_of = [
        config.training.model_dump(include=SETTINGS - {"candidates"}),
        candidate,
        inputs,
        [window.model_dump(mode="json") for window in config.windows],
        code_version()["sources"],
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _fit(config: Config, training_set: str, settings: str, incumbent: str, key: str, run: str, experiment: str) -> Fit:
    frozen = dataset.describe(config, training_set)
    selected, validation = select_from(config, training_set, incumbent)
    estimator, inputs = selected.estimator, selected.inputs
    labels = validation["label"].to_numpy(np.int8)

    def fill(folder: Path) -> None:
        save(folder, estimator, inputs)
        for name, other in selected.others.items():
            save(folder / OTHERS / name, other, inputs)
        model = Model(folder)
        scores = model.score(validation)
        record = Fit(
            model=key,
            training_set=training_set,
            trained_until=frozen.windows["fitted_until"],
            labels_known_until=frozen.labels_known_until,
            mlflow_run=run,
            mlflow_experiment=experiment,
            trees=estimator.trees,
            validation_average_precision=float(average_precision(labels, scores)),
            validation_roc_auc=float(roc_auc(labels, scores)),
            calibration_slope=estimator.platt.slope,
            calibration_intercept=estimator.platt.intercept,
            calibration_error_before=calibration_error(labels, estimator.platt.inverted(scores)),
            calibration_error=calibration_error(labels, scores),
            threshold=threshold_for(scores, int(config.training.validation.value), config.training.alerts.value),
            importance=importance(model),
            code=code_version(),
            settings=settings,
            candidate=selected.candidate,
            candidates=selected.figures,
            selected_by=selected.metric,
            recipe=recipe_of(config, selected.candidate, inputs.names),
            incumbent=incumbent,
        )
        write_records(config, folder, frozen, record)

    artifacts.of(config).put(KIND, key, fill)
    return describe(config, key)


def select_from(config: Config, training_set: str, incumbent: str = "") -> tuple[Selected, pd.DataFrame]:
    """The best candidate of a frozen training set, and the rows of its validation window; errors as for `fit`.

    Args:
        incumbent: see `ml.training.candidates.select_of`.
    """
    if config.training.pool is None:
        windows = FitWindows.of(config, dataset.read(config, training_set, (dataset.TRAIN, dataset.VALIDATION)))
        return select_of(config, windows, incumbent), windows.validation
    with artifacts.local(config).private(POOLS) as folder:
        windows = FitWindows.on_disk(config, training_set, folder)
        return select_of(config, windows, incumbent), windows.validation


def write_records(config: Config, folder: Path, frozen: dataset.TrainingSet, record: Fit) -> None:
    """Write the records of a model beside its files."""
    (folder / TRAINING_SET).write_text(json.dumps(asdict(frozen), indent=1))
    (folder / DEPLOYMENT).write_text(config.portable_json)
    if record.settings:
        shutil.copy(chosen.path_of(config, record.settings, chosen.CHOSEN, "run `choose_settings` first"), folder / TUNING)
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1))
