"""A package scores on a machine that has an ONNX runtime and nothing of this project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.__main__ import main
from ml.config import Config
from ml.model.formats import ParityError
from ml.model.model import Model
from ml.serving import edge
from ml.training.fit import registry
from tests.models import HOSTILE
from tests.serving.packages import FIT, champion, read, spoilt

FILES = {"golden.json", "model.onnx", "package-lock.json", "package.json", "schema.json", "score.mjs", "score.py"}
# Run the example where nothing of ours can be imported, then print what it took from elsewhere than the standard library.
FOREIGN = """
import runpy, sys
runpy.run_path("score.py")
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
print(sorted({file.split("site-packages/")[1].split("/")[0] for file in files if "site-packages/" in file}))
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Model, Path]:
    """A champion, and the file of its deployment."""
    folder = tmp_path_factory.mktemp("edge")
    return *champion(folder), folder / "deployment.yaml"


@pytest.fixture(scope="module")
def package(released: tuple[Config, Model, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The champion as a package, written by the command."""
    folder = tmp_path_factory.mktemp("package") / "new" / "edge"
    assert main(["export", "--config", str(released[2]), "--to", str(folder)]) == 0
    return folder


def test_a_package_says_all_that_a_caller_has_to_know(released: tuple[Config, Model, Path], package: Path) -> None:
    config, model, _ = released
    assert {path.name for path in package.iterdir()} == FILES
    assert [path.name for path in package.parent.iterdir()] == ["edge"]
    schema = read(package, "schema.json")
    assert (schema["version"], schema["sha256"]) == ("1", registry(config).model_hash("1"))
    assert schema["threshold"] == FIT.threshold
    assert [(each["name"], each["type"]) for each in schema["inputs"]] == [
        ("amount", "float32"),
        ("customer_amount_mean_7d", "float32"),
        ("channel", "string"),
    ]
    assert schema["inputs"][1]["meaning"].startswith("mean of amount over a customer's events")
    assert schema["inputs"][2]["categories"] == ["chip", HOSTILE, "online"]
    golden = read(package, "golden.json")
    assert len(golden["rows"]) == len(golden["expected"]) == 120
    assert [golden["rows"][row]["amount"] for row in (3, 4)] == ["Infinity", "-Infinity"]
    rows = edge.edge_case_rows(model.inputs, edge.sample_of(model.folder)[0])
    np.testing.assert_array_equal(golden["expected"], model.score(rows))
    assert any(row["channel"] is None for row in golden["rows"])


def test_the_python_example_needs_onnxruntime_alone(package: Path) -> None:
    ran = subprocess.run([sys.executable, "-I", "-c", FOREIGN], cwd=package, capture_output=True, text=True, check=True)
    told, foreign = ran.stdout.splitlines()
    assert told.startswith("120 rows, ")
    assert set(json.loads(foreign.replace("'", '"'))) >= {"numpy", "onnxruntime"}
    assert not {"ml", "pandas", "catboost", "onnx", "sklearn"} & set(json.loads(foreign.replace("'", '"')))


def test_the_python_example_finds_another_score(package: Path, tmp_path: Path) -> None:
    other = spoilt(package, tmp_path)
    ran = subprocess.run([sys.executable, "-I", str(other / "score.py")], capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "this is not the graph that was exported" in ran.stderr


def test_a_version_is_named_by_its_number_too(released: tuple[Config, Model, Path], package: Path, tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    written = edge.export(released[0], "1", tmp_path / "edge")
    assert (written.version, written.folder) == ("1", tmp_path / "edge")
    assert {p.name: p.read_bytes() for p in written.folder.iterdir()} == {p.name: p.read_bytes() for p in package.iterdir()}


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("2", "card_fraud has no version '2'; there are 1"),
        ("../1", "version is '../1', expected a number or 'champion'"),
        ("1/../../etc", "expected a number or 'champion'"),
        ("", "version is '', expected a number"),
        ("٣", "expected a number or 'champion'"),
    ],
)
def test_a_version_that_is_not_there_is_refused(
    released: tuple[Config, Model, Path], tmp_path: Path, version: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--config", str(released[2]), "--version", version, "--to", str(tmp_path / "edge")]
    assert main(words) == 3
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("full", "is a folder with files in it, and nothing is overwritten"),
        ("link", "is a folder with files in it"),
        ("full/../full", "is a folder with files in it"),
        ("file", "is a file, and nothing is overwritten"),
        ("file/within", "is a file, so there is no folder"),
        ("file/far/within", "is a file, so there is no folder"),
    ],
)
def test_nothing_is_overwritten(
    released: tuple[Config, Model, Path], tmp_path: Path, to: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep me")
    (tmp_path / "file").write_text("keep me")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", "--config", str(released[2]), "--to", str(tmp_path / to)]) == 3
    assert reason in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_who_comes_second_is_refused_and_harms_nothing(
    released: tuple[Config, Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else fills the folder while the package is made."""
    real = edge.compare

    def slow(*given: Any) -> float:
        (tmp_path / "edge").mkdir()
        (tmp_path / "edge" / "mine").write_text("keep me")
        return real(*given)

    monkeypatch.setattr(edge, "compare", slow)
    with pytest.raises(ValueError, match="is a folder with files in it"):
        edge.export(released[0], "1", tmp_path / "edge")
    assert [path.name for path in tmp_path.rglob("*")] == ["edge", "mine"]


def test_a_graph_that_scores_otherwise_is_not_handed_out(
    released: tuple[Config, Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = edge.edge_case_rows
    monkeypatch.setattr(edge, "edge_case_rows", lambda *given: real(*given).assign(channel="chip"))
    monkeypatch.setattr(Model, "score", lambda self, rows: np.full(len(rows), 0.5))
    monkeypatch.setattr("ml.serving.registered.check_copy", lambda folder: None)
    with pytest.raises(ParityError, match="the file is not handed out"):
        edge.export(released[0], "1", tmp_path / "edge")
    assert list(tmp_path.iterdir()) == []


def test_without_a_champion_there_is_nothing_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.deployments import small_file

    assert main(["export", "--config", str(small_file(tmp_path)), "--to", str(tmp_path / "edge")]) == 3
    assert "has no champion yet; name a version" in capsys.readouterr().err
    assert not (tmp_path / "edge").exists()
