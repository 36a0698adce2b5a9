"""The step `request_for_new_data`: rows that came in become a request in the ledger.

A request has a key of its own, so that it may be delivered again, and is only a wish: the arbiter answers it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.requests import Recorded, Request
from ml.ledger.run import BY_HAND, Run


@dataclass(frozen=True)
class Requested:
    """How many requests stand in the ledger for what was seen, and the instant that a training for them sees the world at."""

    requests: int
    as_of: str
    note: str


def request_for_new_data(config: Config, as_of: dt.datetime, accepted: int, run: Run = BY_HAND) -> Requested:
    """Ask for a training because rows came in; nothing is asked for where none did.

    Args:
        accepted: number of rows.
        run: the run that took them in.
    """
    accepted = int(accepted)
    if not accepted:
        return Requested(0, as_of.isoformat(), "no row was accepted: nothing new to learn from")
    asked = Request(
        model=config.name,
        key=f"new data of {run.id_at(as_of)}",
        trigger="new_data",
        as_of=as_of,
        requested_by="ingest",
        reason=f"{accepted:,} new rows as of {as_of:%Y-%m-%d %H:%M}",
        evidence={"run_id": run.id_at(as_of), "accepted": accepted},
    )
    Ledger(config.ledger).requests.submit(asked)
    return Requested(1, as_of.isoformat(), "")


def ask(config: Config, as_of: dt.datetime, actor: str, reason: str, once: str) -> Recorded:
    """A person asks for a training; the watch starts one, and whatever it comes to, the request gets a reply.

    Args:
        once: what tells two wishes of a person from one that is delivered twice.
    """
    asked = Request(
        model=config.name,
        key=f"{actor} asked, {once or as_of.isoformat()}",
        trigger="on_demand",
        as_of=as_of,
        requested_by=actor,
        reason=reason,
        evidence={},
    )
    return Ledger(config.ledger).requests.submit(asked)
