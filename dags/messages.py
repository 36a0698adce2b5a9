"""
### messages: messages to people go out

Always on: `wait` waits, as long as it takes and without a worker, until the ledger holds a message that a channel of the deployment
file has not got. When a run ends the next one begins. A channel that is down holds up nothing but its own messages.

| task | what it does | when it fails |
| --- | --- | --- |
| `wait` | looks into the ledger every few seconds | the ledger cannot be read: the message says why |
| `send` | sends each channel the messages that it lacks | retried; what a channel has it does not get again |

**At 3 a.m.** A red run loses nothing: the next one sends what is still lacking, the same after ten minutes. The log of `send` says
which channel refused what, and why.
"""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task
from perennial_deployments import Deployment, deployments, of_dag
from perennial_operators import requests_asset
from perennial_watch import LedgerSensor, always_on


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config

    with DAG(
        dag_id=deployment.dag_id("messages"),
        description="Messages to people go out to their channels",
        doc_md=__doc__,
        **always_on(config),
    ) as made:
        wait = LedgerSensor(task_id="wait", what="messages", requests=requests_asset(config), poke_interval=5)

        @task
        def send() -> None:
            """Sends each channel of the deployment file the messages that it lacks."""
            from perennial_notifiers import send_messages

            send_messages(of_dag(get_current_context()["dag_run"].dag_id).config)

        wait >> send()
    return made


for each in deployments():
    globals()[each.dag_id("messages")] = dag_of(each)
