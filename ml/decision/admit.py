"""The step `admit`: replies to all open requests in the ledger, and decides whether a training starts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass

from ml.config import Config
from ml.decision import arbiter
from ml.decision.arbiter import Situation
from ml.decision.budget import fresh_days_at, refresh_is_due, spent
from ml.decision.learnable import learnable
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.ledger.moves import refreshed_by_champion
from ml.ledger.requests import Answer, Recorded, Request, Turn
from ml.ledger.run import BY_HAND, Run
from ml.ledger.trainings import Admission, Training
from ml.ledger.words import Trigger


@dataclass(frozen=True)
class AdmitResult:
    """Record of the step: whether the training starts, for which trigger, and why or why not."""

    admitted: bool
    as_of: str
    trigger: str
    reason: str


@dataclass(frozen=True)
class _Visible:
    """What the lake shows at an instant: time of the newest event, and a hash of all that is visible."""

    newest: dt.datetime | None
    watermark: str


@dataclass(frozen=True)
class _Asking:
    """The run that asks for a training, with what it sees; `force` trains although nothing is new."""

    situation: Situation
    seen: _Visible
    force: bool

    def admission(self, model: str, leader: Recorded) -> Admission:
        """The training that would start for a request."""
        situation = self.situation
        inputs = [situation.as_of.isoformat(), self.seen.watermark, situation.run_id if self.force else ""]
        return Admission(
            model=model,
            idempotency_key=hashlib.sha256(json.dumps(inputs).encode()).hexdigest(),
            as_of=situation.as_of,
            trigger=leader.trigger,
            requested_by=leader.requested_by,
            reason=leader.reason,
            run_id=situation.run_id,
            watermark=self.seen.watermark,
        )


def admit(
    config: Config,
    as_of: dt.datetime,
    reason: str = "",
    force: bool = False,
    run: Run = BY_HAND,
) -> AdmitResult:
    """Admit a training if a request is open that nothing holds back, and no other run has the same data in hand.

    Args:
        config: the deployment.
        as_of: the instant of the training.
        reason: why the run asks, for the ledger.
        force: train although nothing is new; an empty or stale lake, and a holdout that is used up while no refresh is due, are
            refused all the same.
        run: the training run.
    """
    run_id, ledger = run.id_at(as_of), Ledger(config.ledger)
    requests = ledger.requests
    seen = _visible(config, as_of)
    situation = _situation(config, as_of, run_id, _obstacle(config, as_of, ledger, seen, run_id, force))
    own = _own_request(config, as_of, run, run.trigger, reason) if run.trigger else None
    asking = _Asking(situation, seen, force)
    given: list[AdmitResult] = []

    def decide(turn: Turn) -> list[Answer]:
        if own is not None:
            turn.submit(own)
        answers, answer = _decide(config, asking, turn)
        given.append(answer)
        return answers

    requests.take_turn(config.name, decide)
    return given[-1]


def join_alarms(config: Config, as_of: dt.datetime, run_id: str) -> Trigger | None:
    """Attach alarms that were raised during this run to it, and return the trigger that the gate uses.

    Monitoring assesses the same data that start a training, so alarms are often raised while a training runs.

    Args:
        config: the deployment.
        as_of: the instant of the training.
        run_id: the training run.

    Returns:
        The trigger of highest precedence among the requests that the run serves; None for a run that was not admitted.
    """
    requests = Ledger(config.ledger).requests
    if not requests.served_by(config.name, run_id):
        return None
    situation = _situation(config, as_of, run_id, obstacle=None)

    def decide(turn: Turn) -> list[Answer]:
        raised = [
            r for r in turn.all() if arbiter.needs_answer(situation, r) and r.trigger in arbiter.ALARMS and r.as_of <= as_of
        ]
        free = [r for r in raised if arbiter.held_back(config.retraining, situation, r) is None]
        return [situation.answer(r, "joined", "raised while this run was on its way") for r in free]

    requests.take_turn(config.name, decide)
    return arbiter.leading(requests.served_by(config.name, run_id)).trigger


def _situation(config: Config, as_of: dt.datetime, run_id: str, obstacle: str | None) -> Situation:
    ledger = Ledger(config.ledger)
    others = [training for training in _decided(config, ledger) if training.run_id != run_id]
    decided = {training.run_id for training in others}
    history = ledger.moves.history(config.name)
    waits = config.retraining.positives.value > 0 and bool(history)
    refreshed = refreshed_by_champion(history) if waits else []
    return Situation(
        as_of=as_of,
        run_id=run_id,
        champion=ledger.moves.champion(config.name),
        obstacle=obstacle,
        decided=decided,
        alarmed=arbiter.alarmed(Ledger(config.ledger).requests.all(config.name), decided),
        trained=max((training.as_of for training in others), default=None),
        learnable=learnable(config, as_of) if waits else None,
        refreshed=refreshed,
        championed=history[-1].as_of.date() if refreshed else None,
    )


def _own_request(config: Config, as_of: dt.datetime, run: Run, trigger: Trigger, reason: str) -> Request:
    return Request(
        model=config.name,
        key=f"run {run.id_at(as_of)}",
        trigger=trigger,
        as_of=as_of,
        requested_by=run.actor,
        reason=reason or f"{trigger} as of {as_of:%Y-%m-%d %H:%M}",
        evidence={"run_id": run.id_at(as_of)},
    )


def _decide(config: Config, asking: _Asking, turn: Turn) -> tuple[list[Answer], AdmitResult]:
    situation, rules = asking.situation, config.retraining
    everything = turn.all()
    asked = [r for r in everything if arbiter.needs_answer(situation, r)]
    served = [r for r in everything if r.is_served_by(situation.run_id)]
    if not asked and not served:
        return [], _refusal(situation, "", "no request is open: the run that was asked for has answered it already")
    held = [waiting for r in asked if (waiting := arbiter.held_back(rules, situation, r)) is not None]
    left = [r for r in asked if r.id not in {waiting.request for waiting in held}]
    if situation.obstacle is not None or not (left or served):
        return held, _refusal(situation, (asked or served)[0].trigger, situation.obstacle or held[0].reason)
    leader = arbiter.leading([*left, *served])
    answer = turn.admit(asking.admission(config.name, leader))
    if not answer.admitted:
        others = [r for r in left if not r.is_served_by(answer.holder)]
        same = f"run {answer.holder} has the same data in hand"
        joined = [situation.answer(r, "joined", same, answer.holder) for r in others]
        return [*joined, *held], _refusal(situation, leader.trigger, answer.reason)
    joined = [situation.answer(r, "joined", f"with request {leader.id} ({leader.trigger})") for r in left if r != leader]
    reason = _started(leader, len({r.id for r in [*left, *served]}) - 1) + arbiter.passes(rules, situation, leader)
    started = [situation.answer(leader, "started", reason)] if leader in left else []
    return [*started, *joined, *held], AdmitResult(True, situation.as_of.isoformat(), leader.trigger, reason)


def _refusal(situation: Situation, trigger: str, why: str) -> AdmitResult:
    return AdmitResult(False, situation.as_of.isoformat(), trigger, why)


def _started(leader: Recorded, others: int) -> str:
    named = f"for request {leader.id} ({leader.trigger}, by {leader.requested_by}): {leader.reason}"
    return f"{named}; {others} other requests joined" if others else named


def _obstacle(config: Config, as_of: dt.datetime, ledger: Ledger, seen: _Visible, run_id: str, force: bool) -> str | None:
    """Why no training can start, whoever asks for it, or None."""
    if seen.newest is None:
        return f"the lake holds no events at {as_of.isoformat()}: ingest first, `python -m ml ingest`"
    age = as_of - seen.newest
    limit = config.training.max_staleness
    if age > dt.timedelta(days=limit.value):
        return f"the newest event is {age.days} days old, more than {limit.value:g} ({limit.reason}): look at the feed"
    past = _decided(config, ledger)
    if past and past[-1].watermark == seen.watermark and past[-1].run_id != run_id and not force:
        return f"nothing new: run {past[-1].run_id} trained on the same events and labels as of {past[-1].as_of.isoformat()}"
    # A run that has used the holdout already may go on.
    uses = [use for use in ledger.holdouts.all(config.name) if use.run_id != run_id]
    days = fresh_days_at(config, as_of, uses)
    may_train = days.enough or refresh_is_due(config, ledger.moves.history(config.name), as_of)
    return None if may_train else spent(config, days, as_of)


def _decided(config: Config, ledger: Ledger) -> list[Training]:
    """The trainings that came to a decision, oldest first."""
    decided = {decision.run_id for decision in ledger.decisions.all(config.name)}
    return [t for t in ledger.trainings.all(config.name) if t.admitted and t.run_id in decided]


def _visible(config: Config, as_of: dt.datetime) -> _Visible:
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, as_of) as connection:
        events = connection.execute("SELECT count(*), max(event_time), max(known_at) FROM events").fetchone() or (0, None, None)
        labels = connection.execute("SELECT count(*), max(known_at) FROM labels").fetchone() or (0, None)
    visible = json.dumps([config.fingerprint, *events, *labels], default=str)
    return _Visible(events[1], hashlib.sha256(visible.encode()).hexdigest())
