"""A step runs in the pod that the deployment file describes, and ends as one that runs beside the scheduler does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from ml import steps
from ml.config import PROJECT, ConfigError, load
from ml.config.steps import StepName
from ml.errors import EXIT_REFUSED
from tests import deployments
from tests.dags.test_dags import _context

FIT = {
    "image": "registry.example/perennial-airflow:1",
    "cpu": "2",
    "memory": "8Gi",
    "memory_limit": "12Gi",
    "gpu": 1,
    "namespace": "models",
    "service_account": "trainer",
    "secrets": ["perennial"],
    "volume_claim": "perennial-home",
    "node_selector": {"pool": "large"},
    "tolerations": [{"key": "large", "operator": "Exists", "effect": "NoSchedule"}],
    "sidecar": "registry.example/alpine:3",
}
SEARCH = {"image": "registry.example/perennial-airflow:1", "cpu": "500m", "memory": "2Gi"}
REFERENCES = {"training_set": "t1", "settings": ""}


def _file(folder: Path, **more: Any) -> Path:
    told = deployments.raw()
    told["steps"] = {"fit": {"pod": FIT}, "search": {"pod": SEARCH}} | more
    return deployments.write(folder, told)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The deployment file."""
    return _file(tmp_path_factory.mktemp("pods"))


@pytest.fixture(scope="module")
def dag(file: Path) -> Iterator[Any]:
    """Its DAG train."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CONFIG", str(file))
        patch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes"}))
        bag = DagBag(PROJECT / "dags", bundle_name="dags-folder")
        assert bag.import_errors == {}
        yield bag.dags["train"]


def _in_a_run() -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="train", task_id="model.fit", map_index=-1, try_number=1)
    return _context("2025-05-02T02:00:00+00:00") | {"ti": ti, "run_id": "r1", "dag": SimpleNamespace()}


def test_the_pod_is_what_the_configuration_says(dag: Any) -> None:
    context = _in_a_run()
    made = dag.get_task("model.fit").pod_operator(context, REFERENCES)
    pod = made.build_pod_request_obj(context, dry_run=True).to_dict()
    spec = pod["spec"]
    step, sidecar = spec["containers"]
    assert pod["metadata"]["namespace"] == FIT["namespace"]
    assert pod["metadata"]["name"].startswith("perennial-fit-")
    assert step["image"] == FIT["image"]
    assert step["resources"]["requests"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert step["resources"]["limits"] == {"memory": "12Gi", "nvidia.com/gpu": "1"}
    assert [source["secret_ref"]["name"] for source in step["env_from"]] == FIT["secrets"]
    assert spec["service_account_name"] == FIT["service_account"]
    assert spec["node_selector"] == FIT["node_selector"]
    assert [{k: v for k, v in each.items() if v} for each in spec["tolerations"]] == FIT["tolerations"]
    assert spec["restart_policy"] == "Never"
    assert "perennial-home" in [(v["persistent_volume_claim"] or {}).get("claim_name") for v in spec["volumes"]]
    assert sidecar["image"] == FIT["sidecar"]
    assert "/airflow/xcom" in [mount["mount_path"] for mount in step["volume_mounts"]]


def test_the_pod_runs_the_step_as_the_command_line_does(dag: Any, file: Path) -> None:
    """The command line takes its words, and the record goes where the side-car looks for it."""
    from ml.__main__ import _parser

    made = dag.get_task("model.fit").pod_operator(_in_a_run(), REFERENCES)
    assert made.cmds == ["python"]
    assert made.arguments[:3] == ["-m", "ml", "fit"]
    parsed = _parser().parse_args(made.arguments[2:])
    assert (Path(parsed.config), parsed.training_set, parsed.settings) == (file, "t1", "")
    assert parsed.as_of.isoformat() == "2025-05-02T02:00:00+00:00"
    assert str(parsed.record) == "/airflow/xcom/return.json"


def test_a_flag_is_given_without_a_value_and_a_file_of_the_project_by_its_place_in_it() -> None:
    from perennial_pods import command_line

    words = command_line("admit", PROJECT / "config" / "demo.yaml", "2025-05-02T02:00:00Z", {"force": "True", "reason": "now"})
    assert words[3:5] == ["--config", "config/demo.yaml"]
    assert words[7:10] == ["--force", "--reason", "now"]
    assert "--force" not in command_line("admit", Path("/d.yaml"), "2025-05-02T02:00:00Z", {"force": "False"})


def test_a_step_without_the_section_runs_beside_the_scheduler(dag: Any) -> None:
    from perennial_pods import PodStepOperator

    classes = {name: getattr(task, "operator_class", type(task)) for name, task in dag.task_dict.items()}
    assert {name for name, class_ in classes.items() if issubclass(class_, PodStepOperator)} == {"model.fit", "tuning.search"}


def test_the_scheduler_can_store_the_dag(dag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert set(stored.task_dict) == set(dag.task_dict)


def _ended(monkeypatch: pytest.MonkeyPatch, exit_code: int | None, record: dict[str, Any]) -> None:
    """Let pods end so: this stands for the provider's waiting for a cluster, of which there is none."""
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk.exceptions import AirflowException
    from kubernetes.client import models as k8s

    ended = k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=exit_code or 0))
    status = k8s.V1ContainerStatus(name="base", state=ended, image="i", image_id="i", ready=False, restart_count=0)
    there = exit_code is not None

    def execute(self: Any, context: Any) -> dict[str, Any]:
        self.remote_pod = k8s.V1Pod(status=k8s.V1PodStatus(container_statuses=[status] if there else None))
        self.pod_manager = SimpleNamespace(extract_xcom=lambda pod, **_: json.dumps(record))
        made: dict[str, Any] = self.extract_xcom(self.remote_pod) if there else {}
        if exit_code != 0:
            raise AirflowException("Pod returned a failure.")
        return made

    monkeypatch.setattr(KubernetesPodOperator, "execute", execute)


