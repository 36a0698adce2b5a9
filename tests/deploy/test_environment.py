"""What the stack's processes are told."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.environment import environment, passwords_file, shared_secrets
from ml import TELEMETRY_OFF


def told(home: Path, port: int = 8123) -> dict[str, str]:
    return environment(home, Path("/etc/deployment.yaml"), port, home / "dags", "title")


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    shared_secrets(tmp_path / "airflow")
    files = list((tmp_path / "airflow").iterdir())
    assert {file.name for file in files} == {"secrets.json", "passwords.json"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "airflow").stat().st_mode) == 0o700


def test_secrets_that_became_readable_are_closed_again(tmp_path: Path) -> None:
    shared_secrets(tmp_path)
    passwords_file(tmp_path).chmod(0o644)
    shared_secrets(tmp_path)
    assert stat.S_IMODE(passwords_file(tmp_path).stat().st_mode) == 0o600


def test_secrets_are_made_once_and_differ_between_stacks(tmp_path: Path) -> None:
    first = shared_secrets(tmp_path / "a")
    assert shared_secrets(tmp_path / "a") == first
    other = shared_secrets(tmp_path / "b")
    assert all(getattr(first, name) != getattr(other, name) for name in first.__dataclass_fields__)
    assert len(first.jwt_secret) >= 64
    assert len(first.api_secret_key) >= 64


def test_the_fernet_key_encrypts(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    fernet = Fernet(shared_secrets(tmp_path).fernet_key)
    assert fernet.decrypt(fernet.encrypt(b"card")) == b"card"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    secrets = shared_secrets(tmp_path)
    assert not any(getattr(secrets, name) in repr(secrets) for name in secrets.__dataclass_fields__)


def test_everything_listens_and_talks_on_loopback_only(tmp_path: Path) -> None:
    environ = told(tmp_path)
    assert environ["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environ["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:8123"
    assert environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"


def test_tasks_know_the_login_of_the_api(tmp_path: Path) -> None:
    login = json.loads(told(tmp_path)["AIRFLOW_CONN_PERENNIAL_API"])
    assert (login["host"], login["port"], login["login"]) == ("127.0.0.1", 8123, "admin")
    assert json.loads(passwords_file(tmp_path / "airflow").read_text()) == {"admin": login["password"]}


def test_another_installations_settings_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production/airflow")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD", "cat /production")
    monkeypatch.setenv("AIRFLOW_CONFIG", "/production/airflow.cfg")
    monkeypatch.setenv("AIRFLOW_CONN_SLACK", "slack://notify")
    environ = told(tmp_path)
    assert not [name for name, value in environ.items() if "production" in value]
    assert environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/airflow/airflow.db"
    assert environ["AIRFLOW_CONN_SLACK"] == "slack://notify"


def test_a_proxy_is_not_asked_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert told(tmp_path)["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_mlflow_reads_that_it_shall_not_report() -> None:
    # Under pytest and in CI MLflow is silent anyway, so it is asked where neither can be seen.
    code = (
        "import os; from mlflow.telemetry.utils import is_telemetry_disabled as off; silent = off();"
        "[os.environ.pop(name) for name in ('MLFLOW_DISABLE_TELEMETRY', 'DO_NOT_TRACK')];"
        "print(silent, off())"
    )
    clean = {"PATH": os.environ["PATH"], **TELEMETRY_OFF}
    run = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]


def test_onnxruntime_leaves_no_identifier_of_this_machine(tmp_path: Path) -> None:
    # Unless told otherwise it writes ~/.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid with its first session.
    code = """
import onnxruntime
from onnx import TensorProto, helper
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
print(onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"a": __import__("numpy").ones(1, "float32")}))
"""
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **TELEMETRY_OFF}
    run = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "1." in run.stdout
    assert list(tmp_path.rglob("*")) == []
