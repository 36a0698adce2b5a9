"""docker-compose.yaml, before an engine is asked: what every service has, and that no secret stands in it."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose import secrets_file
from deploy.compose.bucket import make, signed
from deploy.images import healthy
from ml.config import PROJECT, Config, load

ONCE = {"airflow-migrate", "migrate", "s3-bucket"}
WITHOUT_HTTP = {"postgres", "redis", "s3"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as plain values; variables are not filled in."""
    return dict(yaml.safe_load((PROJECT / "docker-compose.yaml").read_text()))


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    """The deployment that it runs."""
    for name in secrets_file.SECRETS:
        monkeypatch.setenv(name, "a-secret")
    return load("config/compose.yaml")


def test_every_service_has_limits_restarts_and_is_asked_how_it_is(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["mem_limit"], name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        if name not in ONCE | {"s3"}:
            assert ("http://" in " ".join(service["healthcheck"]["test"])) == (name not in WITHOUT_HTTP), name


def test_a_service_starts_after_what_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for needed, how in service.get("depends_on", {}).items():
            once = needed in ONCE
            assert how["condition"] == ("service_completed_successfully" if once else "service_healthy"), (name, needed)


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_secret_is_made_by_make_secrets_and_refused_when_missing() -> None:
    text = (PROJECT / "docker-compose.yaml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?run make secrets\}", text))
    assert required == set(secrets_file.SECRETS)
    secret = re.compile(r"\$\{\w*(PASSWORD|SECRET|KEY)\w*(?!:\?)[}:]")
    assert [line for line in text.splitlines() if secret.search(line.replace(":?run make secrets", ":?"))] == []


def test_secrets_are_readable_for_their_owner_only_and_are_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert secrets_file.write(file) == list(secrets_file.SECRETS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    values = dict(line.split("=", 1) for line in before.splitlines() if not line.startswith("#"))
    assert len(set(values.values())) == len(secrets_file.SECRETS)
    assert min(map(len, values.values())) >= 20
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    assert secrets_file.write(file) == []
    assert file.read_text() == before


def test_a_secret_that_is_new_is_added_to_an_older_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MINE=1\nREDIS_PASSWORD=old")
    added = secrets_file.write(file)
    assert "REDIS_PASSWORD" not in added
    assert file.read_text().startswith("MINE=1\nREDIS_PASSWORD=old\n")
    assert file.read_text().count("REDIS_PASSWORD") == 1


def test_the_deployment_is_the_demos_on_servers(config: Config) -> None:
    assert config.ledger == "postgresql+psycopg://ledger:a-secret@postgres/ledger"
    assert config.feast_uri == "postgresql+psycopg://feast:a-secret@postgres/feast"
    assert config.online_uri == "redis://:a-secret@redis:6379/0"
    assert config.tracking == "http://mlflow:5000"
    assert config.mlflow_artifacts is None
    assert config.fingerprint == load("config/demo.yaml").fingerprint


def test_the_databases_that_the_deployment_names_are_made() -> None:
    script = (PROJECT / "deploy/compose/databases.sh").read_text()
    assert re.findall(r"^make (\w+) ", script, re.MULTILINE) == ["airflow", "mlflow", "feast", "ledger"]


def test_each_alert_says_what_to_do() -> None:
    page = (PROJECT / "docs/grown.md").read_text()
    rules = yaml.safe_load((PROJECT / "deploy/prometheus/rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert alerts
    for alert in alerts:
        assert alert["annotations"]["runbook"] == f"docs/grown.md#{alert['alert'].lower()}"
        assert f"\n### {alert['alert']}\n" in page


def test_alerts_and_pictures_are_of_figures_that_the_service_has() -> None:
    from ml.serving.metrics import Metrics

    names = [metric.name for metric in Metrics().registry.collect()]
    there = {name + ending for name in names for ending in ("", "_total", "_bucket")}
    texts = [(PROJECT / "deploy/prometheus/rules.yml").read_text()]
    texts += [json.dumps(json.loads(path.read_text())) for path in (PROJECT / "deploy/grafana/dashboards").glob("*.json")]
    asked = {name for text in texts for name in re.findall(r"\bperennial_\w+", text)}
    assert asked <= there


def test_a_component_that_is_not_healthy_is_named(tmp_path: Path) -> None:
    report = tmp_path / "health.json"
    report.write_text(json.dumps({"scheduler": {"status": "unhealthy"}, "triggerer": {"status": "healthy"}}))
    assert healthy.main([report.as_uri(), "triggerer"]) == ""
    assert healthy.main([report.as_uri(), "triggerer", "scheduler"]) == "scheduler is unhealthy"
    assert "No such file" in healthy.main([(tmp_path / "absent").as_uri()])


def test_the_request_for_a_bucket_is_signed_as_amazons_own_library_signs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore import auth, awsrequest, credentials

    now, url = dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "http://s3:9000/perennial"
    monkeypatch.setattr(auth, "get_current_datetime", lambda: now)
    request = awsrequest.AWSRequest("PUT", url, data=b"where")
    auth.S3SigV4Auth(credentials.Credentials("key", "secret"), "s3", "eu-central-1").add_auth(request)
    environ = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
    expected = {name.lower(): value for name, value in request.headers.items()}
    assert {name.lower(): value for name, value in signed("PUT", url, b"where", environ, now).items()} == expected


def test_a_bucket_is_made_once(bucket: str) -> None:
    assert [make("another", os.environ) for _ in range(2)] == ["bucket another was made", "bucket another is there"]
