"""
### release: a version that the gate promoted takes over the traffic in steps

Runs every hour, and looks at nothing while no version is released. The section `release` of the deployment file has the steps:
first the new version scores every event and answers none, then it answers a growing share of the customers.

| task | what it does | when it fails |
| --- | --- | --- |
| `load_predictions` | takes what the scoring service logged into the lake | retried; a segment of the log is taken in once |
| `release` | compares both versions: errors, latency, alerts, scores, matured labels; goes one step on, waits, or steps back | retried; a look is recorded once |
| `waits` | skips the rest unless a person has to agree | |
| `ask` | starts DAG `approve`, where a person says yes or no | retried |

**At 3 a.m.** A version that misbehaves is stepped back from by itself, and the champion answers everything; the note says which
limit was broken. `python -m ml releases list` shows every look, `python -m ml releases stop` ends a release at once.
"""

from __future__ import annotations

import datetime as dt

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowSkipException
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of_param, run_step, task_defaults


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    with DAG(
        dag_id=deployment.dag_id("release"),
        description="A promoted version takes over the traffic in steps, or steps back",
        doc_md=__doc__,
        schedule=CronTriggerTimetable("7 * * * *", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(hours=3),
        tags=["perennial", "model", config.name],
        default_args=task_defaults("ml-platform", timeout=dt.timedelta(hours=1)),
        params={"as_of": as_of_param()},
    ) as made:
        look = run_step(config, "release")

        @task
        def waits(asked: bool) -> None:
            """Skips the rest unless a person has to agree."""
            if not asked:
                raise AirflowSkipException("nobody has to agree to anything")

        ask = TriggerDagRunOperator(
            task_id="ask",
            trigger_dag_id=deployment.dag_id("approve"),
            trigger_run_id=f"release_{look.output['release']}_at_{look.output['share']}",
            conf={"release": look.output["release"], "reason": look.output["note"]},
            skip_when_already_exists=True,
        )
        run_step(config, "load_predictions") >> look >> waits(look.output["waits"]) >> ask
    return made


for each in deployments():
    if each.config.release is not None:
        globals()[each.dag_id("release")] = dag_of(each)
