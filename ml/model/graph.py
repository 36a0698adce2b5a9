"""A model as one ONNX graph, from raw columns to a probability."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml.model.estimator import Estimator
from ml.model.inputs import Inputs


def to_onnx(estimator: Estimator, inputs: Inputs) -> Any:
    """The ONNX graph: one input of shape (n_rows,) per raw column, output `inputs.answer` of shape (n_rows,).

    The graph fills missing numbers and encodes levels, so that a caller needs no other code. All numbers are filled at once,
    for a node costs more than what it computes for a single row. Names of intermediate values begin with an underscore, which
    names of columns cannot.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, columns = [], [], []
    constants.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "_column_axis"))
    for number, name in enumerate(inputs.fill):
        nodes.append(helper.make_node("Unsqueeze", [name, "_column_axis"], [f"_number_{number}"]))
    if inputs.fill:
        row = np.array([list(inputs.fill.values())], dtype=np.float32)
        constants.append(numpy_helper.from_array(row, "_number_fills"))
        nodes.append(helper.make_node("Concat", [f"_number_{number}" for number in range(row.size)], ["_numbers"], axis=1))
        nodes.append(helper.make_node("IsNaN", ["_numbers"], ["_numbers_missing"]))
        nodes.append(helper.make_node("Where", ["_numbers_missing", "_number_fills", "_numbers"], ["_numbers_filled"]))
        columns.append("_numbers_filled")
    for number, (name, levels) in enumerate(inputs.categories.items(), start=len(inputs.fill)):
        codes = {**levels.codes, "": levels.missing}
        nodes.append(
            helper.make_node(
                "LabelEncoder",
                [name],
                [f"_level_{number}"],
                domain="ai.onnx.ml",
                keys_strings=list(codes),
                values_floats=list(codes.values()),
                default_float=levels.unseen,
            )
        )
        nodes.append(helper.make_node("Unsqueeze", [f"_level_{number}", "_column_axis"], [f"_column_{number}"]))
        columns.append(f"_column_{number}")
    nodes.append(helper.make_node("Concat", columns, ["_features"], axis=1))
    estimator_graph = estimator.to_onnx()
    graph = helper.make_graph(
        [*nodes, *estimator_graph.nodes, helper.make_node("Identity", ["_answer"], [inputs.answer])],
        "perennial",
        [
            *[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows"]) for name in inputs.fill],
            *[helper.make_tensor_value_info(name, TensorProto.STRING, ["rows"]) for name in inputs.categories],
        ],
        [helper.make_tensor_value_info(inputs.answer, TensorProto.FLOAT, ["rows"])],
        initializer=[*constants, *estimator_graph.constants],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
