"""The step `judge`: champion and challenger on the same unseen rows, and a verdict with its evidence."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config
from ml.evaluation import gate, pictures
from ml.evaluation.gate import Contender, Holdout
from ml.evaluation.metrics import average_precision, card_precision, roc_auc
from ml.registry.ledger import Ledger
from ml.registry.versions import folder_hash
from ml.training import dataset, export, fit
from ml.training.baseline import logistic_regression
from ml.training.model import Model

VERDICT = "verdict.json"
BASELINE = "logistic regression"


@dataclass(frozen=True)
class Judgement:
    """The gate's answer on a model: where its evidence lies, and the sentence for the person on call."""

    judgement: str
    model: str
    champion_version: str | None
    outcome: str
    reason: str
    metrics: dict[str, float]


def folder_of(config: Config, judgement: str) -> Path:
    """Folder of a judgement: the verdict as a record, its pictures, and the record of this step."""
    return config.home / "judgements" / judgement


def describe(config: Config, judgement: str) -> Judgement:
    """The record of a judgement."""
    return Judgement(**json.loads((folder_of(config, judgement) / "judgement.json").read_text()))


def verdict_of(config: Config, judgement: str) -> dict[str, Any]:
    """The verdict of a judgement, with the hashes of the two models that it compared."""
    told: dict[str, Any] = json.loads((folder_of(config, judgement) / VERDICT).read_text())
    return told


def judge(config: Config, as_of: dt.datetime, model: str) -> Judgement:
    """Judge a fitted and exported model against the champion, or against a logistic regression where there is none.

    Raises:
        GateError: the comparison would be worthless; there is no verdict and nothing can be promoted.
    """
    champion_version = Ledger(config.ledger).champion(config.name)
    fitted = fit.describe(config, model)
    key = hashlib.sha256(json.dumps([model, champion_version, config.gate.model_dump()]).encode()).hexdigest()
    folder = folder_of(config, key)
    if folder.exists():
        return describe(config, key)
    frozen = dataset.describe(config, fitted.training_set)
    rows = dataset.read(config, fitted.training_set)
    holdout = rows[rows["split"] == dataset.HOLDOUT]
    challenger_folder = fit.folder_of(config, model) / export.EXPORT
    challenger = _contender(f"challenger {model[:8]}", folder_hash(challenger_folder), fitted)
    scores = Model(challenger_folder).score(holdout)
    if champion_version is None:
        train = rows[rows["split"] == dataset.TRAIN]
        base = logistic_regression(Model(challenger_folder).inputs, train, holdout, config.gate.seed)
        champion, champion_scores = _contender(BASELINE, base.digest, fitted), base.scores
    else:
        registry = fit.registry(config)
        champion_folder = registry.fetch(champion_version)
        seen = fit.record_of(champion_folder)
        champion = _contender(f"champion {champion_version}", registry.model_hash(champion_version), seen)
        champion_scores = Model(champion_folder).score(holdout)
    verdict = gate.judge(
        champion=champion,
        challenger=challenger,
        holdout=Holdout(
            start=dt.datetime.fromisoformat(frozen.windows["holdout_start"]),
            end=dt.datetime.fromisoformat(frozen.windows["holdout_end"]),
            labels_known_until=as_of,
            digest=fitted.training_set,
        ),
        labels=holdout["label"].to_numpy(),
        champion_scores=champion_scores,
        challenger_scores=scores,
        clusters=holdout[config.entities[config.gate.cluster]].to_numpy(),
        event_times=holdout["event_time"].dt.tz_localize(None).to_numpy(),
        alpha=config.gate.alpha.value,
        worthwhile_gain=config.gate.worthwhile_gain.value,
        replicates=config.gate.replicates,
        seed=config.gate.seed,
    )
    told = verdict.to_dict() | {
        "challenger_hash": challenger.model_hash,
        "champion_hash": None if champion_version is None else champion.model_hash,
    }
    record = {
        "judgement": key,
        "model": model,
        "champion_version": champion_version,
        "outcome": str(verdict.outcome),
        "reason": verdict.reason,
        "metrics": _metrics(config, holdout, {"challenger": scores, "champion": champion_scores}),
    }
    partial = folder.with_name(f"{key}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    pictures.draw_verdict(verdict, partial / "verdict.png")
    named = {champion.name: champion_scores, challenger.name: scores}
    pictures.draw_curves(holdout["label"].to_numpy(), named, partial / "curves.png")
    pictures.draw_importance(list(fitted.importance), list(fitted.importance.values()), partial / "importance.png")
    (partial / VERDICT).write_text(json.dumps(told, indent=1))
    (partial / "judgement.json").write_text(json.dumps(record, indent=1))
    partial.rename(folder)
    return describe(config, key)


def _contender(name: str, model_hash: str, fitted: fit.Fit) -> Contender:
    return Contender(
        name=name,
        model_hash=model_hash,
        trained_until=dt.datetime.fromisoformat(fitted.trained_until),
        labels_known_until=dt.datetime.fromisoformat(fitted.labels_known_until),
    )


def _metrics(config: Config, holdout: pd.DataFrame, scores: dict[str, np.ndarray]) -> dict[str, float]:
    labels = holdout["label"].to_numpy()
    days = holdout["event_time"].dt.floor("D").dt.tz_localize(None).to_numpy()
    cards = holdout[config.entities[config.gate.cluster]].to_numpy()
    alerts = int(config.training.alerts.value)
    told = {}
    for who, values in scores.items():
        told[f"{who}_average_precision"] = float(average_precision(labels, values))
        told[f"{who}_roc_auc"] = float(roc_auc(labels, values))
        told[f"{who}_card_precision_{alerts}"] = float(card_precision(days, cards, labels, values, k=alerts))
    return told
