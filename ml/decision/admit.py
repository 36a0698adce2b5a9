"""The step `admit`: whether a training starts at all. Every request is answered in the ledger."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass

from ml.config import Config
from ml.decision.budget import fresh_days_at, spent
from ml.lake import schema
from ml.lake.tables import Lake
from ml.registry.ledger import Admission, Ledger
from ml.registry.schema import Trigger


@dataclass(frozen=True)
class Admittance:
    """Whether the training starts, and why or why not."""

    admitted: bool
    as_of: str
    trigger: str
    reason: str


@dataclass(frozen=True)
class _Visible:
    """What the lake shows at an instant."""

    newest: dt.datetime | None
    watermark: str


def admit(
    config: Config,
    as_of: dt.datetime,
    trigger: Trigger = "on_demand",
    run_id: str = "",
    requested_by: str = "command line",
    reason: str = "",
    force: bool = False,
) -> Admittance:
    """Admit a training if there is something new to learn from, and no other run has it in hand.

    Args:
        trigger: what asked for it.
        run_id: the run that asks; asking again under the same one is a retry. Made from `as_of` when empty.
        force: train although nothing is new; an empty or stale lake, and a holdout that is used up, are refused all the same.
    """
    ledger = Ledger(config.ledger)
    seen = _visible(config, as_of)
    run_id = run_id or f"command line {as_of.isoformat()}"
    told = [as_of.isoformat(), seen.watermark, run_id if force else ""]
    asked = Admission(
        model=config.name,
        idempotency_key=hashlib.sha256(json.dumps(told).encode()).hexdigest(),
        as_of=as_of,
        trigger=trigger,
        requested_by=requested_by,
        reason=reason or f"{trigger} as of {as_of:%Y-%m-%d %H:%M}",
        run_id=run_id,
        watermark=seen.watermark,
    )
    held_back = _held_back(config, as_of, ledger, seen, asked, force)
    answer = ledger.admit(asked) if held_back is None else ledger.refuse(asked, held_back)
    return Admittance(answer.admitted, as_of.isoformat(), trigger, answer.reason)


def _held_back(config: Config, as_of: dt.datetime, ledger: Ledger, seen: _Visible, asked: Admission, force: bool) -> str | None:
    """Why the request is not even put to the ledger, or None."""
    if seen.newest is None:
        return f"the lake holds no events at {as_of.isoformat()}: ingest first, `python -m ml ingest`"
    age = as_of - seen.newest
    limit = config.training.max_staleness
    if age > dt.timedelta(days=limit.value):
        return f"the newest event is {age.days} days old, more than {limit.value:g} ({limit.reason}): look at the feed"
    decided = {decision.run_id for decision in ledger.decisions(config.name)}
    past = [t for t in ledger.trainings(config.name) if t.admitted and t.run_id in decided]
    if past and past[-1].watermark == asked.watermark and past[-1].run_id != asked.run_id and not force:
        return f"nothing new: run {past[-1].run_id} trained on the same events and labels as of {past[-1].as_of.isoformat()}"
    # A run that has used the holdout already may go on.
    uses = [use for use in ledger.holdout_uses(config.name) if use.run_id != asked.run_id]
    days = fresh_days_at(config, as_of, uses)
    return None if days.enough else spent(config, days, as_of)


def _visible(config: Config, as_of: dt.datetime) -> _Visible:
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables, as_of) as connection:
        events = connection.execute("SELECT count(*), max(event_time), max(known_at) FROM events").fetchone() or (0, None, None)
        labels = connection.execute("SELECT count(*), max(known_at) FROM labels").fetchone() or (0, None)
    told = json.dumps([config.fingerprint, *events, *labels], default=str)
    return _Visible(events[1], hashlib.sha256(told.encode()).hexdigest())
