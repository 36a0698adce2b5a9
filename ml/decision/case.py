"""Inputs of the gate: both models, their holdout scores, and the additional comparisons (golden set, ancestor)."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ml.config import Config
from ml.evaluation.gate import ANCESTOR, GOLDEN_SET, Contender, GateError, Holdout, Meeting, Rows
from ml.evaluation.metrics import average_precision
from ml.explanation.attributions import AttributionDrift, attribution_drift
from ml.model import copies
from ml.model.model import Model
from ml.registry.versions import folder_hash
from ml.training import dataset, export, fit, golden
from ml.training.baseline import random_forest
from ml.training.costs import missed_costs
from ml.training.entities import cluster_codes

BASE_RATE = "base rate"


@dataclass(frozen=True, eq=False)
class Opponent:
    """The model that the challenger is compared with: the champion (of a refit its judged model), or without one the base rate.

    Attributes:
        contender: name, hash and windows of the model, for the gate.
        model: the model; None for the base rate.
        recipe: hash of the recipe that the model was made by; empty for the base rate.
        scores: its scores on the holdout, shape (n_rows,).
        golden_scores: its scores on the golden set, shape (n_golden_rows,), or a text that says why there are none.
    """

    contender: Contender
    model: Model | None
    recipe: str
    scores: np.ndarray
    golden_scores: np.ndarray | str


@dataclass(frozen=True, eq=False)
class Case:
    """One comparison: challenger and opponent, their scores, and the rows that they are scored on.

    Attributes:
        fitted: record of the challenger's fit.
        folder: folder of the challenger's exported model.
        challenger: name, hash and windows of the challenger, for the gate.
        opponent: the model that it is compared with.
        champion_version: the champion's version; None if the opponent is the base rate.
        scores: the challenger's scores on the holdout, shape (n_rows,).
        holdout: rows of the holdout.
        window: first and last instant of the holdout, and what was known of it.
        drift: how the attributions of both models differ; None without a champion.
        beside: scores on the holdout of models that decide nothing, by name.
        meetings: comparisons on the golden set and with an ancestor.
        notes: remarks for the verdict.
        is_due: whether the champion is old enough for a refresh.
    """

    fitted: fit.Fit
    folder: Path
    challenger: Contender
    opponent: Opponent
    champion_version: str | None
    scores: np.ndarray
    holdout: pd.DataFrame
    window: Holdout
    drift: AttributionDrift | None
    beside: dict[str, np.ndarray]
    meetings: list[Meeting]
    notes: list[str]
    is_due: bool

    def rows(self, config: Config) -> Rows:
        """The rows of the comparison, as the gate takes them."""
        return Rows(
            labels=self.holdout["label"].to_numpy(),
            champion=self.opponent.scores,
            challenger=self.scores,
            clusters=cluster_codes(config, self.holdout),
            event_times=_event_times(self.holdout),
            missed=missed_costs(config.costs, self.holdout) if config.costs else None,
        )


def gather(
    config: Config, as_of: dt.datetime, model: str, champions: Sequence[str], reserved: golden.GoldenSet | None, is_due: bool
) -> Case:
    """Score the holdout and the golden set with challenger and opponent, and the holdout with an ancestor.

    Args:
        config: the deployment.
        as_of: the instant of the training.
        model: address of the challenger, fitted and exported.
        champions: versions whose promotions stand, oldest first.
        reserved: the golden set; None if the deployment has none.
        is_due: whether the champion is old enough for a refresh.

    Raises:
        GateError: the champion cannot score the holdout.
    """
    fitted = fit.describe(config, model)
    training_set = dataset.describe(config, fitted.training_set)
    rows = dataset.read(config, fitted.training_set)
    holdout = rows[rows[dataset.SPLIT] == dataset.HOLDOUT]
    folder = export.folder_of(config, model)
    challenger, version = Model(folder), champions[-1] if champions else None
    golden_rows = golden.read(config, reserved) if reserved else holdout.head(0)
    if version is None:
        opponent = _base_rate(fitted, rows, len(holdout), len(golden_rows))
    else:
        opponent = _champion(config, version, holdout, golden_rows)
    beside = _beside(config, model, rows, first=version is None)
    scores = challenger.score(holdout)
    drift = attribution_drift(opponent.model, challenger, holdout) if opponent.model else None
    notes = [drift.sentence] if drift else []
    notes += _others_in_words(holdout, {name: beside[name] for name in fit.others(config, model)})
    meetings = [_golden_meeting(config, reserved, golden_rows, opponent, challenger)] if reserved else []
    if config.gate.ancestor:
        met, note = _ancestor_meeting(config, champions, holdout, scores)
        meetings, notes = meetings + met, notes + note
    window = Holdout(
        start=dt.datetime.fromisoformat(training_set.windows["holdout_start"]),
        end=dt.datetime.fromisoformat(training_set.windows["holdout_end"]),
        labels_known_until=as_of,
        digest=fitted.training_set,
    )
    return Case(
        fitted=fitted,
        folder=folder,
        challenger=_contender(f"challenger {model[:8]}", folder_hash(folder), fitted),
        opponent=opponent,
        champion_version=version,
        scores=scores,
        holdout=holdout,
        window=window,
        drift=drift,
        beside=beside,
        meetings=meetings,
        notes=notes,
        is_due=is_due,
    )


def golden_set(config: Config, as_of: dt.datetime) -> golden.GoldenSet | None:
    """The newest version of the golden set, None if the deployment has none; the first version is frozen here."""
    if config.gate.golden is None:
        return None
    found = golden.newest(config)
    return found or golden.freeze(config, as_of, "judge", "the first training: there was no version yet")


def _beside(config: Config, model: str, rows: pd.DataFrame, first: bool) -> dict[str, np.ndarray]:
    """What the training's other candidates score on the holdout, by name, and a forest beside a first champion's candidate.

    They are for comparison and decide nothing: which candidate goes before the gate was decided on the validation window.
    """
    train, holdout = (rows[rows[dataset.SPLIT] == part] for part in (dataset.TRAIN, dataset.HOLDOUT))
    found = {name: other.score(holdout) for name, other in fit.others(config, model).items()}
    if first:
        inputs = Model(fit.folder_of(config, model)).inputs
        forest = random_forest(inputs, train, holdout, config.gate.seed)
        found[forest.name] = forest.scores
    return found


def _others_in_words(holdout: pd.DataFrame, scores: dict[str, np.ndarray]) -> list[str]:
    if not scores:
        return []
    labels = holdout["label"].to_numpy()
    figures = ", ".join(f"{name} {average_precision(labels, values):.4f}" for name, values in scores.items())
    return [f"candidates that the validation window did not select, average precision on the holdout: {figures}"]


def _base_rate(fitted: fit.Fit, rows: pd.DataFrame, n_holdout_rows: int, n_golden_rows: int) -> Opponent:
    """The opponent of a first champion: the share of positives in the rows that it was fitted on, as the score of every row."""
    rate = float(rows.loc[rows[dataset.SPLIT] != dataset.HOLDOUT, "label"].mean())
    digest = hashlib.sha256(f"{BASE_RATE} {rate!r}".encode()).hexdigest()
    contender = _contender(BASE_RATE, digest, fitted, threshold=1.0, ranks=False)
    return Opponent(contender, None, "", np.full(n_holdout_rows, rate), np.full(n_golden_rows, rate))


def _champion(config: Config, version: str, holdout: pd.DataFrame, golden_rows: pd.DataFrame) -> Opponent:
    """The champion with its scores.

    Raises:
        GateError: its features no longer exist.
    """
    registry = fit.registry(config)
    folder = copies.judged_folder(registry.fetch(version))
    fitted = fit.record_of(folder)
    contender = _contender(f"champion {version}", registry.judged_hash(version), fitted)
    scorer = Model(folder)
    scores, golden_scores = _scores(scorer, holdout), _scores(scorer, golden_rows)
    if isinstance(scores, str):
        raise GateError(
            f"{contender.name} cannot score the holdout: {scores}. A champion is judged with its own features: keep their "
            "windows in the deployment file until a successor is promoted"
        )
    return Opponent(contender, scorer, fitted.recipe, scores, golden_scores)


def _scores(model: Model, rows: pd.DataFrame) -> np.ndarray | str:
    """Scores, or why there are none: a column that the model needs is not there."""
    if rows.empty:
        return np.empty(0)
    try:
        return model.score(rows)
    except KeyError as error:
        return str(error.args[0])


def _golden_meeting(
    config: Config, version: golden.GoldenSet, rows: pd.DataFrame, opponent: Opponent, challenger: Model
) -> Meeting:
    subject = f"version {version.version}"
    old, new = opponent.golden_scores, _scores(challenger, rows)
    why = old if isinstance(old, str) else new if isinstance(new, str) else ""
    if why:
        freeze = "freeze a new version with the features of today: `python -m ml golden freeze`"
        return Meeting(GOLDEN_SET, subject, impossible=f"it cannot be scored: {why}; {freeze}")
    return Meeting(GOLDEN_SET, subject, rows["label"].to_numpy(), old, new, cluster_codes(config, rows), _event_times(rows))


def _ancestor_meeting(
    config: Config, champions: Sequence[str], holdout: pd.DataFrame, scores: np.ndarray
) -> tuple[list[Meeting], list[str]]:
    """The meeting with the champion of some promotions ago, or a note why there is none."""
    back = int(config.gate.ancestor.promotions.value) if config.gate.ancestor else 0
    if len(champions) <= back:
        return [], []
    version = champions[-1 - back]
    old = _scores(Model(copies.judged_folder(fit.registry(config).fetch(version))), holdout)
    if isinstance(old, str):
        return [], [f"{ANCESTOR} version {version} cannot be met any more: {old}"]
    subject = f"version {version}, {back} promotions ago"
    labels, clusters = holdout["label"].to_numpy(), cluster_codes(config, holdout)
    return [Meeting(ANCESTOR, subject, labels, old, scores, clusters, _event_times(holdout))], []


def _event_times(rows: pd.DataFrame) -> np.ndarray:
    times: np.ndarray = rows["event_time"].dt.tz_localize(None).to_numpy()
    return times


def _contender(name: str, model_hash: str, fitted: fit.Fit, threshold: float | None = None, ranks: bool = True) -> Contender:
    return Contender(
        name=name,
        model_hash=model_hash,
        trained_until=dt.datetime.fromisoformat(fitted.trained_until),
        labels_known_until=dt.datetime.fromisoformat(fitted.labels_known_until),
        threshold=fitted.threshold if threshold is None else threshold,
        ranks=ranks,
    )
