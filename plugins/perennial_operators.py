"""What Airflow lacks to run a step: the operator, the run's clock, the note on a run, and the link to MLflow.

Beside them stands what all DAGs of a deployment share: its assets, how tasks retry, and the form's `as_of`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import Asset, BaseOperator, BaseOperatorLink, Param
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from perennial_deployments import of_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ml.config import Config

API_CONNECTION = "perennial_api"
PAGES = "/perennial"
"""Where the pages are, below Airflow's own address."""
LONGEST_NOTE = 1000
"""Characters that Airflow takes; the links are part of them."""
PATIENCE = 120.0
"""Seconds in which a busy Airflow takes a note."""
OF_MLFLOW = {"fit", "register", "write_card"}
"""Steps whose record names an MLflow run."""
TRIGGERS = {"asset_triggered": "", "scheduled": "schedule", "backfill": "schedule"}


def as_of(context: Context) -> dt.datetime:
    """The instant that all tasks of a run see the world at.

    The form's `as_of` comes first, then that of the asset events that started the run, then the time for which it was
    scheduled, and it is the same for every task and every retry. Where a feed plays time, it says what the present is.
    """
    asked = context["params"].get("as_of")
    if asked:
        return _instant(asked)
    instants = [
        event.extra["as_of"] for events in context["triggering_asset_events"].values() for event in events if event.extra
    ]
    if instants:
        return max(_instant(instant) for instant in instants)
    config = deployment(context["dag_run"].dag_id)
    if config.feed is not None:
        from ml.clock import present

        return present(config)
    run = context["dag_run"]
    return (run.logical_date or run.run_after).astimezone(dt.UTC)


def deployment(dag_id: str) -> Config:
    """The deployment that a DAG belongs to, read anew if its file has changed."""
    return of_dag(dag_id).config


def _instant(text: str) -> dt.datetime:
    instant = dt.datetime.fromisoformat(text)
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)


def lake_asset(config: Config) -> Asset:
    """The deployment's lake: an event on it says that new data are in."""
    return _asset(config, "lake")


def ingested_asset(config: Config) -> Asset:
    """An event on it says that an ingest has ended, whether anything came or not."""
    return _asset(config, "ingested")


def requests_asset(config: Config) -> Asset:
    """An event on it says that the ledger holds requests for a training that no run has answered."""
    return _asset(config, "requests")


def _asset(config: Config, what: str) -> Asset:
    return Asset(name=f"{config.name}_{what}", uri=f"perennial://{config.name}/{what}", group="perennial")


def verdicts_asset(config: Config) -> Asset:
    """An event on it says what the gate answered, and which version is champion now."""
    return _asset(config, "verdicts")


def emit_event(context: Context, asset: Asset, summary: str, instant: str = "") -> None:
    """Make an event on an asset.

    Args:
        summary: what happened, in words.
        instant: at which the runs that it starts see the world; by default that of this run.
    """
    extra = {"as_of": instant or as_of(context).isoformat(), "run_id": context["dag_run"].run_id, "summary": summary}
    context["outlet_events"][asset].extra = extra


def task_defaults(owner: str, timeout: dt.timedelta) -> dict[str, Any]:
    """How a task behaves unless it says otherwise: two retries with backoff, and an end."""
    return {
        "owner": owner,
        "retries": 2,
        "retry_delay": dt.timedelta(seconds=30),
        "retry_exponential_backoff": True,
        "max_retry_delay": dt.timedelta(minutes=10),
        "execution_timeout": timeout,
    }


def as_of_param() -> Param:
    """The form's field for the instant of a run."""
    return Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="As of",
        description="UTC instant; nothing that became known later is seen. Empty: when the run is scheduled, or now.",
    )


def trigger_of(dag_run: Any) -> str:
    """Which of the triggers a run is, in the ledger's words; empty for one that asset events started: what rang has asked."""
    return TRIGGERS.get(str(getattr(dag_run.run_type, "value", dag_run.run_type)), "on_demand")


def of_run(dag_run: Any) -> dict[str, str]:
    """Who a run is, as a step takes it: its id, who started it, and by which trigger."""
    return {
        "run_id": dag_run.run_id,
        "actor": getattr(dag_run, "triggering_user_name", None) or "scheduler",
        "trigger": trigger_of(dag_run),
    }


def write_note(context: Context, note: str, links: Mapping[str, str] = MappingProxyType({})) -> None:
    """Put a note on the run, with links, the last of them to the page that tells more, through the REST API.

    Airflow 3 gives a task no other way (apache/airflow#64890).

    The login comes from the connection `perennial_api`. A run is not failed for a note: without the connection, or when the
    server does not answer, the note is in the task's log alone.

    Args:
        links: addresses by name.
    """
    import logging

    import httpx
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException

    from ml.commands.terminal import with_deployment

    log = logging.getLogger(__name__)
    run = context["dag_run"]
    note = with_deployment(note, argparse.Namespace(config=of_dag(run.dag_id).file))
    log.info("note on the run: %s", note)
    places = {**links, "The model's story": story_of(run.dag_id, run.run_id)}
    led = " · ".join(f"[{name}]({place})" for name, place in places.items())
    try:
        login = BaseHook.get_connection(API_CONNECTION)
        with httpx.Client(base_url=f"{login.schema or 'http'}://{login.host}:{login.port}", timeout=PATIENCE) as client:
            token = client.post("/auth/token", json={"username": login.login, "password": login.password}).raise_for_status()
            client.patch(
                f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}",
                json={"note": f"{note[: LONGEST_NOTE - len(led) - 2]}\n\n{led}"},
                headers={"Authorization": f"Bearer {token.json()['access_token']}"},
            ).raise_for_status()
    except (AirflowException, httpx.HTTPError) as error:
        log.warning("the note was not written: %s", error)


