"""
### approve: a person agrees to the next step of a release, or ends it

Started by DAG `release` when the deployment file asks for a person (`release.approval`). It is a DAG of its own, so that waiting
for a person blocks nothing; the form is under *Required Actions*. Who decided stands in the ledger.

| task | what it does | when it fails |
| --- | --- | --- |
| `decide` | waits for a person, a week at most | nobody answered: the release waits on, and ends by its patience |
| `record` | a yes: the next look of DAG `release` takes the step; a no: the release has ended | retried; not if it had ended before |

**At 3 a.m.** Nothing is urgent here: while a release waits, its share of the traffic stays as it is. *Reject* steps back at once.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of, as_of_param, task_defaults
from perennial_operators import deployment as deployment_of

YES, NO = "Approve", "Reject"
FORM = """{{ dag_run.conf.get('reason', 'the release') }}

`python -m ml releases list` has all that was seen, `python -m ml card` the model card."""


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    with DAG(
        dag_id=deployment.dag_id("approve"),
        description="A person agrees to the next step of a release",
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        dagrun_timeout=dt.timedelta(days=8),
        tags=["perennial", "model", config.name],
        default_args=task_defaults("ml-platform", timeout=dt.timedelta(hours=1)),
        params={"as_of": as_of_param()},
    ) as made:
        # Not an ApprovalOperator, which after a no hands nothing on, so that nobody learns whose no it was.
        decide = HITLOperator(
            task_id="decide",
            subject=f"{config.name}: shall the new version take the next step?",
            body=FORM,
            options=[YES, NO],
            execution_timeout=None,
            response_timeout=dt.timedelta(days=7),
        )

        @task
        def record(answer: dict[str, Any]) -> str:
            """Records what a person decided, under his name."""
            from ml.decision.release import end
            from ml.errors import Refused
            from ml.ledger.run import Run

            context = get_current_context()
            run = context["dag_run"]
            word: Literal["approved", "stopped"] = "approved" if answer["chosen_options"] == [YES] else "stopped"
            who = Run(run.run_id, answer["responded_by_user"]["name"])
            release = (run.conf or {}).get("release", "")
            try:
                return end(deployment_of(run.dag_id), as_of(context), word, "by the form in Airflow", who, release).note
            except Refused as error:
                raise AirflowFailException(str(error)) from error

        record(decide.output)
    return made


for each in deployments():
    if each.config.release is not None:
        globals()[each.dag_id("approve")] = dag_of(each)
