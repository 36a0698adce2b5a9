"""
### watch: what the ledger holds becomes a training, or a message to people

Always on: `wait` waits, as long as it takes and without a worker, until the ledger holds a confirmed alarm of drift or lost
performance that nobody has asked a training for, or a message that a channel has not got. When a run ends the next one begins.

| task | what it does | when it fails |
| --- | --- | --- |
| `wait` | looks into the ledger every few seconds | the ledger cannot be read: the message says why |
| `request` | records a request for a training for each alarm; skipped when there is none | retried; the same request is recorded once |
| `ring` | starts `train`, which answers the request | retried |
| `remember` | moves the watermark: these alarms are dealt with | the next run asks and rings again, which changes nothing |

**At 3 a.m.** A red run loses nothing: the next one finds what is not done and tries it again, the same after ten minutes.
A `wait` that is *deferred* for weeks is well. When the triggerer is down, nothing is missed: it goes on when that is back.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, get_current_context, task
from perennial_operators import StepOperator, deployment, requests_asset, ring, task_defaults
from perennial_watch import RetrainingSensor, move_watermark

config = deployment()
requests = requests_asset(config)

with DAG(
    dag_id="watch",
    description="Confirmed alarms ask for a training, messages go out",
    doc_md=__doc__,
    schedule="@continuous",
    # Without it the first run covers no time at all, the second would have the same logical date, and Airflow never makes it.
    start_date=dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    tags=["perennial", "monitoring", config.name],
    default_args=task_defaults("ml-platform", timeout=dt.timedelta(minutes=10)),
) as dag:
    wait = RetrainingSensor(task_id="wait", requests=requests, poke_interval=5)
    request = StepOperator(
        task_id="request", step="request_for_alarms", references={"after": wait.output["after"]}, unless="requests"
    )

    @task(task_id="ring", outlets=[requests])
    def ring_for_alarms(instant: str) -> None:
        """Makes an event on the requests, which starts a training."""
        ring(get_current_context(), requests, instant)

    @task(inlets=[requests])
    def remember(newest: int) -> None:
        """Moves the watermark, after all else: what dies before is done again."""
        move_watermark(get_current_context()["asset_state_store"][requests], newest)

    ring_for_alarms(request.output["as_of"]) >> remember(request.output["newest"])