def story_of(dag_id: str, run_id: str) -> str:
    """Address of a run's tab that leads to the page of its work; see `perennial_pages`."""
    return f"{_base()}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}/plugin/perennial-run"


def links_of(config: Config, record: Mapping[str, Any]) -> dict[str, str]:
    """Where the record of a step leads: the pages on its training set and its version, and its MLflow run, by name."""
    pages, links = f"{_base()}{PAGES}/deployments/{quote(config.name)}", {}
    if record.get("training_set") and record.get("version"):
        links[f"Training set {record['training_set'][:8]}"] = f"{pages}/exploration/{record['version']}"
        links[f"Card of version {record['version']}"] = f"{pages}/card/{record['version']}"
    if run := mlflow_run_of(record):
        links["MLflow run"] = run
    return links


def mlflow_run_of(record: Mapping[str, Any]) -> str:
    """Address of the MLflow run that a record names; empty if it names none, or nobody knows where MLflow's pages are."""
    base = os.environ.get("PERENNIAL_MLFLOW_URL", "")
    if not base or not record.get("mlflow_run"):
        return ""
    return f"{base}/#/experiments/{record['mlflow_experiment']}/runs/{record['mlflow_run']}"


def _base() -> str:
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


class MlflowRunLink(BaseOperatorLink):
    """A button on the task that leads to its MLflow run."""

    name = "MLflow run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Address of the run in MLflow's pages; empty before the task has one."""
        return getattr(operator, "mlflow_link", "")


class StepOperator(BaseOperator):
    """Runs one step of `ml` at the run's instant and returns its record, each field an XCom of its own.

    `ml.errors.Refused` is an answer about data, model or configuration, and the same again tomorrow: the task fails without a
    retry. Anything else (a full disk, a lost database, a killed process) is retried.

    :param step: name of the step, see `python -m ml --help`.
    :param references: what the step takes besides configuration, instant and run.
    :param each: what this one of several mapped tasks takes besides `references`.
    :param skip_unless: name of a field of the record; when it is false or zero, this task and what follows it are skipped.
    :param reason_field: name of the field that says why, for the note on the run; without it only the task's log tells.
    :param noted: whether the record's `note` becomes the note on the run.
    """

    template_fields = ("references",)
    ui_color = "#e8f1ec"

    def __init__(
        self,
        *,
        step: str,
        references: Mapping[str, Any] | None = None,
        each: Mapping[str, Any] | None = None,
        skip_unless: str | None = None,
        reason_field: str | None = None,
        noted: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(task_id=kwargs.pop("task_id", step), multiple_outputs=True, **kwargs)
        self.step = step
        self.references = dict(references or {})
        self.each = dict(each or {})
        self.skip_unless = skip_unless
        self.reason_field = reason_field
        self.noted = noted

    def execute(self, context: Context) -> dict[str, Any]:
        from ml import steps

        references = {**self.references, **self.each}
        if steps.describe(self.step).takes_run:
            references |= of_run(context["dag_run"])
        return self.record_of(context, lambda: self.run_step(context, references))

    def record_of(self, context: Context, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The record of a step that `run` brings to its end, noted on the run; a refusal fails the task for good."""
        from ml.errors import Refused

        try:
            record = run()
        except Refused as error:
            write_note(context, f"{self.step}: {error}")
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        reason = record.get(self.reason_field or "note", "")
        if self.skip_unless and not record[self.skip_unless]:
            if self.reason_field:
                write_note(context, reason)
            raise AirflowSkipException(reason)
        if self.noted and record.get("note"):
            write_note(context, record["note"], links_of(deployment(context["dag_run"].dag_id), record))
        for asset in self.outlets:
            emit_event(context, asset, record.get("note", ""))
        self.mlflow_link = mlflow_run_of(record)
        return record

    def run_step(self, context: Context, references: Mapping[str, Any]) -> dict[str, Any]:
        """Run the step to its end and return its record.

        Raises:
            ml.errors.Refused: it refuses.
        """
        from ml import steps

        return steps.run(self.step, deployment(context["dag_run"].dag_id), as_of(context), references)


class ModelStepOperator(StepOperator):
    """A step whose record names an MLflow run."""

    operator_extra_links = (MlflowRunLink(),)


def runner(config: Config, step: str, **options: Any) -> tuple[type[BaseOperator], dict[str, Any]]:
    """The operator of a step and what it takes: in a pod where the deployment file says so, else beside the scheduler."""
    options = {"step": step} | options
    pod = config.pod_of(step)
    if pod is None:
        return (ModelStepOperator if step in OF_MLFLOW else StepOperator), options
    from perennial_pods import PodStepOperator

    return PodStepOperator, options | {"pod": pod.model_dump()}


def run_step(config: Config, step: str, **options: Any) -> Any:
    """The task of a step; see `StepOperator` for the options."""
    operator, taken = runner(config, step, **options)
    return operator(**taken)
