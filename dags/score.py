"""
### score: a table, or some days of it, scored as a whole

Runs when somebody asks: by hand, or from another system by the REST API. The form says which version scores which days of which
table; left as it is, the champion scores all events. The answers stand in the lake's table `scores`.

| task | what it does | when it fails |
| --- | --- | --- |
| `score` | joins the features of each event as of its time, scores it, and commits some 250,000 rows at a time | retried, and goes on with the rows that have no score yet; a range, a table or a version that cannot be scored is not retried, and the message says what to give |

A row is scored once by a version, whoever asks how often.

**At 3 a.m.** Nothing waits for this run. What it has committed stays; run it again with the same form, and it does the rest.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of_param, run_step, task_defaults


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    with DAG(
        dag_id=deployment.dag_id("score"),
        description="A table of the lake, or some days of it, scored by a version",
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(hours=24),
        tags=["perennial", "scoring", deployment.config.name],
        default_args=task_defaults("ml-platform", timeout=dt.timedelta(hours=23)),
        params={
            "as_of": as_of_param(),
            "version": Param("champion", type="string", title="Version", description="A number, or champion."),
            "table": Param(
                "events",
                type="string",
                title="Table",
                description="A table of the lake: events, or one with event_id, event_time and all inputs of the version.",
            ),
            "first": _day("First day", "The first day that is scored, UTC. Empty: the first one of the table."),
            "last": _day("Last day", "The last day that is scored, UTC. Empty: the last one of the table."),
        },
    ) as made:
        run_step(
            deployment.config,
            "score",
            references={
                "version": "{{ params.version }}",
                "table": "{{ params.table }}",
                "first": "{{ params.first or '' }}",
                "last": "{{ params.last or '' }}",
            },
        )
    return made


def _day(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date", title=title, description=description)


for each in deployments():
    globals()[each.dag_id("score")] = dag_of(each)
