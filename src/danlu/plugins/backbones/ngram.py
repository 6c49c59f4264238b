"""N-grams with modified Kneser–Ney smoothing: the next token by what was counted (Chen and Goodman, 1998)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.kneser_ney import KneserNey
from danlu.blocks.special_tokens import BERT
from danlu.blocks.taught import SelfTaught
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Backbone, Batch, Head, Tokenizer, slot
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

_FILE = "ngram.json"
_PLACES = 256
"""Places whose distributions are made at a time; each takes 4 bytes × tokens."""


class Ngram(Backbone):
    """What a small language model must beat: it counts for seconds, and reads a few tokens back.

    The same `tokenizer` as another model's makes their perplexities comparable.
    """

    main: ClassVar[str] = "order"
    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("next",)}
    processor_class: ClassVar[type[Any]] = TextProcessor

    order: int = Field(default=3, ge=1, le=5)
    """How many tokens an n-gram has at most: 3 looks two tokens back."""
    tokenizer: Tokenizer = slot("wordpiece")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""
    positions: int = Field(default=512, ge=8)
    """How many tokens it can take; longer texts are cut."""

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        found: TextProcessor = self.tokenizer.learn(inputs, BERT, self.positions)  # type: ignore[assignment]
        return found

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """With the room for what `save` noted in the folder, else for nothing counted yet."""
        grams = [0] * (self.order - 1)
        if folder is not None and (folder / _FILE).is_file():
            try:
                grams = [int(n) for n in json.loads((folder / _FILE).read_bytes())["grams"]]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"can't be read: {error}", where=str(folder / _FILE)) from error
        return _Ngram(processor.size, grams)

    def save(self, folder: Path, module: nn.Module, processor: TextProcessor) -> None:
        assert isinstance(module, _Ngram)
        write_atomic(folder / _FILE, json.dumps({"grams": [len(keys) for keys in module.model().keys]}) + "\n")
        processor.save(folder)


class _Ngram(SelfTaught):
    """Token ids to the logarithm of every token's probability at the next place; see `KneserNey` for the buffers."""

    whole_set = True

    def __init__(self, tokens: int, grams: list[int]) -> None:
        """`grams` are how many there are of order 2, 3 and so on."""
        super().__init__()
        self.tokens, self.order = tokens, len(grams) + 1
        self.register_buffer("unigrams", torch.full((tokens,), 1 / tokens))
        for n, (contexts, number) in enumerate(zip([tokens + 1, *grams], grams, strict=False), 2):
            self.register_buffer(f"keys{n}", torch.zeros(number, dtype=torch.int64))
            self.register_buffer(f"shares{n}", torch.zeros(number))
            self.register_buffer(f"rests{n}", torch.ones(contexts))

    def model(self) -> KneserNey:
        """What was counted, sharing the buffers' memory."""

        def all_of(name: str) -> tuple[Any, ...]:
            return tuple(self.get_buffer(f"{name}{n}").cpu().numpy() for n in range(2, self.order + 1))

        unigrams = self.get_buffer("unigrams").cpu().numpy()
        return KneserNey(self.tokens, unigrams, all_of("keys"), all_of("shares"), all_of("rests"))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        segments: Tensor | None = None,
        at: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`input_ids` [n, length] to `logits` [n, length, tokens], or [n, k, tokens] for the places `at` [n, k].

        Asked how likely `tokens` [n, k] are there, it gives `log_likelihood` [n, k] alone. Texts end where
        `attention_mask` or `segments` are 0 and where `segments` change; nothing is looked at beyond.
        """
        length, model = input_ids.shape[1], self.model()
        places = torch.arange(length).expand(len(input_ids), -1) if at is None else at.cpu()
        asked = (places + length * torch.arange(len(input_ids))[:, None]).reshape(-1).numpy()
        ids, begins, _ = _flat(input_ids, attention_mask, segments)
        contexts = model.contexts(ids, begins)
        if tokens is not None:
            likely = model.probabilities(tokens.cpu().numpy().reshape(-1), [ending[asked] for ending in contexts])
            return {"log_likelihood": torch.from_numpy(np.log(likely)).view(tokens.shape).to(input_ids.device)}
        parts = np.split(asked, range(_PLACES, len(asked), _PLACES))
        said = np.concatenate([np.log(model.distributions(contexts, part)) for part in parts])
        return {"logits": torch.from_numpy(said).view(*places.shape, self.tokens).to(input_ids.device)}

    def update(self, batch: Batch) -> Tensor:
        """Count all texts; the loss is that of the tokens which have one before them in their text."""
        input_ids, more = batch.inputs["input_ids"], (batch.inputs.get(name) for name in ("attention_mask", "segments"))
        ids, begins, there = _flat(input_ids, *more)
        ids, begins = ids[there], begins[there]
        model = KneserNey.learn(ids, begins, self.tokens, self.order)
        self.unigrams = torch.from_numpy(model.unigrams)
        for n, found in enumerate(zip(model.keys, model.shares, model.rests, strict=True), 2):
            for name, array in zip(("keys", "shares", "rests"), found, strict=True):
                setattr(self, f"{name}{n}", torch.from_numpy(array))
        lost = np.zeros(len(there), dtype=np.float32)
        lost[there] = np.where(begins, 0, -np.log(model.probabilities(ids, model.before(ids, begins))))
        return torch.from_numpy(lost).view(input_ids.shape).sum(1).to(input_ids.device)


def _flat(input_ids: Tensor, attention_mask: Tensor | None, segments: Tensor | None) -> tuple[Any, Any, Any]:
    """All texts one after another; whether one begins at each place; and whether there is a token at all."""
    begins = torch.zeros_like(input_ids, dtype=torch.bool)
    there = torch.ones_like(begins)
    begins[:, 0] = True
    for given in (attention_mask, segments):
        if given is not None:
            there &= given != 0
            begins[:, 1:] |= given[:, 1:] != given[:, :-1]
    ids, starts, kept = (found.cpu().numpy().reshape(-1) for found in (input_ids, begins, there))
    return ids, starts, kept
