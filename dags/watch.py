"""
### watch: a confirmed alarm, or a person, starts a training

Always on: `wait` waits, as long as it takes and without a worker, until the ledger holds a request of an alarm, drift or lost
performance, or of a person on the page *Requests*, that no run has answered. When a run ends the next one begins.

| task | what it does | when it fails |
| --- | --- | --- |
| `wait` | looks into the ledger every few seconds | the ledger cannot be read: the message says why |
| `emit_event` | starts `train`, which answers the request | retried |

**At 3 a.m.** A red run loses nothing: the request stays without an answer, and the next run finds it again, the same after ten
minutes. A `wait` that is *deferred* for weeks is well. When the triggerer is down, nothing is missed: it goes on when that is back.
"""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task
from perennial_deployments import Deployment, deployments
from perennial_operators import emit_event, requests_asset
from perennial_watch import LedgerSensor, always_on


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    requests = requests_asset(config)

    with DAG(
        dag_id=deployment.dag_id("watch"),
        description="A confirmed alarm starts a training",
        doc_md=__doc__,
        **always_on(config),
    ) as made:
        wait = LedgerSensor(task_id="wait", what="requests", requests=requests, poke_interval=5)

        @task(task_id="emit_event", outlets=[requests])
        def emit(instant: str, summary: str) -> None:
            """Makes an event on the requests, which starts a training."""
            emit_event(get_current_context(), requests, summary, instant)

        emit(wait.output["as_of"], wait.output["summary"])
    return made


for each in deployments():
    globals()[each.dag_id("watch")] = dag_of(each)
