"""The step `register`: a judged model becomes a version of the registry, with all that an auditor asks for."""

from __future__ import annotations

import datetime as dt
import json
import platform
from dataclasses import dataclass

from ml.config import Config
from ml.decision import judgements
from ml.decision.case import BASE_RATE
from ml.errors import BadInput
from ml.lake import schema
from ml.lake.tables import Lake
from ml.registry.promotion import CHALLENGER
from ml.training import dataset, export, fit


@dataclass(frozen=True)
class Registration:
    """A version of the registered model, and the MLflow run that it came from."""

    version: str
    mlflow_run: str
    mlflow_experiment: str


def register(config: Config, as_of: dt.datetime, judgement: str, model: str = "") -> Registration:
    """Log the run's evidence to MLflow and register the model; a run that has a version keeps it.

    Args:
        model: address of the judged model or of its refit; empty for the judged model.

    Raises:
        BadInput: the model is neither.
    """
    judged = judgements.describe(config, judgement)
    fitted = fit.describe(config, model or judged.model)
    if judged.model not in (fitted.model, fitted.refit_of):
        raise BadInput(f"model {model} is neither the model of judgement {judgement}, {judged.model}, nor its refit")
    registry = fit.registry(config)
    _log(config, judged, fitted)
    frozen = dataset.describe(config, fitted.training_set)
    folder = export.folder_of(config, fitted.model)
    version = registry.register(
        folder,
        run_id=fitted.mlflow_run,
        tags=_tags(config, as_of, judged, fitted, frozen),
        description=f"{config.description} Judged as of {as_of.isoformat()}: {judged.outcome}. {judged.reason}",
    )
    registry.set_aliases(**{CHALLENGER: version})
    return Registration(version, fitted.mlflow_run, fitted.mlflow_experiment)


def _tags(
    config: Config, as_of: dt.datetime, judged: judgements.Judgement, fitted: fit.Fit, frozen: dataset.TrainingSet
) -> dict[str, str]:
    """What an auditor asks for, as text by name."""
    return {
        "as_of": as_of.isoformat(),
        "deployment": config.name,
        "configuration": config.fingerprint,
        "training_set": fitted.training_set,
        "windows": str(frozen.windows),
        "rows": str({part: getattr(frozen, f"{part}_rows") for part in (dataset.TRAIN, dataset.VALIDATION, dataset.HOLDOUT)}),
        "positives": str(frozen.positives),
        "lake_versions": json.dumps(frozen.lake),
        "features": json.dumps({view: published[-1]["file"] for view, published in frozen.features.items() if published}),
        "settings": fitted.settings_from,
        "candidate": fitted.selection,
        "refit_of": fitted.refit_of,
        "outcome": judged.outcome,
        "reason": judged.reason,
        "judged_against": judged.champion_version or BASE_RATE,
        "metrics": str({name: round(value, 6) for name, value in judged.metrics.items()}),
        "decision_threshold": repr(fitted.threshold),
        "code_commit": fitted.code["commit"],
        "code_sources": fitted.code["sources"],
        "lock": fitted.code["lock"],
        "environment": f"Python {platform.python_version()} on {platform.platform()}",
    }


def _log(config: Config, judged: judgements.Judgement, fitted: fit.Fit) -> None:
    import mlflow
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    mlflow.set_tracking_uri(config.tracking)
    frozen = dataset.describe(config, fitted.training_set)
    with mlflow.start_run(run_id=fitted.mlflow_run):
        mlflow.log_metrics(
            judged.metrics
            | {
                "validation_average_precision": fitted.validation_average_precision,
                "validation_roc_auc": fitted.validation_roc_auc,
                "trees": fitted.trees,
                "decision_threshold": fitted.threshold,
            }
        )
        for table in (schema.EVENTS, schema.LABELS):
            source = DeltaDatasetSource(path=Lake(config.lake).uri(table), delta_table_version=frozen.lake[table])
            digest = f"version {frozen.lake[table]}"
            mlflow.log_input(MetaDataset(source, name=table, digest=digest), context="training")
        tags = {"outcome": judged.outcome, "training_set": fitted.training_set, "candidate": fitted.candidate}
        mlflow.set_tags(tags | fitted.code)
        mlflow.log_artifacts(str(judgements.folder_of(config, judged.judgement)), "verdict")
        mlflow.log_artifact(str(dataset.record_of(config, fitted.training_set)), "training_set")
