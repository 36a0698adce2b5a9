"""A deployment whose lake and artifacts lie in an object store: the same lake, training set and model, and no row twice."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.registry.versions import DIGESTS, Registry
from ml.simulate.feed import write_until
from tests import deployments
from tests.deployments import FIRST_AS_OF


def _deployment(folder: Path, storage: dict[str, Any]) -> Path:
    folder.mkdir()
    return deployments.write(folder, deployments.small_told() | storage)


def _land(config: Config, landed: Path) -> None:
    config.home.mkdir()
    config.landing.symlink_to(landed)


def _rows(config: Config) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of events and labels, by table."""
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    with Lake(config.lake).connect(tables) as connection:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall() for table in tables}


def _ingest(file: str) -> None:
    tempfile.tempdir = str(Path(file).parent)  # the lock of one machine's writers lies there, and machines share none
    main(["ingest", "--config", file, "--as-of", FIRST_AS_OF.isoformat()])


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing folder with the days before the first training."""
    path = _deployment(tmp_path_factory.mktemp("feed") / "one", {})
    write_until(load(path), (FIRST_AS_OF - dt.timedelta(days=1)).date())
    return load(path).landing


@pytest.mark.proof
def test_a_model_is_the_same_wherever_lake_and_artifacts_lie(tmp_path: Path, landed: Path, bucket: str) -> None:
    versions, rows = [], []
    for name, storage in (
        ("folder", {}),
        ("bucket", {"lake_uri": f"{bucket}/same/lake", "artifacts": f"{bucket}/same/artifacts"}),
    ):
        path = _deployment(tmp_path / name, storage)
        config = load(path)
        _land(config, landed)
        _ingest(str(path))
        main(["train", "--config", str(path), "--as-of", FIRST_AS_OF.isoformat()])
        rows.append(_rows(config))
        tags = Registry(config.tracking, config.name).all_tags()["1"]
        digests = json.loads(tags[DIGESTS])
        files = {file: digests[file] for file in ("inputs.json", "model.onnx")}  # others say where and when
        versions.append((tags["training_set"], files))
        assert main(["reproduce", "--version", "1", "--config", str(path)]) == 0
    assert rows[0] == rows[1]
    assert versions[0] == versions[1]


@pytest.mark.parametrize("machines", [2, pytest.param(4, marks=pytest.mark.proof)])
def test_machines_that_ingest_the_same_files_at_once_load_every_row_once(
    tmp_path: Path, landed: Path, bucket: str, machines: int
) -> None:
    lake = f"{bucket}/of_{machines}/lake"
    storage = {"lake_uri": lake, "artifacts": f"{bucket}/of_{machines}/artifacts"}
    paths = [_deployment(tmp_path / str(number), storage) for number in range(machines)]
    for path in paths:
        config = load(path)
        _land(config, landed)
    with multiprocessing.get_context("spawn").Pool(machines) as pool:
        pool.map(_ingest, [str(path) for path in paths], chunksize=1)
    rows = _rows(load(paths[0]))
    ids = [row[0] for row in rows[schema.EVENTS]]
    assert len(ids) == len(set(ids)) > 1000
    assert len(rows[schema.LABELS]) == len(set(rows[schema.LABELS])) > 100
    assert Lake(lake).loading() is None
