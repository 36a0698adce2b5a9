"""MLServer's runtime for the same ONNX graph: it hands the tensors of a request to ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

TYPES = {"tensor(float)": np.float32, "tensor(string)": object}


class Graph(MLModel):
    """One graph with one thread."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        self._types = {each.name: TYPES[each.type] for each in self._session.get_inputs()}
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {each.name: np.array(each.data.root, dtype=self._types[each.name]) for each in payload.inputs}
        answer = self._session.run(None, feeds)[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probability", np.asarray(answer))])
