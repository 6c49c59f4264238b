"""Sort passages for a query, each read beside it (cross-encoder; Nogueira and Cho, 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.blocks.ranking_task import RankingTask, question, ranking
from danlu.contracts import Answer, Arrays, Batch, Example, Head, Processor
from danlu.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_TARGET = "relevance"


class Reranking(RankingTask):
    """The last stage of a search: every passage goes through the model together with the query, and gets a score.

    More exact than comparing vectors (`embedding`), and as slow as there are passages. An input is `{"query": str,
    "passages": [str, …]}`, an answer `{"scores": [float, …], "order": [int, …]}`: a probability for each passage, and
    their places from the highest down. Relevance above 1 is taken as parts of the row's highest.
    """

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        x, gold = self.ask(row), self.gold(row)
        if gold is None:
            return []
        most = max(1.0, *gold["scores"])
        targets = [{_TARGET: np.float32(score / most)} for score in gold["scores"]]
        return [
            Example(example.inputs, target) for example, target in zip(self.encode(x, processor), targets, strict=True)
        ]

    def head(self) -> Head:
        return Head("input", 1)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        scores, truth = outputs["logits"].float()[:, 0], batch.targets[_TARGET]
        loss: Tensor = scores.clamp(min=0) - scores * truth + (-scores.abs()).exp().log1p()
        return loss

    def encode(self, x: Any, processor: Processor) -> list[Example]:
        asked = question(x)
        pairs = [(asked["query"], passage) for passage in asked["passages"]]
        return [Example(processor.inputs(pair, self.max_length)) for pair in pairs]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        logits = np.array([output["logits"][0] for output in outputs], dtype=np.float64)
        if not np.isfinite(logits).all():
            raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
        return ranking((1 / (1 + np.exp(-logits.clip(-500, 500)))).tolist())
