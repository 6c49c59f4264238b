"""The frame of an exported script: it loads the graph, asks it, and checks itself. The pieces stand above it."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

FOLDER = Path(__file__).parent


class Model:
    """`Model()(x)` is the answer to x."""

    def __init__(self):
        settings = json.loads((FOLDER / "settings.json").read_text("utf-8"))
        self.task, self.inputs = settings["task"], Inputs(FOLDER, settings["processor"])
        self.session = ort.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])

    def __call__(self, x):
        arrays = self.inputs(x, self.task.get("limit"))
        outputs = self.session.run(None, {name: array[None] for name, array in arrays.items()})
        named = {told.name: array[0] for told, array in zip(self.session.get_outputs(), outputs)}
        return answer(named, self.task)


def distance(a, b):
    """The greatest difference of numbers in the same place of two answers; infinite where anything else differs."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((distance(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max(map(distance, a, b), default=0.0)
    return abs(a - b) if isinstance(a, float) and isinstance(b, float) else 0.0 if a == b else np.inf


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="*", help="what to ask; for pictures, their files")
    parser.add_argument("--check", action="store_true", help="answer sample.json and compare with the answers there")
    options, model = parser.parse_args(), Model()
    for x in options.inputs:
        print(json.dumps(model(x), ensure_ascii=False))
    if options.check:
        sample = json.loads((FOLDER / "sample.json").read_text("utf-8"))
        gap = max(distance(model(read(one["input"])), one["answer"]) for one in sample)
        print(f"{len(sample)} answers, at most {gap:.1e} away from those of the registry")
        sys.exit(int(not gap <= 1e-5))


if __name__ == "__main__":
    main()
