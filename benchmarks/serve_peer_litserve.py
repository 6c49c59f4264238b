"""LitServe with a published int8 graph in ONNX Runtime, a peer of `serve_http.py`.

    python benchmarks/serve_peer_litserve.py FOLDER PORT [batch]

FOLDER is the folder of a published version: the same graph and the same tokenizer file that `danlu serve` uses. With
`batch`, LitServe's own batching is on (8 requests, 5 ms).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import litserve
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MOST_TOKENS = 256


class Answers(litserve.LitAPI):
    def __init__(self, form: str, batched: bool) -> None:
        super().__init__(**({"max_batch_size": 8, "batch_timeout": 0.005} if batched else {}))
        self.form, self.batched = form, batched

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        (graph,) = Path(self.form).glob("*.onnx")
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.names = {one.name for one in self.session.get_inputs()}
        self.tokenizer = Tokenizer.from_file(str(Path(self.form, "tokenizer.json")))
        self.tokenizer.enable_truncation(MOST_TOKENS)
        self.tokenizer.enable_padding() if self.batched else self.tokenizer.no_padding()

    def decode_request(self, request: dict, **_: object) -> str:
        return request["input"]

    def predict(self, texts: object, **_: object) -> object:
        encoded = self.tokenizer.encode_batch(texts if self.batched else [texts])
        arrays = {"input_ids": np.array([e.ids for e in encoded], np.int64),
                  "attention_mask": np.array([e.attention_mask for e in encoded], np.int64),
                  "token_type_ids": np.array([e.type_ids for e in encoded], np.int64)}  # fmt: skip
        (logits,) = self.session.run(["logits"], {k: v for k, v in arrays.items() if k in self.names})
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return list(shares) if self.batched else shares[0]

    def encode_response(self, shares: object, **_: object) -> dict:
        return {"scores": [float(share) for share in shares]}


if __name__ == "__main__":
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    form = folder / json.loads((folder / "forms.json").read_text())["default"]
    server = litserve.LitServer(Answers(str(form), "batch" in sys.argv), accelerator="cpu", workers_per_device=1)
    server.run(port=port, host="127.0.0.1", log_level="warning", generate_client_file=False)
