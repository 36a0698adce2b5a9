"""A judgement: the gate's verdict on a model with its evidence and pictures, stored in a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml import artifacts
from ml.config import Config
from ml.decision.case import Case
from ml.evaluation import pictures
from ml.evaluation.gate import GateError
from ml.evaluation.metrics import average_precision, card_precision, roc_auc
from ml.evaluation.sketch import sketch
from ml.evaluation.verdict import Verdict
from ml.training.entities import cluster_codes

KIND, VERDICT, RECORD = "judgements", "verdict.json", "judgement.json"
BESIDE = ("challenger_hash", "champion_hash", "attribution_drift", "curves", "refresh")
"""Keys of a verdict's record besides the attributes of `Verdict`."""


@dataclass(frozen=True)
class Judgement:
    """Record of the step `judge`: the gate's outcome on a model, and the address of its evidence.

    Attributes:
        judgement: address of the judgement among the artifacts.
        model: address of the judged model.
        champion_version: version that it was compared with; None for the base rate.
        outcome: PROMOTE, KEEP or INCONCLUSIVE.
        reason: sentence with the figures, for the person on call.
        metrics: metrics of both models on the holdout, by name.
        refresh: whether the champion may be refreshed by this model's refit if the outcome is not PROMOTE.
    """

    judgement: str
    model: str
    champion_version: str | None
    outcome: str
    reason: str
    metrics: dict[str, float]
    refresh: bool = False


def folder_of(config: Config, judgement: str) -> Path:
    """Folder of a judgement: the verdict as a record, its pictures, and the record of this step.

    Raises:
        Missing: there is none.
    """
    return artifacts.of(config).get(KIND, judgement)


def describe(config: Config, judgement: str) -> Judgement:
    """The record of a judgement."""
    return Judgement(**json.loads((folder_of(config, judgement) / RECORD).read_text()))


def verdict_of(config: Config, judgement: str) -> dict[str, Any]:
    """The verdict of a judgement, with the hashes of the two models that it compared, and how their attributions differ.

    Raises:
        GateError: the record was edited: its outcome is not what its figures say.
    """
    verdict: dict[str, Any] = json.loads((folder_of(config, judgement) / VERDICT).read_text())
    found = Verdict.from_dict({name: value for name, value in verdict.items() if name not in BESIDE})
    if verdict.get("refresh") and found.harms:
        raise GateError(f"judgement {judgement} allows a refresh by a model that does harm: {found.reason}; it was edited")
    return verdict


def write(config: Config, judgement: str, case: Case, verdict: Verdict) -> Judgement:
    """Keep a verdict under its address, whole or not at all."""
    challenger, opponent = case.challenger, case.opponent
    is_first = case.champion_version is None
    refresh = case.is_due and opponent.recipe == case.fitted.recipe != "" and not verdict.harms
    document = verdict.to_dict() | {
        "challenger_hash": challenger.model_hash,
        "champion_hash": None if is_first else opponent.contender.model_hash,
        "attribution_drift": case.drift and asdict(case.drift),
        "curves": _curves(case),
        "refresh": refresh,
    }
    scores = {"challenger": case.scores, "champion": opponent.scores}
    scores |= {name.replace(" ", "_"): values for name, values in case.beside.items()}
    found = Judgement(
        judgement=judgement,
        model=case.fitted.model,
        champion_version=case.champion_version,
        outcome=str(verdict.outcome),
        reason=verdict.reason,
        metrics=_metrics(config, case.holdout, scores),
        refresh=refresh,
    )

    def fill(folder: Path) -> None:
        folder.mkdir()
        _draw(case, verdict, folder)
        (folder / VERDICT).write_text(json.dumps(document, indent=1))
        (folder / RECORD).write_text(json.dumps(asdict(found), indent=1))

    artifacts.of(config).put(KIND, judgement, fill)
    return found


def _curves(case: Case) -> dict[str, Any]:
    """The curves of both models in few points; None for no champion."""
    labels = case.holdout["label"].to_numpy()
    beside = None if case.champion_version is None else asdict(sketch(labels, case.opponent.scores))
    return {"champion": beside, "challenger": asdict(sketch(labels, case.scores))}


def _draw(case: Case, verdict: Verdict, folder: Path) -> None:
    pictures.draw_verdict(verdict, folder / "verdict.png")
    pictures.draw_checks(verdict, folder / "checks.png")
    named = {case.opponent.contender.name: case.opponent.scores, case.challenger.name: case.scores}
    pictures.draw_curves(case.holdout["label"].to_numpy(), named, folder / "curves.png")
    importance = case.fitted.importance
    pictures.draw_importance(list(importance), list(importance.values()), folder / "importance.png")


def _metrics(config: Config, holdout: pd.DataFrame, scores: dict[str, np.ndarray]) -> dict[str, float]:
    labels = holdout["label"].to_numpy()
    days = holdout["event_time"].dt.floor("D").dt.tz_localize(None).to_numpy()
    alerts = int(config.training.alerts.value)
    figures = {}
    for who, values in scores.items():
        figures[f"{who}_average_precision"] = float(average_precision(labels, values))
        figures[f"{who}_roc_auc"] = float(roc_auc(labels, values))
        figures[f"{who}_card_precision_{alerts}"] = float(
            card_precision(days, cluster_codes(config, holdout), labels, values, k=alerts)
        )
    return figures
