"""LitServe with the same ONNX graph: `python litserve_server.py MODEL PORT`.

LitServe reads the annotations as types, so they are not to be postponed.
"""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime

TYPES = {"tensor(float)": np.float32, "tensor(string)": object}


class Graph(litserve.LitAPI):
    """One graph with one thread."""

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self._types = {each.name: TYPES[each.type] for each in self._session.get_inputs()}

    def decode_request(self, request: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.array([value], dtype=self._types[name]) for name, value in request.items()}

    def predict(self, feeds: dict[str, np.ndarray]) -> float:
        return float(self._session.run(None, feeds)[0][0])

    def encode_response(self, probability: float) -> dict[str, float]:
        return {"probability": probability}


if __name__ == "__main__":
    litserve.LitServer(Graph(), accelerator="cpu").run(port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False)
