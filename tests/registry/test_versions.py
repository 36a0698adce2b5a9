"""Versions in MLflow: registered once, proved by their digests, found by their alias."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from ml.registry.versions import BrokenModel, Registry


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder behind URIs `elsewhere:///…`, from which MLflow has to download as it does from a bucket."""
    from mlflow.entities import FileInfo
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry as known

    class Elsewhere(ArtifactRepository):
        @property
        def root(self) -> Path:
            return tmp_path / "bucket" / urlparse(self.artifact_uri).path.lstrip("/")

        def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
            target = self.root / (artifact_path or "")
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(local_file, target)

        def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
            shutil.copytree(local_dir, self.root / (artifact_path or ""))

        def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
            folder = self.root / (path or "")
            files = folder.iterdir() if folder.is_dir() else []
            return [FileInfo(f.relative_to(self.root).as_posix(), f.is_dir(), f.stat().st_size) for f in files]

        def _download_file(self, remote_file_path: str, local_path: str) -> None:
            shutil.copy(self.root / remote_file_path, local_path)

    known.register("elsewhere", Elsewhere)
    yield tmp_path / "bucket"
    del known._registry["elsewhere"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "extra").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "extra" / "golden.csv").write_text("1,2,3\n")
    return folder


def test_a_registered_onnx_model_is_loaded_by_its_alias(registry: Registry, tracking: str, tmp_path: Path) -> None:
    import mlflow
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Add", ["features", "one"], ["score"])],
        "adds_one",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("one", TensorProto.FLOAT, [2], [1.0, 1.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    rows = np.array([[1, 2], [3, 4]], dtype=np.float32)
    signature = mlflow.models.infer_signature(rows, rows)
    folder = tmp_path / "model"
    mlflow.onnx.save_model(model, str(folder), signature=signature, pip_requirements=["onnxruntime"])

    experiment = registry.experiment(registry.model, str(tmp_path / "artifacts"))
    version = registry.register(folder, registry.run(experiment, "key"), {"rows": "2"}, "adds one")
    registry.set_aliases(champion=version)

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{registry.model}@champion")
    finally:
        mlflow.set_tracking_uri(before)
    np.testing.assert_array_equal(loaded.predict(rows)["score"], rows + 1)
    assert loaded.metadata.signature == signature
    assert loaded.metadata.flavors.keys() >= {"onnx", "python_function"}
    assert (registry.fetch(version) / "model.onnx").is_file()


def test_an_experiment_and_a_run_are_found_again(registry: Registry, tmp_path: Path) -> None:
    experiment = registry.experiment(registry.model, str(tmp_path / "artifacts"))
    assert registry.experiment(registry.model, str(tmp_path / "artifacts")) == experiment
    run = registry.run(experiment, "key")
    assert registry.run(experiment, "key") == run
    assert registry.run(experiment, "another") != run


def test_a_run_has_one_version_with_its_tags(registry: Registry, folder: Path, tmp_path: Path) -> None:
    run = registry.run(registry.experiment(registry.model, str(tmp_path / "artifacts")), "key")
    version = registry.register(folder, run, {"rows": "1000"}, "first")
    assert registry.register(folder, run, {"rows": "1000"}, "again") == version == "1"
    assert registry.tags(version)["rows"] == "1000"
    assert registry.digests(version).keys() == {"MLmodel", "extra/golden.csv"}
    other = registry.run(registry.experiment(registry.model, ""), "another")
    assert registry.register(folder, other, {}, "second") == "2"


def test_of_two_registrations_of_one_run_at_once_the_earlier_version_stays(
    registry: Registry, tracking: str, folder: Path, tmp_path: Path
) -> None:
    run = registry.run(registry.experiment(registry.model, str(tmp_path / "artifacts")), "key")
    first = registry.register(folder, run, {}, "first")

    class Late(Registry):
        """Looked for a version of the run before the other process had made it."""

        looked = False

        def _first_version(self, run_id: str) -> str | None:
            if not self.looked:
                self.looked = True
                return None
            return super()._first_version(run_id)

    late = Late(tracking, registry.model)
    assert late.register(folder, run, {}, "late") == first
    assert registry.register(folder, run, {}, "later") == first
    assert registry.fetch(first).is_dir()


def test_two_versions_with_the_same_files_have_the_same_hash(
    registry: Registry, folder: Path, tmp_path: Path, add_version: Callable[[], str]
) -> None:
    experiment = registry.experiment(registry.model, str(tmp_path / "artifacts"))
    same = [registry.register(folder, registry.run(experiment, key), {}, key) for key in ("a", "b")]
    assert registry.model_hash(same[0]) == registry.model_hash(same[1]) != registry.model_hash(add_version())


@pytest.mark.parametrize("name", ["MLmodel", "model.onnx"])
def test_a_file_that_is_not_the_registered_one_is_found_and_named(
    registry: Registry, add_version: Callable[[], str], name: str, damage: Callable[[Path], None]
) -> None:
    version = add_version()
    damage(registry.fetch(version) / name)
    with pytest.raises(BrokenModel, match=rf"version {version}: .*{name} (is missing|has \d+ bytes).*train again"):
        registry.fetch(version)


def test_a_version_whose_folder_is_gone_says_so(registry: Registry, add_version: Callable[[], str]) -> None:
    version = add_version()
    folder = registry.fetch(version)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(BrokenModel, match="cannot read"):
        registry.fetch(version)


def test_files_elsewhere_are_downloaded_and_compared(registry: Registry, folder: Path, elsewhere: Path) -> None:
    run = registry.run(registry.experiment(registry.model, "elsewhere:///models"), "key")
    version = registry.register(folder, run, {}, "elsewhere")
    fetched = registry.fetch(version)
    assert elsewhere not in fetched.parents
    assert (fetched / "extra" / "golden.csv").read_text() == "1,2,3\n"
    next(elsewhere.rglob("golden.csv")).write_text("1,2,4\n")
    with pytest.raises(BrokenModel, match=r"golden\.csv has 6 bytes"):
        registry.fetch(version)
    next(elsewhere.rglob("golden.csv")).unlink()
    with pytest.raises(BrokenModel, match=r"golden\.csv is missing"):
        registry.fetch(version)


def test_a_folder_without_mlmodel_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    run = registry.run(registry.experiment(registry.model, str(tmp_path / "artifacts")), "key")
    with pytest.raises(BrokenModel, match="no file MLmodel"):
        registry.register(tmp_path, run, {}, "empty")


def test_a_version_that_was_registered_past_us_cannot_be_fetched(registry: Registry, tracking: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking, registry_uri=tracking)
    client.create_registered_model(registry.model)
    client.create_model_version(registry.model, source="file:///tmp/somewhere")
    with pytest.raises(BrokenModel, match="has no tag"):
        registry.fetch("1")


def test_only_the_named_aliases_move_and_none_takes_one_away(registry: Registry, add_version: Callable[[], str]) -> None:
    assert registry.aliases() == {}
    registry.set_aliases(champion=None)
    first, second = add_version(), add_version()
    registry.set_aliases(champion=first, challenger=second)
    assert registry.aliases() == {"champion": first, "challenger": second}
    registry.set_aliases(champion=second)
    assert registry.aliases() == {"champion": second, "challenger": second}
    registry.set_aliases(challenger=None)
    assert registry.aliases() == {"champion": second}


def test_a_stage_is_written_on_a_version(registry: Registry, add_version: Callable[[], str]) -> None:
    first, second = add_version(), add_version()
    registry.set_stage_tag(second, "rejected")
    assert registry.stages() == {second: "rejected"}
    assert first not in registry.stages()
