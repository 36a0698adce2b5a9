"""The step `judge`: champion and challenger on the same unseen rows, and a verdict with its evidence."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config
from ml.decision import arbiter
from ml.decision.admit import join_alarms
from ml.decision.budget import fresh_days, spent
from ml.decision.footprint import footprint
from ml.errors import BadInput
from ml.evaluation import gate, pictures
from ml.evaluation.gate import ANCESTOR, GOLDEN_SET, Contender, GateError, Holdout, Meeting, Rows, Rules
from ml.evaluation.guardrails import CARD_PRECISION, LATENCY, SIZE
from ml.evaluation.metrics import average_precision, card_precision, roc_auc
from ml.evaluation.statistics import CALIBRATION, EXPECTED_COST, ROC_AUC
from ml.evaluation.verdict import Verdict
from ml.explanation.attributions import attribution_drift
from ml.ledger.holdouts import HoldoutUse
from ml.ledger.ledger import Ledger
from ml.ledger.moves import champions_of
from ml.ledger.run import BY_HAND, Run
from ml.ledger.words import Trigger
from ml.model.model import Model
from ml.registry.turn import turn
from ml.registry.versions import folder_hash
from ml.training import dataset, export, fit, golden
from ml.training.baseline import random_forest
from ml.training.costs import missed_costs
from ml.training.cuts import attributes_of, slices_of
from ml.training.entities import cluster_codes
from ml.training.refused import record_refusal

VERDICT = "verdict.json"
BESIDE = ("challenger_hash", "champion_hash", "attribution_drift", "refresh")
BASE_RATE = "base rate"


class HoldoutSpent(GateError):
    """Too few days of the holdout are fresh; the message says on which night the next decision can fall."""


@dataclass(frozen=True)
class Judgement:
    """The gate's answer on a model: where its evidence lies, and the sentence for the person on call.

    `refresh` says whether the champion may be refreshed by this model's refit, if the outcome is not PROMOTE.
    """

    judgement: str
    model: str
    champion_version: str | None
    outcome: str
    reason: str
    metrics: dict[str, float]
    refresh: bool = False


@dataclass(frozen=True, eq=False)
class _Champion:
    """Whom the challenger meets: the champion, or the base rate where there is none. Of a refit it is the judged model.

    `scores` are those of the holdout, `golden_scores` those of the golden set, or a text that says why there are none; `model`
    is None for the base rate, whose `recipe` is empty.
    """

    contender: Contender
    model: Model | None
    recipe: str
    scores: np.ndarray
    golden_scores: np.ndarray | str


def folder_of(config: Config, judgement: str) -> Path:
    """Folder of a judgement: the verdict as a record, its pictures, and the record of this step."""
    return config.home / "judgements" / judgement


def describe(config: Config, judgement: str) -> Judgement:
    """The record of a judgement."""
    return Judgement(**json.loads((folder_of(config, judgement) / "judgement.json").read_text()))


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


def judge(config: Config, as_of: dt.datetime, model: str, run: Run = BY_HAND) -> Judgement:
    """Judge a fitted and exported model against the champion, or against the base rate where there is none.

    A first champion has to be shown to be better than no model, by the same statistics as any other. The base rate gives every
    row the same score, so that its average precision is the share of positives, its ROC AUC is .5, and its cost is that of as
    many alerts on rows at random. No guardrail asks a first champion to be calibrated as well as a constant.

    Args:
        model: address of the model.
        run: its trigger counts if the ledger holds no request that it serves; else the strongest of those. The deployment file
            may relax alpha for a confirmed drift or loss of performance, and for a champion that is old.

    Raises:
        BadInput: the trigger is drift or lost performance, and the run serves no such request.
        GateError: the comparison would be worthless; there is no verdict and nothing can be promoted. It is recorded as a
            refusal, so that nights in a row without a verdict are reported.
        HoldoutSpent: too few days of the holdout are new to the gate.
    """
    with (
        record_refusal(config, as_of, "judge", run.id, GateError, except_for=(HoldoutSpent,)),
        turn(config.home / "judgements" / "judge.lock"),
    ):
        return _judge(config, as_of, model, run)


def _judge(config: Config, as_of: dt.datetime, model: str, run: Run) -> Judgement:
    ledger = Ledger(config.ledger)
    history = ledger.moves.history(config.name)
    champions = champions_of(history)
    champion_version = champions[-1] if champions else None
    run_id, trigger = run.id_at(as_of), _trigger_of(config, as_of, run)
    age = as_of - history[-1].as_of if history else dt.timedelta(0)
    alpha = config.gate.alpha_of(trigger, age)
    fitted = fit.describe(config, model)
    reserved = _golden_set(config, as_of)
    is_due = config.training.refit is not None and age >= config.training.refit.refresh.span
    asked = [model, champions, config.gate.model_dump(), alpha, reserved and reserved.sha256, is_due]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    folder = folder_of(config, key)
    if folder.exists():
        return describe(config, key)
    frozen = dataset.describe(config, fitted.training_set)
    rows = dataset.read(config, fitted.training_set)
    holdout = rows[rows[dataset.SPLIT] == dataset.HOLDOUT]
    challenger_folder = fit.folder_of(config, model) / export.EXPORT
    challenger = _contender(f"challenger {model[:8]}", folder_hash(challenger_folder), fitted)
    scored = Model(challenger_folder)
    frozen_rows = golden.read(config, reserved) if reserved else holdout.head(0)
    beside = _beside(config, model, rows, first=champion_version is None)
    champion = (
        _champion(config, champion_version, holdout, frozen_rows)
        if champion_version
        else _base_rate(fitted, rows, len(holdout), len(frozen_rows))
    )
    window = Holdout(
        start=dt.datetime.fromisoformat(frozen.windows["holdout_start"]),
        end=dt.datetime.fromisoformat(frozen.windows["holdout_end"]),
        labels_known_until=as_of,
        digest=fitted.training_set,
    )
    scores = scored.score(holdout)
    drift = attribution_drift(champion.model, scored, holdout) if champion.model else None
    meetings: list[Meeting] = []
    notes = [drift.sentence] if drift else []
    notes += _told_beside(holdout, {name: beside[name] for name in fit.others(config, model)})
    if reserved:
        meetings.append(_golden_meeting(config, reserved, frozen_rows, champion, scored))
    if config.gate.ancestor:
        met, note = _ancestor_meeting(config, champions, holdout, scores)
        meetings, notes = meetings + met, notes + note
    use = HoldoutUse(
        model=config.name,
        challenger_hash=challenger.model_hash,
        champion_hash=champion.contender.model_hash,
        start=window.start,
        end=window.end,
        alpha=alpha,
        as_of=as_of,
        run_id=run_id,
    )
    verdict = gate.judge(
        champion=champion.contender,
        challenger=challenger,
        holdout=window,
        rows=Rows(
            labels=holdout["label"].to_numpy(),
            champion=champion.scores,
            challenger=scores,
            clusters=cluster_codes(config, holdout),
            event_times=_event_times(holdout),
            missed=missed_costs(config.costs, holdout) if config.costs else None,
        ),
        rules=rules_of(config, alpha),
        replicates=config.gate.replicates,
        seed=config.gate.seed,
        trigger=trigger,
        slices=slices_of(config, holdout),
        attributes=attributes_of(config, holdout),
        meetings=meetings,
        footprint=footprint(challenger_folder, holdout),
        notes=notes,
        spend=partial(_use, config, ledger, use),
    )
    document = verdict.to_dict() | {
        "challenger_hash": challenger.model_hash,
        "champion_hash": None if champion_version is None else champion.contender.model_hash,
        "attribution_drift": drift and asdict(drift),
        "refresh": is_due and champion.recipe == fitted.recipe != "" and not verdict.harms,
    }
    record = {
        "judgement": key,
        "model": model,
        "champion_version": champion_version,
        "outcome": str(verdict.outcome),
        "reason": verdict.reason,
        "refresh": document["refresh"],
        "metrics": _metrics(config, holdout, {"challenger": scores, "champion": champion.scores})
        | _metrics(config, holdout, {name.replace(" ", "_"): values for name, values in beside.items()}),
    }
    half = folder.with_name(f"{key}.partial")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    pictures.draw_verdict(verdict, half / "verdict.png")
    pictures.draw_checks(verdict, half / "checks.png")
    named = {champion.contender.name: champion.scores, challenger.name: scores}
    pictures.draw_curves(holdout["label"].to_numpy(), named, half / "curves.png")
    pictures.draw_importance(list(fitted.importance), list(fitted.importance.values()), half / "importance.png")
    (half / VERDICT).write_text(json.dumps(document, indent=1))
    (half / "judgement.json").write_text(json.dumps(record, indent=1))
    half.rename(folder)
    return describe(config, key)


def _trigger_of(config: Config, as_of: dt.datetime, run: Run) -> Trigger:
    """The strongest reason for which a run trains; nobody has an alpha relaxed by saying so."""
    served = join_alarms(config, as_of, run.id_at(as_of))
    if served:
        return served
    if run.trigger in arbiter.ALARMS:
        raise BadInput(
            f"run {run.id_at(as_of)} serves no request by {run.trigger}, so it cannot be judged as one: "
            "see `python -m ml requests`, and let `admit` answer them"
        )
    return run.trigger or "on_demand"


def rules_of(config: Config, alpha: float) -> Rules:
    """What the deployment file declares, at the alpha of a run."""
    gate, rails = config.gate, config.gate.guardrails
    margins = {
        ROC_AUC.name: rails.roc_auc,
        CARD_PRECISION: rails.card_precision,
        CALIBRATION.name: rails.calibration,
        EXPECTED_COST.name: rails.expected_cost,
        GOLDEN_SET: gate.golden and gate.golden.drop,
        ANCESTOR: gate.ancestor and gate.ancestor.drop,
    }
    gap = gate.fairness and gate.fairness.gap
    return Rules(
        metric=gate.metric,
        alpha=alpha,
        worthwhile_gain=gate.worthwhile_gain.value,
        margins={name: margin.value for name, margin in margins.items() if margin},
        limits={LATENCY: rails.latency.value, SIZE: rails.size.value},
        cards_a_day=int(config.training.alerts.value),
        alert_cost=config.costs.alert.value if config.costs else 0.0,
        false_alert_cost=config.costs.false_alert.value if config.costs else 0.0,
        slice_harm=gate.slices.harm.value,
        slice_clusters=int(gate.slices.clusters.value),
        fairness_gap=gap.value if gap else None,
    )


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


def _told_beside(holdout: pd.DataFrame, scores: dict[str, np.ndarray]) -> list[str]:
    if not scores:
        return []
    labels = holdout["label"].to_numpy()
    figures = ", ".join(f"{name} {average_precision(labels, values):.4f}" for name, values in scores.items())
    return [f"candidates that the validation window did not select, average precision on the holdout: {figures}"]


def _base_rate(fitted: fit.Fit, rows: pd.DataFrame, holdout: int, frozen: int) -> _Champion:
    """Whom a first champion has to beat: the label's rate on the rows that it was fitted to, as the score of every row."""
    rate = float(rows.loc[rows[dataset.SPLIT] != dataset.HOLDOUT, "label"].mean())
    digest = hashlib.sha256(f"{BASE_RATE} {rate!r}".encode()).hexdigest()
    contender = _contender(BASE_RATE, digest, fitted, threshold=1.0, ranks=False)
    return _Champion(contender, None, "", np.full(holdout, rate), np.full(frozen, rate))


