"""Scores the golden rows by the graph and compares; all that it needs is `pip install onnxruntime`."""

import json
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).parent
schema = json.loads((here / "schema.json").read_text(encoding="utf-8"))
golden = json.loads((here / "golden.json").read_text(encoding="utf-8"))
session = onnxruntime.InferenceSession(here / "model.onnx")


def feed(column: dict, rows: list) -> np.ndarray:
    values = [row[column["name"]] for row in rows]
    if column["type"] == "string":
        return np.array(["" if value is None else value for value in values], dtype=object)
    return np.array(["nan" if value is None else value for value in values], dtype=np.float64).astype(np.float32)


(scores,) = session.run([schema["output"]["name"]], {each["name"]: feed(each, golden["rows"]) for each in schema["inputs"]})
difference = float(np.abs(scores - np.array(golden["expected"])).max())
print(f"{len(scores)} rows, {(scores >= schema['threshold']).sum()} alerts, at most {difference:.1e} away")
if not difference <= golden["tolerance"]:
    raise SystemExit(f"more than {golden['tolerance']}: this is not the graph that was exported")
