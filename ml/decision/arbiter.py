"""The arbiter: whether a training starts, for which of the open requests, and how the others are answered.

Five triggers ask; at most one training starts, for the strongest request that nothing holds back, and every other one joins
it. What nothing can close yet waits: a request by drift or lost performance stays open until a training serves it or the
champion that it speaks of is no longer in place; every other one is refused, because its trigger comes again by itself.

A training serves a request when it comes to a decision. One that has not when another run asks has failed, for trainings of a
deployment run one after the other: the alarms that it was for ask again, and count in no cooldown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ml.config.monitoring import Retraining
from ml.ledger.requests import SERVED, Answer, Recorded
from ml.ledger.words import AnswerWord, Trigger

# The gate may relax its alpha for the first two, so they lead whatever else is open.
PRECEDENCE: tuple[Trigger, ...] = ("performance", "drift", "on_demand", "new_data", "schedule")
ALARMS: tuple[Trigger, ...] = ("performance", "drift")
MONTH = dt.timedelta(days=30)


@dataclass(frozen=True)
class Situation:
    """What the arbiter sees besides the open requests.

    Attributes:
        run_id: the run that asks.
        champion: the version in place.
        obstacle: why no training can start at all, or None.
        decided: other runs whose trainings came to a decision.
        alarmed: when trainings by drift or lost performance were started, by their `as_of`.
        trained: when the last training that came to a decision was, by its `as_of`; None before the first.
    """

    as_of: dt.datetime
    run_id: str
    champion: str | None
    obstacle: str | None
    decided: Collection[str]
    alarmed: Sequence[dt.datetime]
    trained: dt.datetime | None

    def answer(self, request: Recorded, verb: AnswerWord, reason: str, run_id: str = "") -> Answer:
        """An answer to a request; `run_id` names the run that trains if it is another one."""
        return Answer(request=request.id, answer=verb, reason=reason, run_id=run_id or self.run_id, as_of=self.as_of)


def leading(requests: Sequence[Recorded]) -> Recorded:
    """The request whose trigger a training carries; the oldest one of the strongest trigger."""
    return min(requests, key=lambda request: (PRECEDENCE.index(request.trigger), request.id))


def asks(situation: Situation, request: Recorded) -> bool:
    """Whether a request is still to be answered by the run; a task that is cleared asks again for what it was refused."""
    if any(request.is_served_by(run_id) for run_id in situation.decided):
        return False
    if request.is_open:
        return True
    if request.answers[-1].answer == "refused":
        return request.answers[-1].run_id == situation.run_id
    return request.trigger in ALARMS and not request.is_served_by(situation.run_id)


def alarmed(requests: Sequence[Recorded], decided: Collection[str]) -> list[dt.datetime]:
    """When the trainings by drift or lost performance were started that came to a decision, oldest first."""
    answers = [answer for request in requests if request.trigger in ALARMS for answer in request.answers]
    return sorted({a.run_id: a.as_of for a in answers if a.answer in SERVED and a.run_id in decided}.values())


def held_back(rules: Retraining, situation: Situation, request: Recorded) -> Answer | None:
    """The answer to a request that starts no training now, or None if nothing holds it back."""
    by_alarm = request.trigger in ALARMS
    if by_alarm and (version := request.evidence.get("version")) != situation.champion:
        return situation.answer(
            request, "refused", f"it speaks of version {version}, and version {situation.champion} is champion by now"
        )
    if situation.obstacle is not None:
        return situation.answer(request, "waits" if by_alarm else "refused", situation.obstacle)
    if request.trigger == "new_data" and (until := new_data_until(rules, situation)) is not None:
        return situation.answer(
            request, "refused", f"no training by new data until {until:%Y-%m-%d %H:%M} ({rules.new_data.reason})"
        )
    if by_alarm and (until := cooldown_until(rules, situation)) is not None:
        return situation.answer(request, "waits", f"cooldown until {until:%Y-%m-%d %H:%M} ({rules.cooldown.reason})")
    if by_alarm and (until := budget_until(rules, situation)) is not None:
        reason = f"{rules.budget.value:g} trainings in thirty days, the budget, are spent until {until:%Y-%m-%d %H:%M}"
        return situation.answer(request, "waits", f"{reason} ({rules.budget.reason})")
    return None


def new_data_until(rules: Retraining, situation: Situation) -> dt.datetime | None:
    """When new data may start a training again, None if now."""
    if situation.trained is None:
        return None
    until = situation.trained + dt.timedelta(days=rules.new_data.value)
    return until if situation.as_of < until else None


def cooldown_until(rules: Retraining, situation: Situation) -> dt.datetime | None:
    """When drift and lost performance may start a training again, None if now."""
    if not situation.alarmed:
        return None
    until = situation.alarmed[-1] + dt.timedelta(days=rules.cooldown.value)
    return until if situation.as_of < until else None


def budget_until(rules: Retraining, situation: Situation) -> dt.datetime | None:
    """When the oldest training of the budget drops out of its thirty days, None if one is left."""
    spent = [instant for instant in situation.alarmed if instant > situation.as_of - MONTH]
    budget = int(rules.budget.value)
    if len(spent) < budget:
        return None
    return spent[-budget] + MONTH if budget else situation.as_of + MONTH


def passes(rules: Retraining, situation: Situation, request: Recorded) -> str:
    """What a person's request passes, as a sentence for the record; empty if nothing."""
    if request.trigger != "on_demand":
        return ""
    untils = {"cooldown": cooldown_until(rules, situation), "budget": budget_until(rules, situation)}
    named = [f"the {name} that holds until {until:%Y-%m-%d %H:%M}" for name, until in untils.items() if until is not None]
    return f"; a person's request passes {' and '.join(named)}" if named else ""
