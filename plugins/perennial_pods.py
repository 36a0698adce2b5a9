"""Runs a step in a pod of a Kubernetes cluster, where the deployment file says so; else it runs beside the scheduler.

The pod runs `python -m ml STEP --record FILE`; the file is what the provider's side-car hands over, so the record arrives as it
does from a step that runs here. A step that refuses ends with an exit code of its own, and is not retried.

The provider is imported when a pod is made: its client takes seconds, which every reading of a DAG file would pay for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException
from perennial_deployments import of_dag
from perennial_operators import MlflowRunLink, StepOperator, as_of, write_note
from perennial_pod_endings import GONE, Ending, ending_of

if TYPE_CHECKING:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk import Context
    from kubernetes.client import V1Pod

RECORD = "/airflow/xcom/return.json"
"""Where the provider's side-car looks for what a pod hands over."""


class PodStepOperator(StepOperator):
    """Runs one step of `ml` in a pod, through `KubernetesPodOperator`.

    :param pod: section `steps.STEP.pod` of the deployment file, as plain values.
    """

    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#dfe8f5"

    def __init__(self, *, pod: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pod = dict(pod)
        self.in_cluster: KubernetesPodOperator | None = None

    def run_step(self, context: Context, references: Mapping[str, Any]) -> dict[str, Any]:
        made = self.in_cluster = self.pod_operator(context, references)
        return self._ended(context, made, lambda: made.execute(context))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer has seen the pod end; Airflow calls this by its name."""
        made = self.in_cluster = self.pod_operator(context, {})
        return self.record_of(context, lambda: self._ended(context, made, lambda: made.trigger_reentry(context, event)))

    def _ended(self, context: Context, made: Any, run: Callable[[], Any]) -> dict[str, Any]:
        """The record of the pod; one that has not succeeded is noted on the run, and a step that refused is not tried again."""
        from kubernetes.client import ApiException

        from ml.errors import EXIT_REFUSED, Refused

        try:
            return dict(run() or {})
        except (AirflowException, ApiException) as error:
            ending = made.ending or GONE
            if ending.exit_code == EXIT_REFUSED:
                record = made.handed_over or {}
                why = f"{record.get('error', 'refused')}: {record.get('refused', 'the log of the pod says why')}"
                raise Refused(why) from error
            write_note(context, f"{self.step}: {ending.sentence}")
            raise AirflowException(f"{self.step}: {ending.sentence}") from error

    def on_kill(self) -> None:
        if self.in_cluster is not None:
            self.in_cluster.on_kill()

    def pod_operator(self, context: Context, references: Mapping[str, Any]) -> Any:
        """The provider's operator for this step in this run."""
        from kubernetes.client import models as k8s

        deployed = of_dag(context["dag_run"].dag_id)
        pod, claim = self.pod, self.pod["volume_claim"]
        gpu = {"nvidia.com/gpu": str(pod["gpu"])} if pod["gpu"] else {}
        limits = {"memory": pod["memory_limit"] or pod["memory"]} | ({"cpu": pod["cpu_limit"]} if pod["cpu_limit"] else {})
        source = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=claim) if claim else None
        return _pod_operator()(
            task_id=self.task_id,
            name=f"perennial-{self.step.replace('_', '-')}",
            kubernetes_conn_id=pod["connection"],
            namespace=pod["namespace"],
            image=pod["image"],
            sidecar=pod["sidecar"],
            cmds=["python"],
            arguments=command_line(self.step, deployed.file, as_of(context).isoformat(), references),
            container_resources=k8s.V1ResourceRequirements(
                requests={"cpu": pod["cpu"], "memory": pod["memory"]} | gpu, limits=limits | gpu
            ),
            service_account_name=pod["service_account"],
            node_selector=dict(pod["node_selector"]),
            tolerations=[k8s.V1Toleration(**each) for each in pod["tolerations"]],
            env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=name)) for name in pod["secrets"]],
            volumes=[k8s.V1Volume(name="home", persistent_volume_claim=source)] if claim else [],
            volume_mounts=[k8s.V1VolumeMount(name="home", mount_path=str(deployed.config.home))] if claim else [],
            startup_timeout_seconds=pod["start"],
            do_xcom_push=True,
            log_events_on_failure=True,
            log_pod_spec_on_failure=False,
            on_finish_action="delete_pod",
            deferrable=pod["deferrable"],
        )


def command_line(step: str, file: Path, instant: str, references: Mapping[str, Any]) -> list[str]:
    """What a pod runs, after `python`: the step as the command line has it, with its record in a file."""
    from ml.config import PROJECT

    # The project has another place in an image; a file outside of it has to be mounted at its own path.
    config = file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file
    words = ["-m", "ml", step, "--config", str(config), "--as-of", instant]
    for name, value in references.items():
        flag = f"--{name.replace('_', '-')}"
        if str(value) in ("True", "False"):
            words += [flag] if str(value) == "True" else []
        else:
            words += [flag, str(value)]
    return [*words, "--record", RECORD]


def _pod_operator() -> type[KubernetesPodOperator]:
    """The provider's operator with a side-car of the deployment's choice, which keeps what a pod that fails hands over."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults
    from kubernetes.client import ApiException

    class Pod(KubernetesPodOperator):
        def __init__(self, *, sidecar: str | None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.sidecar, self.handed_over = sidecar, None
            self.ending: Ending | None = None

        def build_pod_request_obj(self, context: Context | None = None, **options: Any) -> V1Pod:
            made = super().build_pod_request_obj(context, **options)
            for container in made.spec.containers:
                if container.name == PodDefaults.SIDECAR_CONTAINER_NAME and self.sidecar:
                    container.image = self.sidecar
            return made

        def extract_xcom(self, pod: V1Pod, **options: Any) -> dict[str, Any] | None:
            self.handed_over = super().extract_xcom(pod, **options)
            return self.handed_over

        def cleanup(self, pod: V1Pod, remote_pod: V1Pod, *args: Any, **kwargs: Any) -> None:
            # The provider deletes the pod here, and may hold what the pod was like before it started.
            self.ending = self._look(pod)
            super().cleanup(pod, remote_pod, *args, **kwargs)

        def _look(self, pod: V1Pod) -> Ending:
            try:
                seen, events = self.pod_manager.read_pod(pod), self.pod_manager.read_pod_events(pod).items
            except ApiException:
                return GONE
            return ending_of(seen, self.base_container_name, [each.message for each in events if each.type == "Warning"])

    return Pod