def _champion(config: Config, version: str, holdout: pd.DataFrame, frozen: pd.DataFrame) -> _Champion:
    """The champion with its scores.

    Raises:
        GateError: its features no longer exist.
    """
    registry = fit.registry(config)
    folder = export.judged_folder(registry.fetch(version))
    fitted = fit.record_of(folder)
    contender = _contender(f"champion {version}", registry.judged_hash(version), fitted)
    scorer = Model(folder)
    scores, frozen_scores = _scores(scorer, holdout), _scores(scorer, frozen)
    if isinstance(scores, str):
        raise GateError(
            f"{contender.name} cannot score the holdout: {scores}. A champion is judged with its own features: keep their "
            "windows in the deployment file until a successor is promoted"
        )
    return _Champion(contender, scorer, fitted.recipe, scores, frozen_scores)


def _scores(model: Model, rows: pd.DataFrame) -> np.ndarray | str:
    """Scores, or why there are none: a column that the model needs is not there."""
    if rows.empty:
        return np.empty(0)
    try:
        return model.score(rows)
    except KeyError as error:
        return str(error.args[0])


def _golden_set(config: Config, as_of: dt.datetime) -> golden.GoldenSet | None:
    """The newest version; the first one is frozen here, when it is first asked for."""
    if config.gate.golden is None:
        return None
    found = golden.newest(config)
    return found or golden.freeze(config, as_of, "judge", "the first training: there was no version yet")


