"""Texts written into a pattern (`… It was [MASK].`): what stands before and after them, in ids, and models told so.

The rows of a batch are padded at their ends, so what comes after a text is written into each row where its text ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.contracts import Arrays, Settings
from danlu.core.errors import RecipeError

TEXT = "{text}"


class Pattern(Settings):
    """A pattern in the ids of one tokenizer."""

    lead: int
    """Special tokens before a text."""
    drop: int
    """Special tokens after a text that make place for what comes after it."""
    before: tuple[int, ...] = ()
    """What stands between the first special tokens and the text."""
    tails: tuple[tuple[int, ...], ...]
    """What stands after the text, one for each pass of the model."""
    types: tuple[int, ...] = ()
    """The token type of each tail, where a model wants them."""


def framed(processor: Any) -> tuple[int, tuple[int, ...]]:
    """How many special tokens stand before a text, and those that stand after it."""
    whole, own = processor.inputs("a")["input_ids"].tolist(), processor.ids("a")
    lead = next(k for k in range(len(whole)) if whole[k : k + len(own)] == own)
    return lead, tuple(whole[lead + len(own) :])


def halves(pattern: str, holes: Sequence[str], where: str) -> tuple[str, str]:
    """What stands before and after the text. Raises RecipeError unless the text and every hole are there once."""
    for hole in (TEXT, *holes):
        if pattern.count(hole) != 1:
            what = f"the pattern {pattern!r} must hold {hole} once"
            raise RecipeError(what, where=where, do=f"{where}='{TEXT} It was {''.join(holes)}.'")
    before, _, after = pattern.partition(TEXT)
    return before, after


def check(pattern: str, holes: Sequence[str]) -> None:
    """Raise ValueError, for a validator, unless the holes are there once each."""
    for hole in holes:
        if pattern.count(hole) != 1:
            raise ValueError(f"the pattern {pattern!r} must hold {hole} once")


class Written(NamedTuple):
    """A batch of texts in their pattern, and where in each row the tail begins [n, 1]."""

    inputs: dict[str, Tensor]
    tail: Tensor


def write(pattern: Pattern, which: int, most: int, ids: Tensor, mask: Tensor, types: Tensor | None) -> Written:
    """The texts with one of the tails. A text that leaves no room among `most` positions loses its last tokens."""
    tail, before = (ids.new_tensor(p).expand(ids.shape[0], -1) for p in (pattern.tails[which], pattern.before))
    room = most - before.shape[1] - tail.shape[1] + pattern.drop
    ids, mask = ids[:, :room], mask[:, :room]
    real = mask.sum(1, keepdim=True)
    start = real - pattern.drop + before.shape[1]
    places = start + torch.arange(tail.shape[1], device=ids.device)
    whole = torch.cat([ids[:, : pattern.lead], before, ids[:, pattern.lead :], torch.zeros_like(tail)], 1)[:, :most]
    known = torch.arange(whole.shape[1], device=ids.device) < start + tail.shape[1]
    inputs = {"input_ids": whole.scatter(1, places, tail), "attention_mask": known.to(mask.dtype)}
    if types is not None or pattern.types:
        own = torch.zeros_like(ids) if types is None else types[:, :room]
        last = own.gather(1, real - 1) if not pattern.types else torch.full_like(real, pattern.types[which])
        wide = torch.cat([own[:, : pattern.lead], torch.zeros_like(before), own[:, pattern.lead :], tail * 0], 1)
        wide = wide[:, :most]
        inputs["token_type_ids"] = wide.scatter(1, places, last.expand_as(tail))
    return Written(inputs, start)


class Patterned(nn.Module):
    """A model that reads texts in a pattern. Derive from it and write `forward`, which gives `logits` [n, labels]."""

    def __init__(self, model: Any, pattern: Pattern) -> None:
        super().__init__()
        self.model, self.config, self.pattern = model, model.config, pattern
        self.most = _positions(model.config)
        longest = len(pattern.before) + max(map(len, pattern.tails))
        if longest + 2 > self.most:
            what = f"the pattern has {longest} tokens and leaves no room for a text among {self.most} positions"
            raise RecipeError(what, where="method.pattern", do="a shorter pattern")

    def get_input_embeddings(self) -> nn.Module:
        """Where ids become vectors."""
        found: nn.Module = self.model.get_input_embeddings()
        return found

    def written(self, which: int, ids: Tensor, mask: Tensor, types: Tensor | None) -> Written:
        """The texts with one of the tails."""
        return write(self.pattern, which, self.most, ids, mask, types)


def _positions(config: Any) -> int:
    most: int = getattr(config, "max_position_embeddings", None) or 2**31
    return most - 2 if config.model_type in ("roberta", "xlm-roberta", "camembert") else most


class Gaps(Patterned):
    """A masked language model that says which label's words fit the gap best: the mean of their scores."""

    def __init__(self, model: Any, pattern: Pattern, hole: int, words: Sequence[Sequence[int]]) -> None:
        super().__init__(model, pattern)
        self.hole, self.words = hole, [list(some) for some in words]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Arrays:
        """`logits` [n, labels]. `hole` counts from where the tail begins; below 0, from the end of what is before."""
        inputs, tail = self.written(0, input_ids, attention_mask, token_type_ids)
        before = self.pattern.lead + len(self.pattern.before)
        at = tail + self.hole if self.hole >= 0 else torch.full_like(tail, before + self.hole)
        said, flat = self.model(**inputs, at=at), [word for some in self.words for word in some]
        if "logits" in said:
            scores = said["logits"][:, 0, flat]
        else:  # in training the scores of the whole vocabulary are not made
            bias = said["bias"][flat] if "bias" in said else None
            scores = functional.linear(said["hidden"][:, 0], said["table"][flat], bias)
        parts = scores.float().split([len(some) for some in self.words], 1)
        return {"logits": torch.stack([part.mean(1) for part in parts], 1)}


