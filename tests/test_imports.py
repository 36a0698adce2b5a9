"""`ml` never imports Airflow, and its rooms import in one direction."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ml.config import PROJECT

# A room may import those above it. `feature_repo` stands where Feast reads it, between the features and the store.
ROOMS = [
    "ml.errors",
    "ml.records",
    "ml.config",
    "ml.clock",
    "ml.artifacts",
    "ml.evaluation",
    "ml.model",
    "ml.ledger",
    "ml.registry",
    "ml.simulate",
    "ml.lake",
    "ml.quality",
    "ml.features",
    "feature_repo",
    "ml.store",
    "ml.training",
    "ml.explanation",
    "ml.lineage",
    "ml.monitoring",
    "ml.decision",
    "ml.serving",
    "ml.overview",
    "ml.pages",
    "ml.steps",
    "ml.pipeline",
    "ml.replay",
    "ml.commands",
    "ml.__main__",
]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(module: str) -> str | None:
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


def _files() -> Iterator[tuple[Path, str]]:
    for folder in ("ml", "feature_repo"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
            yield path, module


def test_every_module_belongs_to_a_room() -> None:
    assert [module for _, module in _files() if module != "ml" and _room(module) is None] == []


def test_ml_never_imports_airflow() -> None:
    assert [(m, i) for path, m in _files() for i in _imports(path) if i.split(".")[0] == "airflow"] == []


def test_what_runs_a_deployment_does_not_import_the_simulator() -> None:
    """Only the command that plays a feed does, and replay, which plays one too and knows the true labels."""
    files = [(path, module) for path, module in _files() if not module.startswith("ml.simulate")]
    files += [(path, path.stem) for folder in ("dags", "plugins") for path in sorted((PROJECT / folder).glob("*.py"))]
    importing = {module for path, module in files for each in _imports(path) if each.startswith("ml.simulate")}
    assert importing == {"ml.commands.loop", "ml.replay.history", "ml.replay.oracle", "ml.replay.scenario"}


def test_rooms_import_in_one_direction() -> None:
    wrong = []
    for path, module in _files():
        here = _room(module)
        for imported in _imports(path):
            there = _room(imported)
            if here and there and ROOMS.index(there) > ROOMS.index(here):
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


def test_the_gate_the_ledger_and_the_registry_know_nothing_of_the_rest() -> None:
    known = {
        "ml.records": set(),
        "ml.evaluation": {"ml.records"},
        "ml.ledger": {"ml.config"},
        "ml.artifacts": {"ml.config"},
        "ml.registry": {"ml.artifacts", "ml.ledger", "ml.model"},
        "ml.model": {"ml.artifacts", "ml.config"},
    }
    for room, rooms in known.items():
        imported = {_room(i) for path, m in _files() if _room(m) == room for i in _imports(path)} - {None, room, "ml.errors"}
        assert imported <= rooms


def test_a_model_is_read_without_the_libraries_that_made_it() -> None:
    """What scores carries neither the store, the lake nor the registry; CatBoost and ONNX come when a model is opened."""
    modules = [module for _, module in _files() if _room(module) == "ml.model"]
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(ran.stdout)}
    assert not loaded & {
        "airflow",
        "catboost",
        "deltalake",
        "duckdb",
        "feast",
        "great_expectations",
        "mlflow",
        "onnx",
        "sqlalchemy",
    }


def test_nobody_below_the_dags_and_the_serving_edge_reads_the_clock() -> None:
    told = {"now", "utcnow", "today"}
    readers = [
        f"{module}:{node.lineno}"
        for path, module in _files()
        if _room(module) != "ml.serving"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in told
    ]
    assert readers == []
