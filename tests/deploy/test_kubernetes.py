"""deploy/kubernetes, rendered by helm and checked against the schemas of Kubernetes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ml.config import PROJECT

CHART = PROJECT / "deploy/kubernetes/perennial"
MINORS = ("1.31", "1.37")
RESOURCES = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}
JOB = {"schedule": "0 4 * * 0", "command": ["maintain"], "resources": RESOURCES}
DEPLOYED = "extends: ../demo.yaml\nledger_uri: postgresql+psycopg://ledger:${LEDGER_DB_PASSWORD}@postgres/ledger\n"
GROWN = {
    "autoscaling": {"enabled": True},
    "deployment": {"content": DEPLOYED},
    "environment": {"AWS_ENDPOINT_URL": "http://s3:9000"},
    "home": {"claim": "perennial-home"},
    "image": {"pullSecrets": ["registry"]},
    "jobs": {"maintain": JOB},
    "serviceAccount": "perennial",
    "serving": {"nodeSelector": {"pool": "scoring"}, "tolerations": [{"key": "scoring", "operator": "Exists"}]},
}
Manifest = dict[str, Any]


def _helm(*words: str, values: Manifest, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    helm = Path(sys.executable).with_name("helm")
    return subprocess.run([helm, *words, str(CHART), "--values", str(file)], capture_output=True, text=True, timeout=60)


def _rendered(values: Manifest, folder: Path) -> list[Manifest]:
    done = _helm("template", "fraud", values=values, folder=folder)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def _one(manifests: list[Manifest], kind: str) -> Manifest:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def _pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Specs of all pods, by the kind of what makes them."""
    specs = {each["kind"]: each["spec"] for each in manifests if each["kind"] in ("StatefulSet", "Job", "CronJob")}
    specs |= {kind: spec["jobTemplate"]["spec"] for kind, spec in specs.items() if kind == "CronJob"}
    return {kind: spec["template"]["spec"] for kind, spec in specs.items()}


@pytest.mark.parametrize("values", [{}, GROWN], ids=["default", "grown"])
def test_every_manifest_is_valid(values: Manifest, tmp_path: Path) -> None:
    linted = _helm("lint", "--strict", values=values, folder=tmp_path)
    assert linted.returncode == 0, linted.stdout
    manifests = _rendered(values, tmp_path)
    assert len(manifests) == (6 if values == {} else 9)
    for minor in MINORS:
        for manifest in manifests:
            assert kubernetes_validate.validate(manifest, minor, strict=True) == minor


def test_a_wrong_manifest_is_found(tmp_path: Path) -> None:
    service = _one(_rendered({}, tmp_path), "StatefulSet")
    service["spec"]["replicas"] = "two"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, MINORS[0], strict=True)


@pytest.mark.parametrize("values", [{}, GROWN], ids=["default", "grown"])
def test_no_pod_has_more_rights_than_it_needs(values: Manifest, tmp_path: Path) -> None:
    for kind, pod in _pods(_rendered(values, tmp_path)).items():
        [container] = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"], kind
        assert not pod["automountServiceAccountToken"], kind
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, kind
        assert container["resources"]["limits"]["memory"], kind
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/srv/perennial/var"}, kind
        assert [source["secretRef"]["name"] for source in container["envFrom"]] == ["perennial"], kind


def test_every_command_is_one_that_the_command_line_takes(tmp_path: Path) -> None:
    from ml.__main__ import _parser

    for kind, pod in _pods(_rendered(GROWN, tmp_path)).items():
        command = pod["containers"][0]["command"]
        if kind == "CronJob":  # the shell adds the present
            assert command[2].startswith('exec python -m ml "$@" --as-of ')
            words = [*command[4:], "--as-of", "2025-05-02T02:00:00Z"]
        else:
            assert command[:3] == ["python", "-m", "ml"], kind
            words = command[3:]
        assert _parser().parse_args(words).config == "config/deployed/deployment.yaml", kind