class Likelihoods(Patterned):
    """A language model that says how likely the words of each label are after a text: the mean log p of their tokens.

    `labels` says of each tail which label it stands for, `sizes` how many of its last tokens are the label's words.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, model: Any, pattern: Pattern, labels: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__(model, pattern)
        self.labels, self.sizes = labels, sizes
        self.register_buffer("offset", torch.zeros(max(labels) + 1))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Arrays:
        """`logits` [n, labels]: of each label the mean over its tails, less its `offset`, times `scale`."""
        said = []
        for which, size in enumerate(self.sizes):
            inputs, start = self.written(which, input_ids, attention_mask, token_type_ids)
            tail = self.pattern.tails[which]
            at = start + (len(tail) - size - 1) + torch.arange(size, device=input_ids.device)
            tokens = input_ids.new_tensor(tail[-size:]).expand(input_ids.shape[0], -1)
            said.append(self.model(**inputs, at=at, tokens=tokens)["log_likelihood"].float().mean(1))
        return {"logits": self.scale * (_by_label(said, self.labels) - self.offset)}


class Entailments(Patterned):
    """A model of pairs of texts that says whether a sentence for each label follows from a text: its log p."""

    scale: Tensor

    def __init__(self, model: Any, pattern: Pattern, labels: Sequence[int], place: int) -> None:
        super().__init__(model, pattern)
        self.labels, self.place = labels, place
        self.register_buffer("scale", torch.ones(()))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Arrays:
        """`logits` [n, labels]: of each label the mean over its sentences, times `scale`."""
        said = []
        for which in range(len(self.labels)):
            inputs, _ = self.written(which, input_ids, attention_mask, token_type_ids)
            said.append(self.model(**inputs)["logits"].float().log_softmax(-1)[:, self.place])
        return {"logits": self.scale * _by_label(said, self.labels)}


def _by_label(said: Sequence[Tensor], labels: Sequence[int]) -> Tensor:
    """The mean of what was said [n] of each label's tails: [n, labels]."""
    groups = [[one for one, label in zip(said, labels, strict=True) if label == k] for k in range(max(labels) + 1)]
    return torch.stack([torch.stack(group).mean(0) for group in groups], 1)
