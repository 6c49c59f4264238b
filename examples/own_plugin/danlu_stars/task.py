"""How many stars a text gives."""

import numpy as np

from danlu.contracts import Columns, Example, Head, Task
from danlu.core.errors import DataError


class Stars(Task):
    """A number, not a class: an answer of 4 to a text of 5 stars is nearly right. An answer is `{"stars": float}`."""

    gives = {"modality": "text", "head": "input", "answer": "number"}

    text: str = "text"
    """The column of the texts."""
    stars: str = "stars"
    """The column of the stars."""
    most: int = 5
    """The most stars there are; the least is 0."""

    def columns(self):
        return Columns((self.text,), (self.stars,))

    def ask(self, row):
        return row[self.text]

    def gold(self, row):
        cell = row.get(self.stars)
        return None if cell is None else {"stars": float(cell)}

    def row(self, x, answer):
        return {self.text: x, self.stars: answer["stars"]}

    def head(self):
        return Head("input", size=1)

    def encode(self, x, processor):
        return [Example(processor.inputs(self.from_json(x), 256))]

    def examples(self, row, processor):
        (example,) = self.encode(self.ask(row), processor)
        share = np.float32(self.gold(row)["stars"] / self.most)
        return [Example(example.inputs, {"share": share})]

    def loss(self, outputs, batch):
        return (outputs["logits"][:, 0].sigmoid() - batch.targets["share"]) ** 2

    def decode(self, x, examples, outputs, processor):
        return {"stars": self.most / (1 + float(np.exp(-outputs[0]["logits"][0])))}

    def distance(self, a, b):
        return min(1.0, abs(a["stars"] - b["stars"]) / 2)

    def sample(self, n):
        praise = [("awful and dull", 0), ("bright and splendid", self.most)]
        return [{self.text: f"film {k} was {praise[k % 2][0]}", self.stars: praise[k % 2][1]} for k in range(n)]

    def from_json(self, value):
        if not isinstance(value, str):
            raise DataError(f"a text must be a string, not {type(value).__name__}")
        return value

    def request_schema(self):
        return {"type": "string"}

    def answer_schema(self):
        return {"type": "object", "properties": {"stars": {"type": "number"}}, "required": ["stars"]}
