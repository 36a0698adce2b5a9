"""The arbiter: decides whether a training starts, for which of the open requests, and replies to the others.

At most one training starts, for the request of highest precedence that nothing holds back; the others join it. If no training
can start, requests of drift and performance stay open until a training serves them or their champion is replaced. Other
requests are refused: the schedule and new data ask again by themselves, and a person has to ask again.

With `retraining.positives` an alarm is answered by the first training that can learn of it: until so many positives since its
day are among the rows that a training ships, the request stays open, also when the champion is refreshed meanwhile.

A training serves its requests when it comes to a decision. Trainings of one deployment run one at a time. So if another run
asks and the last training has no decision, that training failed: its alarm requests need a reply again, and it starts no
cooldown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ml.config.monitoring import Retraining
from ml.decision.learnable import Learnable
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
        as_of: the instant of the training that would start.
        run_id: the run that asks for it.
        champion: the champion's version; None without a champion.
        obstacle: why no training can start for any request; None if one can.
        decided: ids of other runs whose trainings came to a decision.
        alarmed: `as_of` of each training that an alarm started and that came to a decision, oldest first.
        trained: `as_of` of the last training that came to a decision; None before the first.
        learnable: what the training can learn of a change; None where alarms do not wait for that.
        refreshed: versions that the champion is a refresh of, one after the other.
        championed: day of the training that the champion is of; None where that does not matter.
    """

    as_of: dt.datetime
    run_id: str
    champion: str | None
    obstacle: str | None
    decided: Collection[str]
    alarmed: Sequence[dt.datetime]
    trained: dt.datetime | None
    learnable: Learnable | None = None
    refreshed: Collection[str] = ()
    championed: dt.date | None = None

    def answer(self, request: Recorded, verb: AnswerWord, reason: str, run_id: str = "") -> Answer:
        """An answer to a request; `run_id` names the run that trains if it is another one."""
        return Answer(request=request.id, answer=verb, reason=reason, run_id=run_id or self.run_id, as_of=self.as_of)


def leading(requests: Sequence[Recorded]) -> Recorded:
    """The request whose trigger a training carries: the oldest one of the trigger of highest precedence."""
    return min(requests, key=lambda request: (PRECEDENCE.index(request.trigger), request.id))


def needs_answer(situation: Situation, request: Recorded) -> bool:
    """Whether the run has to reply to a request; a task that is cleared replies again to what it refused."""
    if any(request.is_served_by(run_id) for run_id in situation.decided):
        return False
    if request.is_open:
        return True
    if request.answers[-1].answer == "refused":
        return request.answers[-1].run_id == situation.run_id
    return request.trigger in ALARMS and not request.is_served_by(situation.run_id)


def alarmed(requests: Sequence[Recorded], decided: Collection[str]) -> list[dt.datetime]:
    """The `as_of` of each training that an alarm started and that came to a decision, oldest first."""
    answers = [answer for request in requests if request.trigger in ALARMS for answer in request.answers]
    return sorted({a.run_id: a.as_of for a in answers if a.answer in SERVED and a.run_id in decided}.values())


def held_back(rules: Retraining, situation: Situation, request: Recorded) -> Answer | None:
    """The answer to a request that starts no training now, or None if nothing holds it back."""
    by_alarm = request.trigger in ALARMS
    if by_alarm and (replaced := is_replaced(rules, situation, request)):
        return situation.answer(request, "refused", replaced)
    if by_alarm and (reason := is_not_learnable(rules, situation, request)):
        return situation.answer(request, "waits", reason)
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


def is_replaced(rules: Retraining, situation: Situation, request: Recorded) -> str:
    """That an alarm is not about the champion any more, as a sentence; empty if it still is.

    A refresh has the recipe of the version that it replaces, so an alarm stands until a refresh has learned of it.
    """
    version, champion = request.evidence.get("version"), situation.champion
    if version == champion:
        return ""
    sentence = f"it speaks of version {version}, and version {champion} is champion by now"
    known, night = situation.learnable, situation.championed
    if version not in situation.refreshed or known is None or night is None:
        return sentence
    learned = known.since(day_of(request), night)
    return f"{sentence}, fitted on {learned} positives since {day_of(request)}" if learned >= rules.positives.value else ""


def is_not_learnable(rules: Retraining, situation: Situation, request: Recorded) -> str:
    """What an alarm waits for until a training can learn of it, as a sentence; empty if one can."""
    known, needed = situation.learnable, rules.positives.value
    if known is None or (there := known.since(day := day_of(request))) >= needed:
        return ""
    night = known.expected(day, needed)
    when = f"are expected on {night}" if night else "cannot be expected: none has come for two weeks"
    return f"labels on {needed:g} positives since {day} {when}; a training would have {there} now ({rules.positives.reason})"


def day_of(request: Recorded) -> dt.date:
    """The day that an alarm is about."""
    return dt.date.fromisoformat(request.evidence["day"])


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
    """Cooldown and budget that do not hold back a person's request, as a sentence for the record; empty if there is none."""
    if request.trigger != "on_demand":
        return ""
    untils = {"cooldown": cooldown_until(rules, situation), "budget": budget_until(rules, situation)}
    named = [f"the {name} that holds until {until:%Y-%m-%d %H:%M}" for name, until in untils.items() if until is not None]
    return f"; a person's request passes {' and '.join(named)}" if named else ""
