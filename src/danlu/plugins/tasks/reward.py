"""Say how good an answer is: a reward model, learnt from pairs (Bradley and Terry, 1952; Ouyang et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from danlu.blocks import conversations, pair_rows
from danlu.blocks.chat_task import Taught
from danlu.blocks.chat_template import ASSISTANT
from danlu.blocks.pair_rows import PairRows
from danlu.contracts import Answer, Arrays, Batch, Example, Head, Processor
from danlu.core import plugin
from danlu.core.errors import DataError
from danlu.values import collate

if TYPE_CHECKING:
    from torch import Tensor

_preferences: Any = plugin.lazy("danlu.blocks.preferences")

_OTHER = "rejected."
"""How the names of the arrays of the rejected answer begin."""


class Reward(PairRows):
    """Rows are a `prompt` with a `chosen` and a `rejected` answer; the model gives every answer a number, a greater one
    to the better.

    Given a conversation that ends with an answer, a list of messages, it says `{"score": float}`: the logarithm of the
    odds against an answer of score 0, so differences mean something and the number alone does not. Given `{"messages":
    talk, "answers": ["…", …]}` it ranks: `{"scores": [float, …], "order": [int, …]}`, how the answers share a certainty
    of 1, and their places from the best down.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "input", "answer": "preference"}

    # ---- training ----------------------------------------------------------------------------------------------------

    def paired(self, chosen: Taught, rejected: Taught) -> Example:
        other = {f"{_OTHER}{name}": array for name, array in _given(rejected[0]).items()}
        return Example({**_given(chosen[0]), **other})

    def collate(self, examples: Sequence[Example], processor: Processor) -> Batch:
        plain = {name: name.removeprefix(_OTHER) for name in examples[0].inputs}
        return collate(examples, {name: processor.pad[one] for name, one in plain.items()})

    def head(self) -> Head:
        return Head("input", 1)

    def forward(self, model: Any, batch: Batch) -> Arrays:
        """`logits` [n, 1] of the answers; while training those of the chosen ones, and `rejected` [n, 1] besides."""
        groups: dict[str, dict[str, Any]] = {"logits": {}}
        for name, array in batch.inputs.items():
            group = _OTHER.removesuffix(".") if name.startswith(_OTHER) else "logits"
            groups.setdefault(group, {})[name.removeprefix(_OTHER)] = array
        return {group: model(**arrays)["logits"] for group, arrays in groups.items()}

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        found: Tensor = _preferences.bradley_terry(outputs["logits"].float()[:, 0], outputs["rejected"].float()[:, 0])
        return found

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        talk, answers = _question(x)
        made = []
        for answer in answers:
            ids, _ = self.judged(talk, answer, processor)
            made.append(Example(_given(ids)))
        return made

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        rewards = [float(output["logits"][0]) for output in outputs]
        ranked = pair_rows.preferred(rewards)
        return ranked if isinstance(x, Mapping) else {"score": rewards[0]}

    def distance(self, a: Answer, b: Answer) -> float:
        """The greatest difference of a score, at most 1."""
        if "score" in a and "score" in b:
            return min(1.0, abs(float(a["score"]) - float(b["score"])))
        return pair_rows.distance(a, b) if "scores" in a and "scores" in b else 1.0

    def from_json(self, value: Any) -> Any:
        _question(value)
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [conversations.MESSAGES, pair_rows.REQUEST]}

    def answer_schema(self) -> dict[str, Any]:
        score = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}
        return {"anyOf": [score, pair_rows.SCHEMA]}


def _given(ids: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _question(x: Any) -> tuple[list[Mapping[str, str]], list[str]]:
    """The conversation of an input, and the answers to it that are to be judged. Raises DataError."""
    if isinstance(x, Mapping):
        return pair_rows.compared(x)
    talk = conversations.messages(x)
    conversations.check_answered(talk)
    if talk[-1]["role"] != ASSISTANT:
        raise DataError("the conversation ends with no answer that could be judged", do="end it with the assistant's")
    return talk[:-1], [talk[-1]["content"]]
