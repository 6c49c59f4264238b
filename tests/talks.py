"""A form and a task whose talks are scripts."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from danlu.contracts import Batch, Delta, Example, collate
from danlu.predictor import Predictor


class Form:
    """Doubles and sums what it is asked; chokes on a batch that holds `poison`. Remembers the shapes it saw."""

    def __init__(self, poison: int = -1) -> None:
        self.poison, self.shapes = poison, []

    def forward(self, inputs):
        self.shapes.append({name: array.shape for name, array in inputs.items()})
        array = next(iter(inputs.values()))
        if (array == self.poison).any():
            raise RuntimeError("the model choked")
        names = sorted(inputs)
        return {"sum": array.sum(1) * len(names[0]), "double": array * 2}

    def resume(self, examples):
        return None


class Talking:
    """A task whose inputs are scripts: what to yield, one step after the other; the answer tells all it heard."""

    name = "talking"

    def collate(self, examples, processor) -> Batch:
        return collate(examples, {"a": 0, "bb": 0})

    def forward(self, model, batch):
        return model(**batch.inputs)

    def answer(self, x, processor):
        heard = []
        for step in x:
            if step == "raise":
                raise ValueError("the talk broke")
            if step == "bug":
                yield "neither"
            elif isinstance(step, str):
                yield Delta(step)
            else:
                outputs = yield [Example({name: np.array(values)}) for name, values in step]
                heard.append(
                    [(o["sum"].item(), o["double"][: len(v)].tolist()) for o, (_, v) in zip(outputs, step, strict=True)]
                )
        return heard


def predictor(form=None, batch_size: int = 4) -> Predictor:
    return Predictor(form or Form(), Talking(), SimpleNamespace(pad={}), batch_size)
