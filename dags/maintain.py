"""
### maintain: keep the lake fast to read

Runs once a week (`schedule.maintain`). Every ingest adds small files to the lake; this DAG merges them.

| task | what it does | when it fails |
| --- | --- | --- |
| `maintain` | merges small files, and deletes files that no table version in use needs, and old staging folders | retried; it changes no row, and a half-done run does no harm |

Table versions that a registered model or a frozen training set names are kept, so that they can be reproduced.

**At 3 a.m.** Nothing waits for this run. Without it reads become slower by the week, and nothing else happens.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronTriggerTimetable
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of_param, run_step, task_defaults


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    clock = deployment.config.schedule.maintain
    with DAG(
        dag_id=deployment.dag_id("maintain"),
        description="Small files of the lake are merged, and replaced ones deleted",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(clock, timezone="UTC") if clock else None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(hours=2),
        tags=["perennial", "data", deployment.config.name],
        default_args=task_defaults("data-platform", timeout=dt.timedelta(hours=1)),
        params={"as_of": as_of_param()},
    ) as made:
        run_step(deployment.config, "maintain")
    return made


for each in deployments():
    globals()[each.dag_id("maintain")] = dag_of(each)