def _golden_meeting(
    config: Config, version: golden.GoldenSet, rows: pd.DataFrame, champion: _Champion, challenger: Model
) -> Meeting:
    subject = f"version {version.version}"
    old, new = champion.golden_scores, _scores(challenger, rows)
    why = old if isinstance(old, str) else new if isinstance(new, str) else ""
    if why:
        freeze = "freeze a new version with the features of today: `python -m ml golden freeze`"
        return Meeting(GOLDEN_SET, subject, impossible=f"it cannot be scored: {why}; {freeze}")
    return Meeting(GOLDEN_SET, subject, rows["label"].to_numpy(), old, new, cluster_codes(config, rows), _event_times(rows))


def _ancestor_meeting(
    config: Config, champions: list[str], holdout: pd.DataFrame, scores: np.ndarray
) -> tuple[list[Meeting], list[str]]:
    """The meeting with the champion of some promotions ago, or a note why there is none."""
    back = int(config.gate.ancestor.promotions.value) if config.gate.ancestor else 0
    if len(champions) <= back:
        return [], []
    version = champions[-1 - back]
    old = _scores(Model(export.judged_folder(fit.registry(config).fetch(version))), holdout)
    if isinstance(old, str):
        return [], [f"{ANCESTOR} version {version} cannot be met any more: {old}"]
    subject = f"version {version}, {back} promotions ago"
    labels, clusters = holdout["label"].to_numpy(), cluster_codes(config, holdout)
    return [Meeting(ANCESTOR, subject, labels, old, scores, clusters, _event_times(holdout))], []


def _use(config: Config, ledger: Ledger, use: HoldoutUse) -> None:
    """Take the window from the budget, or refuse."""

    def allowed(past: list[HoldoutUse]) -> None:
        days = fresh_days(config, use.start, use.end, past)
        if not days.enough:
            raise HoldoutSpent(spent(config, days, use.as_of))

    ledger.holdouts.record(use, allowed)


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
