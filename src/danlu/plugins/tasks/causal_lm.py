"""Say what comes next (Bengio et al., 2003; Radford et al., 2018)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import likelihood, masking, sampling
from danlu.blocks.text_task import TextTask
from danlu.contracts import Answer, Arrays, Batch, Delta, Example, Head

if TYPE_CHECKING:
    from torch import Tensor


class CausalLm(TextTask):
    """Pre-training of a model that writes: every token is told from the ones before it.

    Give it the beginning of a text and it goes on, piece by piece where the caller streams: the answer is
    `{"text": str, "tokens": int, "ended": bool}`. What it draws depends on the beginning and the `seed` alone. Asked
    `{"how_likely": text}` it answers `{"nll", "tokens", "characters"}`, which `perplexity` judges.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "next", "answer": "likelihood"}
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the certainty that is spread over the whole vocabulary while training."""
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of log² of the sum of the exponents, which keeps scores from drifting; 1e-4 is common."""
    most: int = Field(default=60, ge=1)
    """How many tokens it writes at most, where a request does not say."""
    temperature: float = Field(default=0.8, ge=0)
    """How freely it draws: 0 always takes the likeliest token, 1 draws as the model says."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """It draws among the likeliest tokens that together have this probability (Holtzman et al., 2020)."""
    seed: int = 0
    """Another seed draws another text."""

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        text = likelihood.scored(x)
        return {self.columns().ask[0]: sampling.prompt(x) + answer["text"] if text is None else text}

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        [ids] = processor.cut([self.material(row)])
        blocks = (np.array(one, dtype=np.int64) for one in likelihood.windows(ids, self.length, 1) if len(one) > 1)
        return [self.block(block, np.ones_like(block), processor) for block in blocks]

    def block(self, ids: Any, segments: Any, processor: Any) -> Example:
        """Each position's target is the next token, none where another document begins."""
        targets = np.full_like(ids, -100)
        targets[:-1] = np.where(segments[1:] == segments[:-1], ids[1:], -100)
        counted = float((targets >= 0).sum())
        return Example({"input_ids": ids, "segments": segments}, {"targets": targets}, count=max(counted, 1.0))

    def head(self) -> Head:
        return Head("next")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return likelihood.loss(outputs, batch, self.label_smoothing, self.z_loss)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The windows of a text that is scored; each token but the first is told once."""
        [ids] = processor.cut([likelihood.scored(x)])
        made = []
        for window in likelihood.windows(ids, self.length, 1):
            block = np.array(window if len(window) > 1 else [processor.pad_id] * 2, dtype=np.int64)
            inputs = {"input_ids": block[:-1], "attention_mask": np.ones(len(block) - 1, dtype=np.int64)}
            asked = {"at": np.arange(len(block) - 1), "tokens": block[1:]}
            made.append(Example({**inputs, **asked}, note=len(block) - 1 if len(window) > 1 else 0))
        return made

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        return likelihood.likelihood(likelihood.scored(x) or "", examples, outputs)

    def answer(self, x: Any, processor: Any) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
        if likelihood.scored(x) is not None:
            return (yield from super().answer(x, processor))
        asked = sampling.Request.of(x, self)
        beginning = sampling.begin(asked.text, processor)
        return (yield from sampling.write(beginning, {sampling.end(processor)}, asked, processor))

    def sample(self, n: int) -> list[dict[str, Any]]:
        return [{self.text or "text": masking.SAMPLE[k % len(masking.SAMPLE)]} for k in range(n)]

    def distance(self, a: Answer, b: Answer) -> float:
        return likelihood.distance(a, b) if "nll" in a and "nll" in b else float(a != b)

    def from_json(self, value: Any) -> Any:
        if likelihood.scored(value) is None:
            sampling.Request.of(value, self)
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, sampling.SCHEMA, likelihood.ASKED]}

    def answer_schema(self) -> dict[str, Any]:
        return {"anyOf": [sampling.ANSWER, likelihood.SCHEMA]}
