"""A version as a package for a machine without this project: the graph, its schema, rows with their scores, and examples.

The graph takes raw columns, so that a caller needs an ONNX runtime and nothing else.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ml.artifacts.folder import private
from ml.artifacts.store import digest
from ml.config import PROJECT, Config
from ml.errors import BadInput
from ml.features.catalogue import catalogue
from ml.model.copies import sample_of
from ml.model.formats import TOLERANCE, compare, edge_case_rows
from ml.model.model import ONNX, Model
from ml.model.version import Version
from ml.serving.registered import open_registered

EXAMPLES = PROJECT / "deploy" / "edge"
SCHEMA, GOLDEN = "schema.json", "golden.json"


@dataclass(frozen=True)
class Package:
    """A written package: its version and folder, and the largest difference of its graph from the registered model."""

    version: str
    folder: Path
    rows: int
    difference: float


def export(config: Config, version: str, to: Path) -> Package:
    """Write a registered version as a package, whole or not at all.

    Args:
        version: a number, or `champion`.
        to: a folder that is not there yet, or is empty.

    Raises:
        BadInput: there is something at `to`, or `version` is no number.
        NotThere: there is no such version.
        BrokenModel: the version's files were changed since they were registered.
        ParityError: the graph and the model give different scores.
    """
    to = _free(to)
    opened = open_registered(config, version)
    model = opened.model
    rows = edge_case_rows(model.inputs, sample_of(model.folder)[0])
    with private(to.parent) as temporary:
        made = temporary / "package"
        shutil.copytree(EXAMPLES, made, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        shutil.copy(model.folder / ONNX, made / ONNX)
        difference = compare(model, "onnx", made / ONNX, rows)
        _write(made / SCHEMA, _schema(config, opened))
        _write(made / GOLDEN, _golden(model, rows))
        try:
            made.rename(to)
        except OSError:
            _free(to)
            raise
    return Package(opened.number, to, len(rows), difference)


def _free(to: Path) -> Path:
    """Where the package is to be, if nothing is there but perhaps an empty folder."""
    place = to.resolve()
    above = next((folder for folder in place.parents if folder.exists()), place)
    if not above.is_dir():
        raise BadInput(f"{above} is a file, so there is no folder {place}; name another folder")
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        what = "is a folder with files in it" if place.is_dir() else "is a file"
        raise BadInput(f"{place} {what}, and nothing is overwritten; name a folder that is not there yet, or an empty one")
    return place


def _schema(config: Config, version: Version) -> dict[str, Any]:
    """What a caller has to know: inputs in the order of the model, the output, and what the package was made of."""
    inputs = version.model.inputs
    meanings = {feature.name: feature.description for feature in catalogue(config)}
    numbers: list[dict[str, Any]] = [{"name": name, "type": "float32", "missing": "NaN"} for name in inputs.fill]
    texts: list[dict[str, Any]] = [
        {
            "name": name,
            "type": "string",
            "missing": "",
            "categories": list(levels.codes),
            "others": "any other text is scored as a category that was never seen",
        }
        for name, levels in inputs.categories.items()
    ]
    return {
        "model": config.name,
        "version": version.number,
        "sha256": version.sha256,
        "graph": {"file": ONNX, "sha256": digest(version.model.folder / ONNX)},
        "inputs": [
            each | {"shape": ["rows"], "meaning": meanings.get(each["name"], f"{each['name']} of the event itself")}
            for each in (*numbers, *texts)
        ],
        "output": {"name": inputs.answer, "type": "float32", "shape": ["rows"], "meaning": "probability of a positive label"},
        "threshold": version.threshold,
        "decision": "alert if the output is at least the threshold, else pass",
    }


def _golden(model: Model, rows: pd.DataFrame) -> dict[str, Any]:
    """Rows of the holdout, and some with missing and unseen values, with what the registered model scores on them."""
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows.to_dict("records")]
    return {"rows": plain, "expected": model.score(rows).tolist(), "tolerance": TOLERANCE}


def _plain(value: Any) -> float | str | None:
    """A value for JSON, which has no infinity: that is a text which both languages read as a number."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return None
    return float(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}Infinity"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
