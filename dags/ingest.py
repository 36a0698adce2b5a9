"""
### ingest: from landing files to published features

Takes every file of the landing folder that is not in the lake yet, checks it, loads what is good, and publishes features
from it. The note on the run counts every row: *rows = accepted + quarantined + rejected*. A label becomes known at any hour,
file or no file, so features are published in every run in which a snapshot is due: run this as often as the deployment file's
`publish` asks, `lag` after each tick.

| task | what it does | when it fails |
| --- | --- | --- |
| `validate_batch` | runs the expectation suites; sets bad rows aside with their reasons | a check itself is broken: the message names it |
| `load_batch` | commits the rows to the lake, each file once; answers that waited in quarantine come in with their events | retried; nothing can be loaded twice |
| `publish_features` | computes the windows of every entity that are due, whether files have landed or not | retried |
| `materialize` | fills the online store | retried |
| `request_for_new_data` | records a request for a training; skipped when no row was accepted | retried; the same request is recorded once |
| `announce` | starts `train`, which answers the request | retried |
| `tell_monitoring` | starts `monitor`, also when nothing came or a task before it failed | retried |
| `stopped_files` | is red when a file as a whole was refused | read its message: it names column, expectation, what was observed and the command that mends it. All other files are in. |

**At 3 a.m.** A red `stopped_files` loses nothing: the file stays in the landing folder and is tried again by the next run.
Mend the file or have it sent again; `python -m ml discard --file NAME` takes it out of the way.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from perennial_deadline import deadline
from perennial_deployments import Deployment, deployments
from perennial_operators import as_of_param, emit_event, ingested_asset, lake_asset, run_step, task_defaults


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    lake, ingested = lake_asset(config), ingested_asset(config)

    with DAG(
        dag_id=deployment.dag_id("ingest"),
        description="Landing files → checked rows in the lake → published features",
        doc_md=__doc__,
        schedule=CronTriggerTimetable(config.schedule.ingest, timezone="UTC") if config.schedule.ingest else None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(hours=6),
        deadline=deadline(config),
        tags=["perennial", "data", config.name],
        default_args=task_defaults("data-platform", timeout=dt.timedelta(hours=2)),
        params={"as_of": as_of_param()},
    ) as made:
        validate = run_step(config, "validate_batch", skip_unless="files", reason_field="note")
        load_rows = run_step(config, "load_batch", references={"staged": validate.output["staged"]})
        publish = run_step(config, "publish_features", trigger_rule="none_failed")
        materialize = run_step(config, "materialize")
        request = run_step(
            config,
            "request_for_new_data",
            references={"accepted": validate.output["accepted"]},
            skip_unless="requests",
        )

        @task(outlets=[lake])
        def announce(summary: str) -> None:
            """Makes an event on the lake, which starts a training."""
            emit_event(get_current_context(), lake, summary.partition("\n")[0])

        @task(outlets=[ingested], trigger_rule="all_done")
        def tell_monitoring() -> None:
            """Makes an event that starts monitoring, which also looks at a day of which nothing came."""
            emit_event(get_current_context(), ingested, "an ingest has ended; its run says what came in")

        @task(retries=0)
        def stopped_files(stopped: list[str]) -> None:
            """Fails, with their messages, when files were stopped."""
            if stopped:
                raise AirflowFailException("files were stopped; all others are in\n" + "\n".join(stopped))

        load_rows >> publish >> materialize >> [request, tell_monitoring()]
        request >> announce(validate.output["note"])
        stopped_files(validate.output["stopped"])
    return made


for each in deployments():
    globals()[each.dag_id("ingest")] = dag_of(each)
