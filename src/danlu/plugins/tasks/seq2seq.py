"""Write another text from a text: translation, summaries (Sutskever et al., 2014)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from danlu.blocks import beam, likelihood, pairs
from danlu.blocks.text_distance import distance
from danlu.contracts import Answer, Arrays, Batch, Columns, Delta, Example, Head, Task
from danlu.core.errors import DataError
from danlu.values import CUT

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_SAMPLE = (
    ("a grey cat sits", "eine graue Katze sitzt"),
    ("two red boats leave", "zwei rote Boote fahren"),
    ("she wrote letters", "sie schrieb Briefe"),
    ("seven birds sing very loudly", "sieben Vögel singen sehr laut"),
)
"""Pairs that share no word, so that each can be told from the others; of several lengths, as an export needs them."""


class Seq2seq(Task):
    """Translation, summarisation: each row holds a text, and the text that is to be written from it.

    An answer is `{"text": str, "confidence": float, "tokens": int, "ended": bool}`; the confidence is the mean
    probability (geometric) of a token of the answer, its end included. An input is a text, or `{"text", "beams",
    "most", "length_penalty"}`. Asked `{"how_likely": target, "source": text}` it answers `{"nll", "tokens",
    "characters"}`.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "sequence", "answer": "text"}
    pad: ClassVar[Mapping[str, float]] = {**likelihood.PAD, "decoder_input_ids": 0.0}

    source: str | None = None
    """The column of the texts that are read; found by its name when left open."""
    target: str | None = None
    """The column of the texts that are to be written."""
    prefix: str = ""
    """What is put before every text that is read, such as `translate English to German: `."""
    longest: int = Field(default=128, ge=4)
    """Longer texts, read or written, are cut to this many tokens in training; how many were is told."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the certainty that is spread over the whole vocabulary while training; 0.1 is common."""
    beams: int = Field(default=4, ge=1, le=16)
    """How many beginnings are kept while it writes; 1: each token is the likeliest, and the text comes in pieces."""
    length_penalty: float = Field(default=0.6, ge=0, le=5)
    """Greater values favour longer texts: log p is divided by ((5 + tokens) / 6) to this power (Wu et al., 2016)."""
    most: int = Field(default=128, ge=1)
    """How many tokens it writes at most, where a request does not say, and never more than 10 + 3 × those it read."""

    # ---- rows --------------------------------------------------------------------------------------------------------

    def columns(self) -> Columns:
        source, target = pairs.settled(self.source, self.target, self.name)
        return Columns((source,), (target,))

    def settle(self, rows: pa.Table) -> Self:
        source, target = pairs.find_columns(rows, self.name, self.source, self.target)
        return self.model_copy(update={"source": source, "target": target})

    def resolve(self, rows: pa.Table) -> Self:
        """Raises DataError where a text that is to be written is missing or empty."""
        settled = self.settle(rows)
        pairs.check_whole(rows, settled.columns().gold[0])
        return settled

    def ask(self, row: Mapping[str, Any]) -> Any:
        return row[self.columns().ask[0]]

    def material(self, row: Mapping[str, Any]) -> Any:
        """Both texts, since one tokenizer cuts them."""
        return f"{self.prefix}{self.ask(row)}\n{row[self.columns().gold[0]]}"

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        text = row.get(self.columns().gold[0])
        return None if text is None else {"text": text, "confidence": 1.0, "tokens": 0, "ended": True}

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        return {columns.ask[0]: x if isinstance(x, str) else x["text"], columns.gold[0]: answer["text"]}

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        written = row[self.columns().gold[0]]
        if not written or not written.strip():
            raise DataError("the text to be written is empty", do="operators: [drop_empty]")
        inputs, cut = self._read(self.ask(row), processor)
        ids = [*processor.ids(written), pairs.end(processor)]
        cut = cut or len(ids) > self.longest
        targets = np.array(ids[: self.longest], dtype=np.int64)
        inputs |= {"decoder_input_ids": np.array([pairs.start(processor), *targets[:-1]], dtype=np.int64)}
        return [Example(inputs, {"targets": targets}, count=float(len(targets)), note=CUT if cut else None)]

    def _read(self, text: str, processor: Any) -> tuple[dict[str, Any], bool]:
        """What the encoder is given, and whether it had to be cut."""
        whole = self.prefix + text
        found = processor.inputs(whole, self.longest)
        ids = found["input_ids"]
        most = min(self.longest, processor.most or self.longest)
        return {"input_ids": ids, "attention_mask": found["attention_mask"]}, (
            len(ids) == most and processor.length(whole) > most
        )

    def head(self) -> Head:
        return Head("sequence")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        return likelihood.loss(outputs, batch, self.label_smoothing)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The example that asks for the first token, or for how likely a text is."""
        scored = pairs.scored(x)
        if scored is None:
            inputs, _ = self._read(beam.Request.of(x, self).text, processor)
            return [pairs.after(inputs, beam.Beginning((pairs.start(processor),)))]
        inputs, _ = self._read(scored[0], processor)
        ids = [*processor.ids(scored[1]), pairs.end(processor)][: self.longest]
        return [pairs.told(inputs, pairs.start(processor), ids)]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        scored = pairs.scored(x)
        return likelihood.likelihood(scored[1] if scored else "", examples, outputs)

    def answer(self, x: Any, processor: Any) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
        if pairs.scored(x) is not None:
            return (yield from super().answer(x, processor))
        asked = beam.Request.of(x, self)
        inputs, _ = self._read(asked.text, processor)
        asked = replace(asked, most=min(asked.most, 10 + 3 * len(inputs["input_ids"])))
        start, end = pairs.start(processor), pairs.end(processor)
        return (yield from beam.write(lambda one: pairs.after(inputs, one), start, end, asked, processor.text))

    def sample(self, n: int) -> list[dict[str, Any]]:
        source, target = self.source or "source", self.target or "target"
        return [{source: _SAMPLE[k % len(_SAMPLE)][0], target: _SAMPLE[k % len(_SAMPLE)][1]} for k in range(n)]

    def distance(self, a: Answer, b: Answer) -> float:
        """Of two texts, how different they are, or how sure the model is of each, whichever is more."""
        if "text" in a and "text" in b:
            return max(distance(a["text"], b["text"]), abs(float(a["confidence"]) - float(b["confidence"])))
        return likelihood.distance(a, b) if "nll" in a and "nll" in b else 1.0

    def from_json(self, value: Any) -> Any:
        if pairs.scored(value) is None:
            beam.Request.of(value, self)
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, beam.SCHEMA, pairs.ASKED]}

    def answer_schema(self) -> dict[str, Any]:
        return {"anyOf": [beam.ANSWER, likelihood.SCHEMA]}
