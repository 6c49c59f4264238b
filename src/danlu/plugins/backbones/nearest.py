"""The classic baseline for texts from texts: what was written from the training text that is most alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.special_tokens import T5
from danlu.blocks.taught import SelfTaught
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Backbone, Batch, Head, Tokenizer, slot
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

_FILE = "nearest.json"
_SURE = 0.999


class Nearest(Backbone):
    """A translation memory: it learns nothing but the rows, and a translator must say by how much it beats that.

    Texts are compared by the cosine of their tokens, weighed by how rare they are (TF-IDF). Its confidence is between
    0.5, nothing in common, and 1, the same tokens.
    """

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("sequence",),
        "answer": ("text",),
    }
    processor_class: ClassVar[type[Any]] = TextProcessor

    tokenizer: Tokenizer = slot("bpe")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""
    positions: int = Field(default=512, ge=8)
    """How many tokens it can take; longer texts are cut."""

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        found: TextProcessor = self.tokenizer.learn(inputs, T5, self.positions)  # type: ignore[assignment]
        return found

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """With the room for what `save` noted in the folder, else for nothing learnt yet."""
        sizes = [0, 0, 0]
        if folder is not None and (folder / _FILE).is_file():
            try:
                sizes = [int(n) for n in json.loads((folder / _FILE).read_bytes())["sizes"]]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"can't be read: {error}", where=str(folder / _FILE)) from error
        return _Nearest(processor.size, *sizes)

    def save(self, folder: Path, module: nn.Module, processor: TextProcessor) -> None:
        assert isinstance(module, _Nearest)
        sizes = [len(module.begins) - 1, len(module.features), len(module.written)]
        write_atomic(folder / _FILE, json.dumps({"sizes": sizes}) + "\n")
        processor.save(folder)


class _Nearest(SelfTaught):
    """Rows of TF-IDF weights (`begins`, `features`, `weights`, as a CSR matrix has them) and the ids written from each
    (`starts`, `written`)."""

    whole_set = True
    idf: Tensor
    begins: Tensor
    features: Tensor
    weights: Tensor
    starts: Tensor
    written: Tensor

    def __init__(self, tokens: int, texts: int, features: int, written: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.register_buffer("idf", torch.ones(tokens))
        self.register_buffer("weights", torch.zeros(features))
        for name, size in (
            ("begins", texts + 1), ("features", features), ("starts", texts + 1), ("written", written),
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(size, dtype=torch.int64))

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        at: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `blocks.encoder_decoder.AskedPair`, but that it always gives `logits` [n, k, tokens]; what it says at a
        place depends on the text that is read, and on the place, alone."""
        places = torch.arange(decoder_input_ids.shape[1]).expand(len(input_ids), -1) if at is None else at
        scores = torch.zeros(*places.shape, self.tokens)
        if len(self.begins) > 1:
            likeness, best = self._compare(input_ids, attention_mask)
            first, last = self.starts[best, None], self.starts[best + 1, None] - 1
            chosen = self.written[(first + places).minimum(last)]
            share = (0.5 + likeness.clamp(0, 1) / 2).clamp(max=_SURE)[:, None, None].expand(*places.shape, 1)
            scores = ((1 - share) / (self.tokens - 1)).log().expand_as(scores).clone()
            scores.scatter_(2, chosen.unsqueeze(-1), share.log())
        if tokens is None:
            return {"logits": scores}
        return {"log_likelihood": scores.log_softmax(-1).gather(2, tokens.unsqueeze(-1)).squeeze(-1)}

    def _compare(self, input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The cosine with the nearest text, and which one it is, both [n]."""
        asked = self._weighed(input_ids, attention_mask)
        size = (len(self.begins) - 1, self.tokens)
        rows = torch.repeat_interleave(self.begins.diff())
        known = torch.sparse_coo_tensor(torch.stack([rows, self.features]), self.weights, size, check_invariants=False)
        found: tuple[Tensor, Tensor] = (known @ asked.T).max(0)
        return found

    def _weighed(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """The weights of every token, [n, tokens]."""
        there = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        asked = torch.zeros(len(input_ids), self.tokens)
        for row, (ids, real) in enumerate(zip(input_ids, there, strict=True)):
            features, weights = _sparse(ids[real > 0], self.idf)
            asked[row, features] = weights
        return asked

    def update(self, batch: Batch) -> Tensor:
        """Keep all texts; the loss is that of texts which find themselves."""
        ids, there, targets = batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.targets["targets"]
        found = torch.zeros(self.tokens)
        for row, real in zip(ids, there, strict=True):
            found[row[real > 0].unique()] += 1
        self.idf = ((1 + len(ids)) / (1 + found)).log() + 1
        parts = [_sparse(row[real > 0], self.idf) for row, real in zip(ids, there, strict=True)]
        said = [row[row >= 0] for row in targets]
        self.features, self.weights = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
        self.written = torch.cat(said)
        for name, some in (("begins", [part[0] for part in parts]), ("starts", said)):
            setattr(self, name, torch.tensor([0, *map(len, some)]).cumsum(0))
        lost: Tensor = -torch.log(torch.tensor(_SURE)) * batch.count
        return lost


def _sparse(ids: Tensor, idf: Tensor) -> tuple[Tensor, Tensor]:
    """The different ids of a text and their weights, (1 + ln count) × idf, of length 1 as a whole."""
    features, counts = torch.unique(ids, return_counts=True)
    return features, nn.functional.normalize((counts.log() + 1) * idf[features], dim=0)
