"""The step `request_for_new_data`: accepted rows are recorded as a request for a training.

A request has a key, so that delivering it again changes nothing. It does not guarantee a training: the arbiter replies to it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from ml.config import Config
from ml.ledger.ledger import Ledger
from ml.ledger.requests import Recorded, Request
from ml.ledger.run import BY_HAND, Run


@dataclass(frozen=True)
class RequestResult:
    """Record of the step.

    Attributes:
        requests: number of requests in the ledger for these rows, 0 or 1.
        as_of: the `as_of` of the training.
        note: why there is no request; empty if there is one.
    """

    requests: int
    as_of: str
    note: str


def request_for_new_data(config: Config, as_of: dt.datetime, accepted: int, run: Run = BY_HAND) -> RequestResult:
    """Record a request for a training if rows were accepted.

    Args:
        config: the deployment.
        as_of: the instant of the ingest.
        accepted: number of accepted rows.
        run: the run that ingested them.
    """
    accepted = int(accepted)
    if not accepted:
        return RequestResult(0, as_of.isoformat(), "no row was accepted: nothing new to learn from")
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
    return RequestResult(1, as_of.isoformat(), "")


def ask(config: Config, as_of: dt.datetime, actor: str, reason: str, once: str) -> Recorded:
    """Record a person's request for a training; DAG `watch` starts a run, which replies to it.

    Args:
        config: the deployment.
        as_of: the `as_of` of the training.
        actor: the person.
        reason: why, for the ledger.
        once: id of the request, so that delivering it again changes nothing; by default `as_of`.
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
