"""Plays one policy over a history: each night new rows and alarms ask, the arbiter answers, and a training may follow."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable
from functools import cache

from ml import steps
from ml.artifacts import Folder
from ml.config import PROJECT, Config
from ml.ledger.ledger import Ledger
from ml.ledger.requests import Answer, Turn
from ml.ledger.words import Trigger
from ml.replay.cache import Cache
from ml.replay.history import History
from ml.replay.nights import Nights
from ml.replay.policy import ALARMS, NEW_DATA, NIGHTLY, WEEKLY, Policy
from ml.store.kept import keeping

WEEK = 7
LONGEST = 24 * 60.0
"""Minutes of a search that ends by its trials."""


def by_trials(config: Config, trials: int) -> Config:
    """The deployment whose search for settings ends after so many trials of one worker, and not by the clock."""
    tuning = config.training.tuning
    if tuning is None:
        return config
    budget = tuning.budget.model_copy(update={"value": LONGEST})
    counted = tuning.trials.model_copy(update={"value": float(trials)})
    tuning = tuning.model_copy(update={"budget": budget, "trials": counted, "workers": 1})
    return config.model_copy(update={"training": config.training.model_copy(update={"tuning": tuning})})


def home_of(history: History, policy: Policy, trials: int) -> Config:
    """The deployment under a policy; its home follows from all that its course depends on."""
    config = by_trials(policy.applied(history.config), trials)
    settings = config.model_dump(mode="json", exclude={"home"})
    course = [settings, sorted(policy.triggers), str(history.config.home), str(history.nights[0]), _code()]
    return history.policy_config(config, hashlib.sha256(json.dumps(course).encode()).hexdigest()[:16])


@cache
def _code() -> str:
    """Hash of all code that decides, trains or monitors."""
    hashed = hashlib.sha256()
    for path in sorted((PROJECT / "ml").rglob("*.py")):
        hashed.update(path.relative_to(PROJECT).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


def play(history: History, policy: Policy, trials: int, say: Callable[[str], None]) -> Config:
    """Let the nights pass that are not played yet; the deployment under the policy, with its ledger and registry."""
    config = home_of(history, policy, trials)
    cache = Cache(history.folder / "shared")
    played = Nights.read(config.home)
    while played.nights < len(history.nights):
        begun, night = time.perf_counter(), history.nights[played.nights]
        with keeping(Folder(history.folder / "shared")):
            outcome = _night(history, policy, config, cache, played, night)
        champion = Ledger(config.ledger).moves.champion(config.name)
        if champion:
            played.champions[night] = champion
        played.nights += 1
        played.seconds += time.perf_counter() - begun
        played.write(config.home)
        say(f"{night:%Y-%m-%d} {policy.name}: champion {champion or '-'}{outcome and '; '}{outcome}")
    return config


def _night(history: History, policy: Policy, config: Config, cache: Cache, played: Nights, night: dt.datetime) -> str:
    run_id = f"night {night:%Y-%m-%d}"
    ledger = Ledger(config.ledger)
    if any(move.run_id == run_id for move in ledger.moves.history(config.name)):
        return "decided before"  # by a run that was stopped before it was noted
    champion, number = ledger.moves.champion(config.name), played.nights
    if NEW_DATA in policy.triggers:
        before = history.nights[number - 1] if number else None
        accepted = history.new_rows(before, night)
        steps.run("request_for_new_data", config, night, {"accepted": accepted, "run_id": run_id})
    if champion is not None and policy.triggers & ALARMS:
        steps.run("monitor", config, night, {"run_id": run_id})
        _refuse_others(policy, config, night)
    by_clock = NIGHTLY in policy.triggers or (WEEKLY in policy.triggers and number % WEEK == 0)
    trigger: Trigger | None = "schedule" if by_clock or (champion is None and NEW_DATA not in policy.triggers) else None
    requests = ledger.requests.all(config.name)
    if trigger is None and not any(r.is_open or r.trigger in ALARMS or r.is_served_by(run_id) for r in requests):
        return ""
    return played.train(config, night, {"run_id": run_id, "actor": "replay", "trigger": trigger}, cache.run)


def _refuse_others(policy: Policy, config: Config, night: dt.datetime) -> None:
    """Alarms that the policy does not listen to ask for nothing."""

    def decide(turn: Turn) -> list[Answer]:
        unheard = [r for r in turn.all() if r.is_open and r.trigger in ALARMS - policy.triggers]
        reason = "the policy does not listen to it"
        return [Answer(request=r.id, answer="refused", reason=reason, run_id="policy", as_of=night) for r in unheard]

    Ledger(config.ledger).requests.take_turn(config.name, decide)