def test_the_deployment_file_of_the_chart_is_one_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is mounted beside the project's own files, so that it may extend one of them."""
    from ml.config import load

    monkeypatch.setenv("LEDGER_DB_PASSWORD", "a-secret")
    manifests = _rendered(GROWN, tmp_path)
    config, pod = _one(manifests, "ConfigMap"), _pods(manifests)["StatefulSet"]
    [mounted] = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"] if m["name"] == "deployment"]
    assert mounted == "/srv/perennial/config/deployed"
    (tmp_path / "deployed").mkdir()
    (tmp_path / "demo.yaml").write_bytes((PROJECT / "config/demo.yaml").read_bytes())
    file = tmp_path / "deployed/deployment.yaml"
    file.write_text(config["data"]["deployment.yaml"])
    assert load(file).ledger_uri == "postgresql+psycopg://ledger:a-secret@postgres/ledger"


def test_the_autoscaler_asks_for_figures_that_the_service_has(tmp_path: Path) -> None:
    """Names of metrics in the autoscaler are those that the adapter makes, from those of the service."""
    from ml.serving.metrics import Metrics

    metrics = _one(_rendered(GROWN, tmp_path), "HorizontalPodAutoscaler")["spec"]["metrics"]
    asked = {metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"}
    adapter = yaml.safe_load((PROJECT / "deploy/kubernetes/prometheus-adapter-values.yaml").read_text())
    rules = adapter["rules"]["custom"]
    assert {rule["name"]["as"] for rule in rules} == asked
    known = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    known |= {f"{family.name}_bucket" for family in Metrics().registry.collect() if family.type == "histogram"}
    assert all(any(name in rule["metricsQuery"] or name in rule["seriesQuery"] for name in known) for rule in rules)


def test_predictions_outlive_a_pod(tmp_path: Path) -> None:
    """What a pod has answered and not handed over lies on a volume that comes back with it."""
    alone, shared = (_one(_rendered(values, tmp_path), "StatefulSet")["spec"] for values in ({}, GROWN))
    assert [claim["metadata"]["name"] for claim in alone["volumeClaimTemplates"]] == ["home"]
    volumes = {volume["name"]: volume for volume in shared["template"]["spec"]["volumes"]}
    assert volumes["home"]["persistentVolumeClaim"] == {"claimName": "perennial-home"}
    assert "volumeClaimTemplates" not in shared


def test_what_one_process_keeps_is_not_served_by_several(tmp_path: Path) -> None:
    values = {"deployment": {"content": "windows:\n  - {entity: card, minutes: [10], publish: event}\n"}}
    refused = _helm("template", "fraud", values=values, folder=tmp_path)
    assert refused.returncode != 0
    assert "set serving.replicas to 1" in refused.stderr
    assert _one(_rendered(values | {"serving": {"replicas": 1}}, tmp_path), "StatefulSet")["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"serving": {"replica": 2}}, "replica"),
        ({"deployment": {"file": "/etc/deployment.yaml"}}, "file"),
        ({"jobs": {"maintain": {"schedule": "0 4 * * 0", "command": ["maintain"]}}}, "resources"),
    ],
)
def test_a_wrong_value_is_named(values: Manifest, named: str, tmp_path: Path) -> None:
    refused = _helm("template", "fraud", values=values, folder=tmp_path)
    assert refused.returncode != 0
    assert named in refused.stderr


def test_airflows_chart_runs_our_image_with_our_settings() -> None:
    """Values for Airflow's official chart: what docker-compose.yaml tells Airflow, it is told there too."""
    values = yaml.safe_load((PROJECT / "deploy/kubernetes/airflow-values.yaml").read_text())
    compose = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["x-airflow"]["environment"]
    told = {each["name"]: each["value"] for each in values["env"]}
    for name, value in told.items():
        if name in compose and name.startswith("AIRFLOW__"):
            assert compose[name] == value, name
    assert "AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD" in told
    assert not [line for line in json.dumps(values).split('"') if "password:" in line.lower()]
