"""The step `promote`: the verdict goes into the ledger, and the champion moves if, and only if, the verdict says so.

Where the deployment refits, only a refit becomes champion: by a PROMOTE of its judged model, or as a refresh of the champion.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from ml.config import Config
from ml.config.monitoring import MessageKind
from ml.decision import judgements, release
from ml.decision.case import BASE_RATE
from ml.ledger.decisions import Decision
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.run import BY_HAND, Run
from ml.lineage import events
from ml.lineage.trace import trace
from ml.model import copies
from ml.model import version as versions
from ml.registry import promotion
from ml.training import dataset, fit


@dataclass(frozen=True)
class PromoteResult:
    """Record of the step.

    Attributes:
        version: the version that was decided on.
        outcome: PROMOTE, KEEP or INCONCLUSIVE.
        champion: the champion's version now; None without a champion.
        training_set: that the version was fitted on.
        mlflow_run, mlflow_experiment: where the version's evidence is.
        note: summary for people.
    """

    version: str
    outcome: str
    champion: str | None
    training_set: str
    mlflow_run: str
    mlflow_experiment: str
    note: str


def promote(
    config: Config,
    as_of: dt.datetime,
    judgement: str,
    version: str,
    run: Run = BY_HAND,
) -> PromoteResult:
    """Record the decision; if the champion is to move, check a copy of the model and move it by compare-and-swap; tell people.

    Raises:
        PromotionRefused: the version is not the model that was judged.
        ChampionMoved: another champion than the judged one is in place; judge again.
        BrokenModel, ParityError: the registered files are not the model that was judged; nothing was moved.
    """
    judged = judgements.describe(config, judgement)
    verdict = judgements.verdict_of(config, judgement)
    ledger, registry = Ledger(config.ledger), fit.registry(config)
    if (found := registry.judged_hash(version)) != verdict["challenger_hash"]:
        raise promotion.PromotionRefused(
            f"judgement {judgement} is on model {verdict['challenger_hash'][:12]}, version {version} is model {found[:12]}: "
            "give the version that `register` printed for this judgement"
        )
    process, run_id = "train" if run.id else "", run.id_at(as_of)
    ledger.decisions.record(_decision(config, as_of, judged, verdict, version, run_id))
    action, opened = _action(config, judged, is_refit=registry.is_refit(version)), ""
    if action and config.release is not None and judged.champion_version is not None:
        action, opened = _release(config, as_of, judged, version, action, run)
    if action:
        promotion.promote(
            ledger,
            registry,
            version=version,
            judged_champion=judged.champion_version,
            verdict=verdict,
            as_of=as_of,
            actor=run.actor,
            reason=judged.reason if action == "promote" else _refreshed(judged),
            run_id=run_id,
            check=copies.check_copy,
            action=action,
        )
        versions.publish(config, registry.fetch(version), registry.digests(version))
    champion = promotion.sync(ledger, registry)
    if events.configured():
        events.send(config, trace(config, version))
    against = BASE_RATE if judged.champion_version is None else f"version {judged.champion_version}"
    ledger.messages.post(_message(config, as_of, judged, verdict, version, against, action, process, run_id))
    note = f"**{judged.outcome}** version {version} against {against}. {judged.reason}"
    if action == "refresh":
        note += f" {_refreshed(judged)}"
    elif opened:
        note += f" {opened}"
    elif judged.outcome == "PROMOTE" and not action:
        note += f" {NO_REFIT}"
    fitted = fit.describe(config, judged.model)
    return PromoteResult(
        version=version,
        outcome=verdict["outcome"],
        champion=champion,
        training_set=fitted.training_set,
        mlflow_run=registry.run_of(version),
        mlflow_experiment=fitted.mlflow_experiment,
        note=f"{note} Champion is version {champion}." if champion else note,
    )


NO_REFIT = "It is not promoted, because its refit does not agree with it: see the step `refit`."


def _action(config: Config, judged: judgements.Judgement, is_refit: bool) -> Literal["promote", "refresh", ""]:
    """How the version becomes champion; empty if it does not."""
    if config.training.refit and not is_refit:
        return ""
    if judged.outcome == "PROMOTE":
        return "promote"
    return "refresh" if judged.refresh else ""


def _release(
    config: Config,
    as_of: dt.datetime,
    judged: judgements.Judgement,
    version: str,
    action: Literal["promote", "refresh"],
    run: Run,
) -> tuple[Literal["promote", "refresh", ""], str]:
    """Release a version in steps instead of promoting it; the action that is left to do, and what was done, as a sentence.

    A refresh has the champion's recipe and needs no release, but it waits while another version is released.
    """
    course = Ledger(config.ledger).releases.open(config.name)
    if course is not None and course.release.version != version:
        return "", f"Version {course.release.version} is being released, so nothing else becomes champion meanwhile."
    if action == "refresh":
        return action, ""
    course = release.begin(config, as_of, judged, version, run)
    return "", f"It is released in steps: it answers {release.share_of(course):g} % of the traffic now."


def _refreshed(judged: judgements.Judgement) -> str:
    return (
        f"It refreshes version {judged.champion_version}: the same recipe, fitted on all that has matured, and the gate "
        "found no harm."
    )


def _message(
    config: Config,
    as_of: dt.datetime,
    judged: judgements.Judgement,
    verdict: dict[str, Any],
    version: str,
    against: str,
    action: str,
    process: str,
    run_id: str,
) -> Message:
    kinds: dict[str, tuple[MessageKind, str]] = {
        "promote": ("promotion", "is champion now"),
        "refresh": ("refresh", "is champion now, of the same recipe on newer rows"),
        "": ("verdict", f"stays out, {judged.outcome}"),
    }
    event, became = kinds[action]
    primary = verdict["primary"]
    return Message(
        model=config.name,
        key=f"{event} {version} against {against}",
        event=event,
        text=f"Version {version} {became}; trained for {verdict['trigger']}, judged against {against}. {judged.reason}",
        figure=f"{primary['name']} {primary['gain']:+.4g}, at least {primary['lower_bound']:+.4g}",
        as_of=as_of,
        process=process,
        run_id=run_id,
        version=version,
    )


def _decision(
    config: Config, as_of: dt.datetime, judged: judgements.Judgement, verdict: dict[str, Any], version: str, run_id: str
) -> Decision:
    primary = verdict["primary"]
    frozen = dataset.describe(config, fit.describe(config, judged.model).training_set)
    return Decision(
        model=config.name,
        as_of=as_of,
        trigger=verdict["trigger"],
        run_id=run_id,
        champion_version=judged.champion_version,
        challenger_version=version,
        outcome=verdict["outcome"],
        metric=primary["name"],
        difference=primary["gain"],
        lower_bound=primary["lower_bound"],
        interval_low=primary["interval"][0],
        interval_high=primary["interval"][1],
        minimum_detectable_effect=verdict["minimum_detectable_effect"],
        rows=frozen.holdout_rows,
        training_rows=frozen.train_rows,
        reason=judged.reason,
        evidence=verdict,
    )
