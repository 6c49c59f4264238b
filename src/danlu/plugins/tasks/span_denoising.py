"""Say what stood where a text has gaps (Raffel et al., 2020)."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import beam, likelihood, masking, pairs, spans
from danlu.blocks.text_distance import distance
from danlu.blocks.text_task import TextTask
from danlu.contracts import Answer, Arrays, Batch, Delta, Example, Head
from danlu.core.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class SpanDenoising(TextTask):
    """Pre-training of an encoder–decoder such as `t5`: spans of a text are hidden, the model writes them.

    Give it a text with sentinels in it (`the <extra_id_0> of the <extra_id_1>`) and it fills them: the answer is
    `{"text": str, "gaps": [str, …], "confidence": float}`. Asked `{"how_likely": text}` it hides spans of the text
    itself and answers `{"nll", "tokens", "characters"}`, which `perplexity` judges; the tokens are those of the spans,
    with the sentinels before them and the end.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "sequence", "answer": "likelihood"}
    pad: ClassVar[Mapping[str, float]] = {**likelihood.PAD, "decoder_input_ids": 0.0, "decoder_segments": 0.0}
    share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are hidden."""
    span: float = Field(default=3.0, ge=1)
    """Tokens in a span, on average."""
    most: int = Field(default=60, ge=1)
    """How many tokens it writes at most to fill the gaps of a text."""

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        text = likelihood.scored(x)
        return {self.columns().ask[0]: answer["text"] if text is None else text}

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        spans.Sentinels.of(processor)
        [ids] = processor.cut([self.material(row)])
        blocks = (np.array(ids[k : k + self.length], dtype=np.int64) for k in range(0, len(ids), self.length))
        return [self.block(block, np.ones_like(block), processor) for block in blocks if len(block)]

    def pack(self, rows: Any, processor: Any, folder: Path, key: Sequence[str], told: Any) -> Sequence[Example]:
        spans.Sentinels.of(processor)  # said before a corpus is cut
        return super().pack(rows, processor, folder, key, told)

    def block(self, ids: Any, segments: Any, processor: Any) -> Example:
        """Hidden as its own content says: always the same; `vary` hides anew."""
        return self._hide((ids, segments, spans.Sentinels.of(processor)), _own(ids))

    def _hide(self, block: tuple[Any, Any, spans.Sentinels], rng: np.random.Generator) -> Example:
        hidden = spans.hide(*block, self.share, self.span, rng)
        inputs = {
            "input_ids": hidden.read,
            "segments": hidden.segments,
            "decoder_input_ids": hidden.written,
            "decoder_segments": hidden.written_segments,
        }
        return Example(inputs, {"targets": hidden.targets}, count=float(len(hidden.targets)), note=block)

    def vary(self, example: Example, rng: np.random.Generator) -> Example:
        return self._hide(example.note, rng)

    def head(self) -> Head:
        return Head("sequence")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return likelihood.loss(outputs, batch)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The windows of a text that is scored, or the example that asks for the first token."""
        text = likelihood.scored(x)
        known = spans.Sentinels.of(processor)
        if text is None:
            return [pairs.after(self._gaps(x, processor, known), beam.Beginning((known.start,)))]
        [ids] = processor.cut([text])
        made = []
        for window in likelihood.windows(ids, self.length, 0):
            block = np.array(window or [known.end], dtype=np.int64)
            hidden = spans.hide(block, np.ones_like(block), known, self.share, self.span, _own(block))
            read = {"input_ids": hidden.read, "attention_mask": np.ones_like(hidden.read)}
            made.append(pairs.told(read, known.start, hidden.targets.tolist()))
        return made

    def _gaps(self, x: Any, processor: Any, known: spans.Sentinels) -> dict[str, Any]:
        if not isinstance(x, str):
            raise DataError(f"a text must be a string, not {type(x).__name__}")
        read = processor.inputs(x)
        if not spans.gaps(read["input_ids"], known):
            what = f"there is no gap to fill: put {processor.token(known.ids[0])} where the first one is"
            raise DataError(what, do=f'or ask how likely the text is: {{"{likelihood.SCORE}": "…"}}')
        return {"input_ids": read["input_ids"], "attention_mask": read["attention_mask"]}

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        return likelihood.likelihood(likelihood.scored(x) or "", examples, outputs)

    def answer(self, x: Any, processor: Any) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
        if likelihood.scored(x) is not None:
            return (yield from super().answer(x, processor))
        known = spans.Sentinels.of(processor)
        inputs = self._gaps(x, processor, known)
        asked = beam.Request(x, 1, self.most, 0.0)
        written = yield from beam.search(lambda one: pairs.after(inputs, one), known.start, known.end, asked)
        whole, parts = spans.filled(inputs["input_ids"], written.ids[1:], known)
        told = [processor.text(parts.get(token, [])).strip() for token in spans.gaps(inputs["input_ids"], known)]
        return {"text": processor.text(whole), "gaps": told, "confidence": written.confidence}

    def sample(self, n: int) -> list[dict[str, Any]]:
        return [{self.text or "text": masking.SAMPLE[k % len(masking.SAMPLE)]} for k in range(n)]

    def distance(self, a: Answer, b: Answer) -> float:
        if "text" in a and "text" in b:
            return max(distance(a["text"], b["text"]), abs(float(a["confidence"]) - float(b["confidence"])))
        return likelihood.distance(a, b) if "nll" in a and "nll" in b else 1.0

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, str) and likelihood.scored(value) is None:
            raise DataError(f'an input is a text with gaps, or {{"{likelihood.SCORE}": text}}')
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, likelihood.ASKED]}

    def answer_schema(self) -> dict[str, Any]:
        return {"anyOf": [_FILLED, likelihood.SCHEMA]}


_FILLED = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "gaps": {"type": "array", "items": {"type": "string"}},
        "confidence": {"type": "number"},
    },
    "required": ["text", "gaps", "confidence"],
}


def _own(ids: Any) -> np.random.Generator:
    """Chance that follows from a block's content."""
    return np.random.default_rng(zlib.crc32(ids.tobytes()))
