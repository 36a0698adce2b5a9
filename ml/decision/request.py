"""The steps `request_for_new_data` and `request_for_alarms`: what is seen elsewhere becomes a request in the ledger.

A request has a key of its own, so that it may be delivered again, and is only a wish: the arbiter answers it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.registry.requests import Request, Requests
from ml.registry.signals import Confirmation, Signals


@dataclass(frozen=True)
class Requested:
    """How many requests stand in the ledger for what was seen, and the instant that a training for them sees the world at.

    `newest` is the id of the newest confirmation that was asked for.
    """

    requests: int
    as_of: str
    note: str
    newest: int = 0


def request_for_new_data(config: Config, as_of: dt.datetime, run_id: str, accepted: int) -> Requested:
    """Ask for a training because rows came in; nothing is asked for where none did.

    Args:
        run_id: the run that took them in.
        accepted: number of rows.
    """
    accepted = int(accepted)
    if not accepted:
        return Requested(0, as_of.isoformat(), "no row was accepted: nothing new to learn from")
    told = f"{accepted:,} new rows as of {as_of:%Y-%m-%d %H:%M}"
    asked = Request(
        model=config.name,
        key=f"new data of {run_id}",
        trigger="new_data",
        as_of=as_of,
        requested_by="ingest",
        reason=told,
        evidence={"run_id": run_id, "accepted": accepted},
    )
    Requests(config.ledger).submit(asked)
    return Requested(1, as_of.isoformat(), "")


def request_for_alarms(config: Config, as_of: dt.datetime, after: int = 0) -> Requested:
    """Ask for a training for every confirmed drift or loss of performance that was recorded after a given one.

    Args:
        after: id of the last confirmation that was asked for; asking for it again changes nothing.
    """
    found = Signals(config.ledger).confirmations(config.name, int(after))
    requests = Requests(config.ledger)
    for confirmed in found:
        asked = Request(
            model=config.name,
            key=key_of(confirmed),
            trigger=confirmed.trigger,
            as_of=confirmed.as_of,
            requested_by="monitor",
            reason=confirmed.reason,
            evidence={**confirmed.evidence, "version": confirmed.version, "day": confirmed.day.isoformat()},
        )
        requests.submit(asked)
    if not found:
        return Requested(0, as_of.isoformat(), "", int(after))
    told = "; ".join(confirmed.reason for confirmed in found)
    return Requested(len(found), max(confirmed.as_of for confirmed in found).isoformat(), told, found[-1].id)


def key_of(alarm: Confirmation) -> str:
    """Key of the request that an alarm makes."""
    return f"confirmation {alarm.id}"
