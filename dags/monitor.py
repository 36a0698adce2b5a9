"""
### monitor: is the model still right about the world?

Runs after every ingest, whether anything came or not, and by the clock where the deployment file says so (`schedule.monitor`),
which finds the day of which not even an ingest came. Looks at every day of the champion that is not in the ledger yet.

| task | what it does | when it fails |
| --- | --- | --- |
| `load_predictions` | takes what the scoring service logged into the lake, and answers that came by it into the landing folder | retried; a segment of the log is taken in once |
| `monitor` | compares each new day with the champion's reference: drift of features and scores, performance on matured labels, faults of the feed | retried; a day is recorded as a whole and once |

What is confirmed stands in the ledger, and `watch` asks for a training. A fault of the feed asks for none: it is reported.

**At 3 a.m.** Nothing waits for this run: the champion serves on. Clear the task when its cause is mended; it goes on with the
oldest day that is missing. The note says how many days were seen and what they came to.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of_param, ingested_asset, run_step, task_defaults


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    ingested = ingested_asset(config)
    clock = CronTriggerTimetable(config.schedule.monitor, timezone="UTC") if config.schedule.monitor else None

    with DAG(
        dag_id=deployment.dag_id("monitor"),
        description="New days against the champion's reference: drift, performance, faults of the feed",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=clock, assets=[ingested]) if clock else [ingested],
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(hours=6),
        tags=["perennial", "monitoring", config.name],
        default_args=task_defaults("ml-platform", timeout=dt.timedelta(hours=1)),
        params={"as_of": as_of_param()},
    ) as made:
        run_step(config, "load_predictions") >> run_step(config, "monitor")
    return made


for each in deployments():
    globals()[each.dag_id("monitor")] = dag_of(each)
