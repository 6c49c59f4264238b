"""FastAPI with `transformers.pipeline` in fp32, as its documentation writes it, a peer of `serve_http.py`.

    python benchmarks/serve_peer_pipeline.py FOLDER PORT

FOLDER is the folder of a published version, of which the trained form is loaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline


class Asked(BaseModel):
    input: str


model = pipeline("text-classification", model=str(Path(sys.argv[1], "trained")), device="cpu")
app = FastAPI()


@app.get("/health")
def health() -> str:
    return "ok"


@app.post("/predict")
def predict(asked: Asked) -> dict:
    return model(asked.input, truncation=True, max_length=256)[0]


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False)