def _notes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was noted on the run; without a connection to Airflow a note is in the log alone."""
    found = [message.partition("note on the run: ") for message in caplog.messages]
    return [note for _, is_note, note in found if is_note]


def test_the_record_of_a_pod_is_handed_over(
    dag: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _ended(monkeypatch, 0, {"model": "m1", "note": "fitted"})
    assert dag.get_task("model.fit").execute(_in_a_run())["model"] == "m1"
    assert _notes(caplog) == ["fitted"]


def test_a_pod_whose_step_refuses_is_not_retried(
    dag: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    _ended(monkeypatch, EXIT_REFUSED, {"error": "BadInput", "refused": "no positives"})
    with pytest.raises(AirflowFailException, match="BadInput: no positives"):
        dag.get_task("model.fit").execute(_in_a_run())
    assert _notes(caplog) == ["fit: BadInput: no positives"]


@pytest.mark.parametrize("exit_code", [1, 137, None])
def test_a_pod_that_fails_is_killed_or_lost_is_retried(
    dag: Any, monkeypatch: pytest.MonkeyPatch, exit_code: int | None
) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    _ended(monkeypatch, exit_code, {})
    with pytest.raises(AirflowException) as raised:
        dag.get_task("model.fit").execute(_in_a_run())
    assert not isinstance(raised.value, AirflowFailException)


def test_every_step_may_run_in_a_pod_and_no_other_name_may(tmp_path: Path) -> None:
    assert set(get_args(get_args(StepName)[0])) == set(steps.STEPS)
    with pytest.raises(ConfigError, match="steps"):
        load(_file(tmp_path, fti={"pod": SEARCH}))


def test_where_a_step_runs_does_not_change_what_is_computed(file: Path) -> None:
    told = load(file)
    assert told.fingerprint == told.model_copy(update={"steps": {}}).fingerprint


def test_an_amount_that_kubernetes_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"steps\.fit\.pod\.memory"):
        load(_file(tmp_path, fit={"pod": SEARCH | {"memory": "8 GB"}}))
