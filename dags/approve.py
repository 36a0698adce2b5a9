"""
### approve: a person agrees to the next step of a release, or ends it

Started by DAG `release` when the deployment file asks for a person (`release.approval`). It is a DAG of its own, so that waiting
for a person blocks nothing; the form is under *Required Actions*. Who decided stands in the ledger.

| task | what it does | when it fails |
| --- | --- | --- |
| `decide` | waits for a person, a week at most | nobody answered: the release waits on, and ends by its patience |
| `agree` | records the yes; the next look of DAG `release` takes the step | retried |
| `end` | after a no: ends the release, the champion answers everything | retried |

**At 3 a.m.** Nothing is urgent here: while a release waits, its share of the traffic stays as it is. *Reject* steps back at once.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, get_current_context, task
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of, as_of_param, task_defaults
from perennial_operators import deployment as deployment_of

FORM = """{{ dag_run.conf.get('reason', 'the release') }}

`python -m ml releases list` has all that was seen, `python -m ml card` the model card."""


def record(word: Literal["approved", "stopped"]) -> str:
    """Record what a person decided, under his name."""
    from ml.decision.release import end
    from ml.ledger.run import Run

    context = get_current_context()
    answer: dict[str, Any] = context["ti"].xcom_pull(task_ids="decide")
    person = (answer.get("responded_by_user") or {}).get("name") or "a person"
    run = context["dag_run"]
    return end(deployment_of(run.dag_id), as_of(context), word, "by the form in Airflow", Run(run.run_id, person)).note


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    with DAG(
        dag_id=deployment.dag_id("approve"),
        description="A person agrees to the next step of a release",
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(days=8),
        tags=["perennial", "model", config.name],
        default_args=task_defaults("ml-platform", timeout=dt.timedelta(hours=1)),
        params={"as_of": as_of_param()},
    ) as made:
        decide = ApprovalOperator(
            task_id="decide",
            subject=f"{config.name}: shall the new version take the next step?",
            body=FORM,
            execution_timeout=None,
            response_timeout=dt.timedelta(days=7),
        )

        @task
        def agree() -> str:
            """Records the yes."""
            return record("approved")

        @task(trigger_rule="all_skipped")
        def end() -> str:
            """Ends the release."""
            return record("stopped")

        decide >> agree() >> end()
    return made


for each in deployments():
    if each.config.release is not None:
        globals()[each.dag_id("approve")] = dag_of(each)
