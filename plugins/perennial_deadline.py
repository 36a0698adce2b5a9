"""A run that takes too long becomes a message: Airflow's deadline, with a callback that posts to the ledger."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
from perennial_deployments import PROCESSES, of_dag

if TYPE_CHECKING:
    from ml.config import Config


def deadline(config: Config) -> DeadlineAlert:
    """By when a run must have ended, counted from the moment at which it was queued."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=dt.timedelta(hours=config.schedule.deadline.value),
        callback=AsyncCallback("perennial_deadline.report"),
    )


async def report(context: Mapping[str, Any]) -> None:
    """Post the message; Airflow calls it in the triggerer, again if that dies meanwhile."""
    await asyncio.to_thread(post, context["dag_run"], context["deadline"])


def post(run: Mapping[str, Any], missed: Mapping[str, Any]) -> None:
    """Post that a run missed its deadline.

    Parameters:
        run: `dag_id`, `dag_run_id` and `end_date` of the run, in ISO 8601 or None.
        missed: `deadline_time`, the instant by which it should have ended.
    """
    from ml.ledger.ledger import Ledger
    from ml.ledger.messages import Message

    deployment = of_dag(run["dag_id"])
    config = deployment.config
    due = _instant(missed["deadline_time"])
    # Airflow forgets the deadline of a run that succeeds, and not that of a run that fails in time.
    if run["end_date"] is not None and _instant(run["end_date"]) <= due:
        return
    hours = config.schedule.deadline
    Ledger(config.ledger).messages.post(
        Message(
            model=config.name,
            key=f"missed deadline {run['dag_id']} {run['dag_run_id']}",
            event="missed deadline",
            text=f"A run of {run['dag_id']} has not ended in time: {hours.reason}.",
            figure=f"deadline: {hours.value:g} hours",
            as_of=due,
            process=next(process for process in PROCESSES if deployment.dag_id(process) == run["dag_id"]),
            run_id=run["dag_run_id"],
        )
    )


def _instant(instant: str | dt.datetime) -> dt.datetime:
    return instant if isinstance(instant, dt.datetime) else dt.datetime.fromisoformat(instant)
