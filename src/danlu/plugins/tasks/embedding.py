"""Texts as vectors, for search and similarity, learnt by contrast."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from danlu.blocks.ranking_task import RANKING, REQUEST, RankingTask, question, ranking
from danlu.contracts import Answer, Arrays, Batch, Example, Head, Processor
from danlu.core import plugin
from danlu.core.errors import DataError
from danlu.values import collate

if TYPE_CHECKING:
    from torch import Tensor

_contrast: Any = plugin.lazy("danlu.blocks.contrast")


class Embedding(RankingTask):
    """A query comes near the passages that belong to it and far from all others of its batch (InfoNCE).

    Rows without a column of passages teach by themselves: the same text goes in twice, and dropout makes the difference
    (SimCSE; Gao et al., 2021). Passages of a row that do not belong to its query are hard negatives, beside the batch.
    The larger the batch, the more there is to tell apart; with `accumulate` a batch is what goes in at once.

    Asked with a text, it answers `{"vector": [float, …]}`, of length 1. Asked with `{"query": str, "passages": [str,
    …]}`, it answers `{"scores": [float, …], "order": [int, …]}`: how the passages share a certainty of 1 at the
    temperature of the training, and their places from the highest down.
    """

    gives: ClassVar[Mapping[str, str]] = {
        "modality": "text", "head": "vector", "answer": "ranking", "loss": "contrastive",
    }  # fmt: skip

    temperature: float = Field(default=0.05, gt=0, le=10)
    """What similarities are divided by: the lower, the more the nearest wrong passages count."""
    symmetric: bool = False
    """Whether a passage shall find its query among the batch's, too."""
    hard: int = Field(default=1, ge=0, le=8)
    """How many hard negatives of a row are used at most; all examples have as many as the row with the fewest."""
    sizes: tuple[int, ...] = ()
    """Shorter vectors that shall do as well: the first numbers of each, so many (Matryoshka), such as `[64, 128]`."""
    size: int | None = Field(default=None, ge=1)
    """How many numbers an answer's vector has; by default all."""

    @model_validator(mode="after")
    def _sizes_are_sizes(self) -> Self:
        if any(size < 1 for size in self.sizes):
            raise ValueError("a size in `sizes` is at least 1")
        return self

    def needed(self) -> tuple[str, ...]:
        return ("query",)

    def resolve(self, rows: Any) -> Self:
        settled = super().resolve(rows)
        if not settled.relevance:
            there = settled.negative and rows.column(settled.negative).null_count in (0, rows.num_rows)
            return settled.model_copy(update={"hard": min(self.hard, 1 if there else 0)})
        wrong = [sum(not one for one in relevance) for relevance in rows.column(settled.relevance).to_pylist()]
        return settled.model_copy(update={"hard": min([self.hard, *wrong])})

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        """One for each passage that belongs to the query, the row's first negatives beside it."""
        x, gold = self.ask(row), self.gold(row)
        if gold is None:
            return []
        both = list(zip(x["passages"], gold["scores"], strict=True))
        wrong = [passage for passage, score in both if not score][: self.hard]
        return [self._example(x["query"], [passage, *wrong], processor) for passage, score in both if score]

    def _example(self, query: str, passages: list[str], processor: Processor) -> Example:
        inputs = dict(processor.inputs(query, self.max_length))
        for place, passage in enumerate(passages):
            encoded = processor.inputs(passage, self.max_length)
            inputs |= {f"passage{place}.{name}": array for name, array in encoded.items()}
        known = {"query": _number(query), "passages": np.array([_number(passage) for passage in passages])}
        return Example(inputs, known)

    def collate(self, examples: Any, processor: Processor) -> Batch:
        plain = {name: name.rpartition(".")[2] for name in examples[0].inputs}
        return collate(examples, {name: processor.pad[one] for name, one in plain.items() if one in processor.pad})

    def forward(self, model: Any, batch: Batch) -> Arrays:
        """`vector` [n, width] of each text, while training also `passage0`, … of the row's passages."""
        groups: dict[str, dict[str, Any]] = {}
        for name, array in batch.inputs.items():
            group, _, plain = name.rpartition(".")
            groups.setdefault(group, {})[plain] = array
        return {group or "vector": model(**arrays)["vector"] for group, arrays in groups.items()}

    def head(self) -> Head:
        return Head("vector")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        passages = [outputs[name] for name in sorted(outputs) if name != "vector"]
        how = {"temperature": self.temperature, "symmetric": self.symmetric, "sizes": self.sizes}
        same = _contrast.belonging(batch.targets["query"], batch.targets["passages"])
        loss: Tensor = _contrast.info_nce(outputs["vector"], passages, same, **how)
        return loss

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        return [Example(processor.inputs(text, self.max_length)) for text in _texts(x)]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        vectors = np.stack([self._vector(output["vector"]) for output in outputs])
        if isinstance(x, str):
            return {"vector": vectors[0].tolist()}
        powers = vectors[1:] @ vectors[0] / self.temperature
        powers = np.exp(powers - powers.max())
        return ranking((powers / powers.sum()).tolist())

    def _vector(self, numbers: Any) -> Any:
        vector = np.asarray(numbers, dtype=np.float64)
        if self.size is not None and self.size > len(vector):
            what = f"the model's vectors have {len(vector)} numbers, {self.size} are asked for"
            raise DataError(what, where=f"task.{self.name}.size", do=f"size: {len(vector)}, or fewer")
        vector = vector[: self.size]
        length = np.linalg.norm(vector)
        if not np.isfinite(length) or length == 0:
            raise DataError("the model's vector is not finite, or zero", do="train it again with a lower lr")
        return vector / length

    def distance(self, a: Answer, b: Answer) -> float:
        """Half the distance of two vectors of length 1; of rankings the greatest difference of a score."""
        if "vector" in a and "vector" in b and len(a["vector"]) == len(b["vector"]):
            return float(np.linalg.norm(np.subtract(a["vector"], b["vector"])) / 2)
        return super().distance(a, b) if "scores" in a and "scores" in b else 1.0

    def from_json(self, value: Any) -> Any:
        return value if isinstance(value, str) else question(value)

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, REQUEST]}

    def answer_schema(self) -> dict[str, Any]:
        numbers = {"type": "array", "items": {"type": "number"}}
        vector = {"type": "object", "properties": {"vector": numbers}, "required": ["vector"]}
        return {"anyOf": [vector, RANKING]}


def _texts(x: Any) -> list[str]:
    if isinstance(x, str):
        return [x]
    asked = question(x)
    return [asked["query"], *asked["passages"]]


def _number(text: str) -> Any:
    """What equal texts have in common."""
    return np.int64(zlib.crc32(" ".join(text.lower().split()).encode("utf-8", "replace")))
