"""A model as PMML 4.4: raw columns in, output `inputs.answer`.

CatBoost's own PMML rounds borders to six digits, takes encoded numbers and returns only a label, so the documents are written
here, with all digits: derived fields fill missing numbers and encode levels, and a logit link converts log-odds.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from ml.errors import BadInput
from ml.model.estimator import Estimator
from ml.model.inputs import MISSING, Inputs
from ml.model.linear import Linear, Term
from ml.model.trees import Trees

PMML = "http://www.dmg.org/PMML-4_4"


def to_pmml(estimator: Estimator, inputs: Inputs) -> bytes:
    """The document.

    Raises:
        ValueError: there is no PMML for this kind of model, or a category cannot be written in XML.
    """
    root = ET.Element("PMML", {"version": "4.4", "xmlns": PMML})
    ET.SubElement(ET.SubElement(root, "Header"), "Application", {"name": "Perennial"})
    fields = ET.SubElement(root, "DataDictionary")
    for name in inputs.fill:
        ET.SubElement(fields, "DataField", {"name": name, "optype": "continuous", "dataType": "double"})
    for name in inputs.categories:
        ET.SubElement(fields, "DataField", {"name": name, "optype": "categorical", "dataType": "string"})
    dictionary = ET.SubElement(root, "TransformationDictionary")
    derived = _derive(dictionary, inputs)
    match estimator:
        case Trees():
            _boosted(root, estimator, derived, inputs)
        case Linear():
            _regression(root, dictionary, estimator, derived, inputs)
        case _:
            raise BadInput(f"{estimator.FILE} cannot be written as pmml")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8")


def _regression(root: ET.Element, dictionary: ET.Element, linear: Linear, derived: Sequence[str], inputs: Inputs) -> None:
    """A regression over the terms' contributions, each of them a derived field."""
    for number, (term, name) in enumerate(zip(linear.terms, derived, strict=True)):
        _contribution(_field(dictionary, f"_term_{number}"), term, name)
    model = ET.SubElement(
        root, "RegressionModel", {"functionName": "regression", "modelName": "perennial", "normalizationMethod": "logit"}
    )
    _schema(model, inputs.names)
    _output(model, inputs.answer)
    table = ET.SubElement(model, "RegressionTable", {"intercept": repr(linear.base)})
    for number in range(len(linear.terms)):
        ET.SubElement(table, "NumericPredictor", {"name": f"_term_{number}", "coefficient": "1"})


def _contribution(field: ET.Element, term: Term, name: str) -> None:
    choice = _apply(field, "if")
    absent = _apply(choice, "equal")
    ET.SubElement(absent, "FieldRef", {"field": name})
    _constant(absent, MISSING)
    _constant(choice, term.missing)
    total = _apply(choice, "+")
    product = _apply(total, "*")
    difference = _apply(product, "-")
    below = _apply(difference, "min")
    above = _apply(below, "max")
    ET.SubElement(above, "FieldRef", {"field": name})
    _constant(above, term.low)
    _constant(below, term.high)
    _constant(difference, term.mean)
    _constant(product, term.weight)
    _constant(total, term.present)


def _boosted(root: ET.Element, trees: Trees, derived: Sequence[str], inputs: Inputs) -> None:
    """A model chain: the sum of the trees, then the logit link.

    Raises:
        ValueError: the trees are not symmetric.
    """
    document = trees.as_json
    if "oblivious_trees" not in document:
        raise BadInput("the model's trees are not symmetric; PMML is written for grow_policy SymmetricTree only")
    features = {
        feature["feature_index"]: feature["flat_feature_index"] for feature in document["features_info"]["float_features"]
    }
    chain = ET.SubElement(root, "MiningModel", {"functionName": "regression", "modelName": "perennial"})
    _schema(chain, inputs.names)
    _output(chain, inputs.answer)
    steps = ET.SubElement(chain, "Segmentation", {"multipleModelMethod": "modelChain"})
    _totalof_trees(
        _segment(steps, "trees"), document["oblivious_trees"], [derived[features[i]] for i in sorted(features)], inputs
    )
    scale, (bias,) = document["scale_and_bias"]
    link = ET.SubElement(
        _segment(steps, "link"), "RegressionModel", {"functionName": "regression", "normalizationMethod": "logit"}
    )
    _schema(link, ["_log_odds"])
    table = ET.SubElement(link, "RegressionTable", {"intercept": repr(float(bias))})
    ET.SubElement(table, "NumericPredictor", {"name": "_log_odds", "coefficient": repr(float(scale))})


def _apply(parent: ET.Element, function: str) -> ET.Element:
    return ET.SubElement(parent, "Apply", {"function": function})


def _constant(parent: ET.Element, value: float) -> None:
    ET.SubElement(parent, "Constant", {"dataType": "double"}).text = repr(float(value))


def _derive(parent: ET.Element, inputs: Inputs) -> list[str]:
    """Add the derived fields; returns their names in the order of the matrix."""
    names = []
    for number, (name, fill) in enumerate(inputs.fill.items()):
        field = _field(parent, f"_input_{number}")
        choice = _apply(field, "if")
        ET.SubElement(_apply(choice, "isMissing"), "FieldRef", {"field": name})
        _constant(choice, fill)
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
    """The category, if XML can hold it; a runtime may trim blanks at its ends."""
    allowed = all(c in "\t\n" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000" for c in category)
    if not allowed or category != category.strip():
        raise BadInput(f"category {category!r} of {name} cannot be written in XML; choose another format")
    return category


def _field(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, "DerivedField", {"name": name, "optype": "continuous", "dataType": "double"})


def _schema(parent: ET.Element, names: Sequence[str]) -> None:
    schema = ET.SubElement(parent, "MiningSchema")
    for name in names:
        ET.SubElement(schema, "MiningField", {"name": name, "usageType": "active"})


def _output(parent: ET.Element, name: str) -> None:
    attributes = {"name": name, "feature": "predictedValue", "optype": "continuous", "dataType": "double"}
    ET.SubElement(ET.SubElement(parent, "Output"), "OutputField", attributes)


def _segment(parent: ET.Element, name: str) -> ET.Element:
    segment = ET.SubElement(parent, "Segment", {"id": name})
    ET.SubElement(segment, "True")
    return segment


def _totalof_trees(parent: ET.Element, trees: Sequence[Mapping[str, Any]], fields: Sequence[str], inputs: Inputs) -> None:
    ensemble = ET.SubElement(parent, "MiningModel", {"functionName": "regression"})
    _schema(ensemble, inputs.names)
    _output(ensemble, "_log_odds")
    segments = ET.SubElement(ensemble, "Segmentation", {"multipleModelMethod": "sum"})
    for number, tree in enumerate(trees):
        attributes = {
            "functionName": "regression",
            "splitCharacteristic": "binarySplit",
            "noTrueChildStrategy": "returnLastPrediction",
        }
        model = ET.SubElement(_segment(segments, f"tree_{number}"), "TreeModel", attributes)
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
