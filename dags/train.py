"""
### train: a challenger is made, judged, and promoted if it is better

Runs every night, after new data, after confirmed drift or lost performance, and on demand (the ▶ button has a form). `admit`
answers first, every request that is open: when nothing is new, or another run has the same data in hand, everything after it
is skipped and the note says why. `python -m ml requests` lists who asked and how each was answered.

| task | what it does | when it fails |
| --- | --- | --- |
| `admit` | answers all open requests, and decides whether to train | lake empty or feed silent: skipped, see the note |
| `data.build_training_set` | point-in-time join, labels as they were known, split with the label's delay as a gap, frozen under its hash | the lake does not reach back far enough; a window without rows is a refusal |
| `data.explore` | a page on the training set and what changed since the last one | nothing waits for it: clear this task |
| `data.validate_training_set` | label rates, positives, duplicates, leakage suspects, late answers | the message names the figure; nothing was fitted, and after some nights in a row it is reported |
| `tuning.plan_tuning` | time-ordered folds, a study, and its first trials: the file's settings and the last winner | the folds do not fit into the windows |
| `tuning.search` | one task a worker: trials until the budget is spent, hopeless ones given up early | retried, and goes on where it was |
| `tuning.choose_settings` | the best settings, if they beat the file's on the same folds; else the file's | retried |
| `model.fit` | trees and a logistic regression; the best on the validation window goes on | retried |
| `model.export_graph` | one ONNX graph, proven to answer as the model does | parity is off: this model is not registered |
| `decision.judge` | champion and challenger on the same unseen rows | the comparison would be worthless: the message says why |
| `decision.refit` | with `training.refit`: what may become champion is fitted on all that has matured | retried; if it does not agree with the judged model, nothing is promoted, see the note |
| `decision.explain` | what moves the scores, per slice and since the champion | the decision goes on; clear it, the card follows |
| `decision.register` | a version in MLflow with its evidence | retried |
| `decision.promote` | moves the champion, if the verdict is PROMOTE or a refresh is due | somebody else moved it: run again |
| `decision.profile` | what monitoring will compare the days of a new champion with | nothing waits for it: clear this task |
| `decision.write_card` | the model card, from the record alone, also on the MLflow page | `python -m ml card` writes it again |

What explains a version runs beside its decision and never holds it up: a run in which only that failed is red, and its verdict
stands.

The group `tuning` is there if the deployment file has the section `training.tuning`, `decision.refit` if it has
`training.refit`.

**At 3 a.m.** A failed training changes nothing: the champion serves on. `python -m ml status` says who it is,
`python -m ml history` how it came to be, `python -m ml rollback` goes one step back. The verdict stands in the note of the run,
its evidence behind the *MLflow run* button of `decision.register`.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, TaskGroup
from perennial_deadline import deadline
from perennial_deployments import Deployment, deployments
from perennial_operators import (
    as_of_param,
    lake_asset,
    requests_asset,
    run_step,
    runner,
    task_defaults,
    verdicts_asset,
)


def dag_of(deployment: Deployment) -> DAG:
    """The DAG of one deployment."""
    config = deployment.config
    nightly = CronTriggerTimetable(config.schedule.train, timezone="UTC")

    with DAG(
        dag_id=deployment.dag_id("train"),
        description="A challenger is made, judged against the champion, and promoted if it is better",
        doc_md=__doc__,
        schedule=AssetOrTimeSchedule(timetable=nightly, assets=lake_asset(config) | requests_asset(config)),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=dt.timedelta(hours=12),
        deadline=deadline(config),
        tags=["perennial", "model", config.name],
        default_args=task_defaults("ml-platform", timeout=dt.timedelta(hours=1)),
        params={
            "as_of": as_of_param(),
            "reason": Param(
                None, type=["null", "string"], title="Reason", description="Why you train; it stands in the ledger."
            ),
            "force": Param(
                False,
                type="boolean",
                title="Although nothing is new",
                description="Train on the data of the last training again. The gate decides as ever.",
            ),
        },
    ) as made:
        admit = run_step(
            config,
            "admit",
            references={"reason": "{{ params.reason or '' }}", "force": "{{ params.force }}"},
            skip_unless="admitted",
            reason_field="reason",
        )
        with TaskGroup("data", tooltip="A training set, joined as of each event and frozen") as data:
            build = run_step(config, "build_training_set")
            run_step(config, "explore", references={"training_set": build.output["training_set"]})
            checked = run_step(
                config,
                "validate_training_set",
                references={"training_set": build.output["training_set"]},
            )
        settings = {}
        if (asked := config.training.tuning) is not None:
            with TaskGroup("tuning", tooltip="Settings for the model, searched by workers beside each other"):
                plan = run_step(config, "plan_tuning", references={"training_set": checked.output["training_set"]})
                operator, options = runner(
                    config,
                    "search",
                    task_id="search",
                    references={"study": plan.output["study"]},
                    execution_timeout=dt.timedelta(hours=1, minutes=asked.budget.value),
                    map_index_template="worker {{ task.each.worker }}",
                )
                search = operator.partial(**options).expand(each=[{"worker": number} for number in range(asked.workers)])
                choose = run_step(config, "choose_settings", references={"study": plan.output["study"]})
                search >> choose
            settings = {"settings": choose.output["settings"]}
        with TaskGroup("model", tooltip="A challenger and its ONNX graph"):
            fit = run_step(
                config,
                "fit",
                references={"training_set": checked.output["training_set"], **settings},
                execution_timeout=dt.timedelta(hours=4),
            )
            graph = run_step(config, "export_graph", references={"model": fit.output["model"]})
        with TaskGroup("decision", tooltip="Champion against challenger on rows that neither has seen"):
            judge = run_step(
                config,
                "judge",
                references={"model": graph.output["model"]},
            )
            made = graph.output["model"]
            if config.training.refit is not None:
                references = {"judgement": judge.output["judgement"]}
                made = run_step(config, "refit", references=references, execution_timeout=dt.timedelta(hours=4)).output["model"]
            explain = run_step(config, "explain", references={"model": made})
            register = run_step(config, "register", references={"judgement": judge.output["judgement"], "model": made})
            promote = run_step(
                config,
                "promote",
                references={"judgement": judge.output["judgement"], "version": register.output["version"]},
                outlets=[verdicts_asset(config)],
            )
            # Whoever looks at the run reads its verdict there.
            run_step(
                config, "profile_champion", task_id="profile", references={"version": promote.output["version"]}, noted=False
            )
            card = run_step(config, "write_card", references={"version": promote.output["version"]})
        admit >> data
        # The card shows the attributions, so it waits for them; the promotion does not.
        explain >> card
    return made


for each in deployments():
    globals()[each.dag_id("train")] = dag_of(each)
