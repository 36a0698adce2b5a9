"""The step `judge`: champion and challenger on the same unseen rows, and a verdict with its evidence."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from functools import partial

from ml import artifacts
from ml.config import Config
from ml.decision import arbiter, judgements
from ml.decision.admit import join_alarms
from ml.decision.budget import fresh_days, refresh_is_due, spent
from ml.decision.case import gather, golden_set
from ml.decision.footprint import footprint
from ml.decision.judgements import Judgement
from ml.errors import BadInput
from ml.evaluation import gate
from ml.evaluation.gate import ANCESTOR, GOLDEN_SET, GateError, Rules
from ml.evaluation.guardrails import CARD_PRECISION, LATENCY, SIZE, GuardrailCheck, unknown
from ml.evaluation.statistics import CALIBRATION, EXPECTED_COST, ROC_AUC
from ml.ledger.holdouts import HoldoutUse
from ml.ledger.ledger import Ledger
from ml.ledger.moves import champions_of
from ml.ledger.run import BY_HAND, Run
from ml.ledger.words import Trigger
from ml.training.cuts import attributes_of, slices_of
from ml.training.refused import record_refusal

FRESH_DAYS = "fresh days"


class HoldoutSpent(GateError):
    """Too few days of the holdout are fresh; the message says on which night the next decision can fall."""


def judge(config: Config, as_of: dt.datetime, model: str, run: Run = BY_HAND) -> Judgement:
    """Judge a fitted and exported model against the champion, or against the base rate where there is none.

    A first champion has to be shown to be better than no model, by the same statistics as any other. The base rate gives every
    row the same score, so that its average precision is the share of positives, its ROC AUC is .5, and its cost is that of the
    same number of alerts on random rows. The calibration guardrail is skipped for a first champion.

    Args:
        config: the deployment.
        as_of: the instant of the training.
        model: address of the model.
        run: the training run. The trigger for the choice of alpha is the one of highest precedence among the requests that the
            run serves; if there is none, the run's own.

    Raises:
        BadInput: the trigger is drift or lost performance, and the run serves no such request.
        GateError: the comparison would be worthless; there is no verdict and nothing can be promoted. It is recorded as a
            refusal, so that nights in a row without a verdict are reported.
        HoldoutSpent: too few days of the holdout are new to the gate, and the champion is not old enough for a refresh either.
    """
    with (
        record_refusal(config, as_of, "judge", run.id, GateError, except_for=(HoldoutSpent,)),
        artifacts.of(config).lock(judgements.KIND, "judge"),
    ):
        return _judge(config, as_of, model, run)


def _judge(config: Config, as_of: dt.datetime, model: str, run: Run) -> Judgement:
    ledger = Ledger(config.ledger)
    history = ledger.moves.history(config.name)
    champions = champions_of(history)
    trigger = _trigger_of(config, as_of, run)
    age = as_of - history[-1].as_of if history else dt.timedelta(0)
    alpha = config.gate.alpha_of(trigger, age)
    reserved = golden_set(config, as_of)
    is_due = refresh_is_due(config, history, as_of)
    asked = [model, champions, config.gate.model_dump(), alpha, reserved and reserved.sha256, is_due]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    if artifacts.of(config).has(judgements.KIND, key):
        return judgements.describe(config, key)
    case = gather(config, as_of, model, champions, reserved, is_due)
    use = HoldoutUse(
        model=config.name,
        challenger_hash=case.challenger.model_hash,
        champion_hash=case.opponent.contender.model_hash,
        start=case.window.start,
        end=case.window.end,
        alpha=alpha,
        as_of=as_of,
        run_id=run.id_at(as_of),
    )
    verdict = gate.judge(
        champion=case.opponent.contender,
        challenger=case.challenger,
        holdout=case.window,
        rows=case.rows(config),
        rules=rules_of(config, alpha),
        replicates=config.gate.replicates,
        seed=config.gate.seed,
        trigger=trigger,
        slices=slices_of(config, case.holdout),
        attributes=attributes_of(config, case.holdout),
        meetings=case.meetings,
        footprint=footprint(case.folder, case.holdout),
        notes=case.notes,
        spend=partial(_use, config, ledger, use, is_due),
    )
    return judgements.write(config, key, case, verdict)


def _trigger_of(config: Config, as_of: dt.datetime, run: Run) -> Trigger:
    """The trigger for which a run trains. A relaxed alpha needs a recorded alarm request; a caller's trigger is not enough."""
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
    """The rules that the deployment file declares, at the alpha of a run."""
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


def _use(config: Config, ledger: Ledger, use: HoldoutUse, is_due: bool) -> GuardrailCheck | None:
    """Record the use of the holdout; if too few of its days are fresh it is refused, or decides on a refresh alone."""

    def allowed(past: list[HoldoutUse]) -> None:
        days = fresh_days(config, use.start, use.end, past)
        if not days.enough:
            raise HoldoutSpent(spent(config, days, use.as_of))

    try:
        ledger.holdouts.record(use, allowed)
    except HoldoutSpent as error:
        if not is_due:
            raise
        return unknown(FRESH_DAYS, "days", config.gate.fresh.value, f"only a refresh can follow, for {error}")
    return None
