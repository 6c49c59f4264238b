"""Language models that compute what was asked for and nothing else.

A vocabulary has thousands of entries, so the last product of a language model costs more memory than all the others.
Here it is done at the positions that were asked (`at`), and while training it is left to the loss, which does it in
chunks: `nll` never holds the scores of all positions at once.

The module stays the library's own class, with its own names of weights: plain transformers loads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.lora_pass import Frozen
from danlu.blocks.tensors import width
from danlu.contracts import Arrays

_SCORES, _AT_ONCE = 1 << 21, 4
"""Scores held at once by `nll`, 8 MB of float32, and how many times as many of their gradients in the narrower type."""
_STEP = 32
"""Rows are computed in multiples of so many."""
_BENT = ("final_logit_softcapping", "logits_scaling", "logit_scale", "logits_soft_cap")
"""Settings of models whose scores are more than one product with the table of the vocabulary."""
IGNORED = -100
"""The target of a position that has none."""


@dataclass
class Wanted:
    """What one pass is asked for, and what it leaves for the loss."""

    at: Tensor | None
    hidden: Tensor | None = None
    withhold: bool = False

    @classmethod
    def of(cls, model: nn.Module, at: Tensor | None, tokens: Tensor | None) -> Self:
        """What `Asked.forward` is asked for; an export has no loss, so nothing is withheld from its head."""
        exported = torch.compiler.is_exporting()
        return cls(at, withhold=not exported and (model.training or at is None or tokens is not None))


_WANTED: ContextVar[Wanted | None] = ContextVar("wanted", default=None)


def ask_where(module: nn.Module, *, causal: bool) -> nn.Module:
    """Turn a language model of transformers into one whose `forward` is `Asked.forward`; the weights stay.

    `causal` says that a position attends to the ones before it alone.
    """
    model: Any = module
    become(model, Asked, model.base_model)
    model.causal = causal
    return module


def become(model: Any, asked: type[nn.Module], body: nn.Module) -> None:
    """Put the class `asked` before a model's own, and have what `body` gives kept where it is asked for."""
    kind = type(model)
    if not isinstance(model, asked):
        model.__class__ = type(kind.__name__, (asked, kind), {"__module__": kind.__module__})
    body.register_forward_hook(_narrow)
    table: Any = model.get_output_embeddings()
    plain = not any(getattr(model.config, name, None) not in (None, 1, 1.0) for name in _BENT)
    if plain and type(table) is nn.Linear:
        replaced: Any = table
        replaced.__class__, replaced.frozen = _Table, Frozen()
    model.config.use_cache = False


def _narrow(_: nn.Module, __: Any, output: Any) -> Any:
    """Keep the positions that were asked for, before anything of the head is computed."""
    wanted = _WANTED.get()
    if wanted is None or wanted.at is None:
        return output
    hidden = output[0]
    output.last_hidden_state = hidden.gather(1, wanted.at.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
    return output


class _Table(nn.Linear):
    """The table of the vocabulary; where the product with it is withheld it notes what would be multiplied."""

    frozen: Frozen

    def forward(self, x: Tensor) -> Tensor:
        wanted = _WANTED.get()
        if wanted is None or not wanted.withhold:
            return super().forward(x)
        wanted.hidden = x
        return x.new_zeros((*x.shape[:-2], 0, self.out_features))

    def narrow(self, x: Tensor) -> Tensor:
        """The weights to multiply x with; where they are not trained in the type that products are made in."""
        return self.weight if self.weight.requires_grad else self.frozen.narrow(self.weight, width(x))


@contextmanager
def wanting(wanted: Wanted) -> Iterator[None]:
    token = _WANTED.set(wanted)
    try:
        yield
    finally:
        _WANTED.reset(token)


class Asked(nn.Module):
    """A language model that is told where its word is wanted."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        segments: Tensor | None = None,
        at: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Arrays:
        """What the model says at the positions `at`, [n, k]; at all of them, [n, length], where none are named.

        `segments` [n, length] numbers the documents that lie in a block one after another, from 1; 0 is padding. No
        position attends to another document, and each document's positions count from 0.

        Answering, the outputs are `logits` [n, k, vocabulary], or where `tokens` [n, k] asks how likely those are,
        `log_likelihood` [n, k]. In training mode, and where no position is named, they are `hidden` [n, k, width],
        `table` [vocabulary, width] and, where there is one, `bias` [vocabulary], whose product `nll` makes in chunks.
        A model that tells whether a text follows another gives `follows` [n, 2] besides: it does, it does not.
        """
        model: Any = self
        wanted = Wanted.of(model, at, tokens)
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        if segments is not None:
            given |= _apart(model, segments)
        with wanting(wanted):
            outputs = super().forward(input_ids=input_ids, **{k: v for k, v in given.items() if v is not None})
        if "prediction_logits" not in outputs:
            return said(model, outputs["logits"], wanted, tokens)
        told = said(model, outputs["prediction_logits"], wanted, tokens)
        return {**told, "follows": outputs["seq_relationship_logits"]}

    def go_on(self, input_ids: Tensor, position_ids: Tensor, seen: Tensor, at: Tensor, cache: Any) -> Tensor:
        """The scores [n, k, vocabulary] at the places `at` [n, k] of new tokens, which `cache` takes in.

        `seen` [n, 1, new, old + new] says which tokens each new one attends to.
        """
        mask = torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, torch.finfo(torch.float32).min)
        given = {"position_ids": position_ids, "attention_mask": mask, "past_key_values": cache}
        with wanting(Wanted(at)):
            scores: Tensor = super().forward(input_ids=input_ids, use_cache=True, **given)["logits"]
        return scores


def said(model: Any, logits: Tensor, wanted: Wanted, tokens: Tensor | None) -> Arrays:
    """The outputs of a pass, see `Asked.forward`."""
    told: dict[str, Tensor] = {"logits": logits}
    if wanted.hidden is not None:
        table = model.get_output_embeddings()
        bias = {} if table.bias is None else {"bias": table.bias}
        told = {"hidden": wanted.hidden, "table": table.narrow(wanted.hidden), **bias}
    if tokens is None or model.training:
        return told
    if torch.compiler.is_exporting():
        return {"log_likelihood": logits.log_softmax(-1).gather(2, tokens.unsqueeze(-1)).squeeze(-1)}
    return {"log_likelihood": -nll(told, tokens)}


def _apart(model: Any, segments: Tensor) -> dict[str, Tensor]:
    """The mask and the positions of blocks that hold several documents; nothing where each holds one, unpadded."""
    if bool((segments == 1).all()):
        return {}
    length = segments.shape[1]
    same = (segments.unsqueeze(1) == segments.unsqueeze(2)) & (segments > 0).unsqueeze(1)
    if model.causal:
        same = same & torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    same = (same | torch.eye(length, dtype=torch.bool, device=segments.device)).unsqueeze(1)
    if model.config._attn_implementation != "sdpa":  # the others add the mask to the scores
        same = torch.zeros(same.shape, device=segments.device).masked_fill_(~same, torch.finfo(torch.float32).min)
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    place = torch.arange(length, device=segments.device).expand_as(segments)
    start = torch.where(begins, place, 0).cummax(1).values
    return {"attention_mask": same, "position_ids": place - start + first_position(model)}


def first_position(model: Any) -> int:
    """RoBERTa's positions begin behind the one that stands for padding."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


# ---- the loss --------------------------------------------------------------------------------------------------------


def nll(outputs: Arrays, targets: Tensor, *, smoothing: float = 0.0, z: float = 0.0) -> Tensor:
    """−log p of each target, [n, k]; 0 where the target is `IGNORED`.

    `smoothing` mixes in the mean over the vocabulary (Szegedy et al., 2016), `z` adds z · log² of the sum of all
    exponents (Chowdhery et al., 2022), which keeps scores from drifting.
    """
    flat = targets.flatten()
    if "logits" in outputs:
        said = _said(outputs["logits"].flatten(0, 1).float(), flat, smoothing, z)
    else:
        hidden, table = outputs["hidden"].flatten(0, 1), outputs["table"]
        how = _How(width(hidden), smoothing, z)
        said = _Chunked.apply(hidden, table, outputs.get("bias"), flat, how)  # type: ignore[no-untyped-call]
    return said.view(targets.shape)


@dataclass(frozen=True)
class _How:
    narrow: torch.dtype
    smoothing: float
    z: float


def _said(scores: Tensor, targets: Tensor, smoothing: float, z: float) -> Tensor:
    """The loss of each row of scores, [rows]."""
    norm = scores.logsumexp(-1)
    return torch.where(targets == IGNORED, 0.0, _told(scores, targets.clamp(min=0), norm, smoothing, z))


def _told(scores: Tensor, targets: Tensor, norm: Tensor, smoothing: float, z: float) -> Tensor:
    said = norm - (1 - smoothing) * scores.gather(1, targets.unsqueeze(1)).squeeze(1)
    if smoothing:
        said = said - smoothing * scores.mean(-1)
    if z:
        said = said + z * norm.square()
    return said


class _Chunked(torch.autograd.Function):
    """The loss and its gradients in one pass over the scores, a chunk of positions at a time.

    The gradient of a position's loss with respect to its scores is p − y, known as soon as the scores are. So the
    gradients of `hidden` and of the table are made while a chunk's scores are there, and scaled when the backward pass
    says by how much (as in Liger Kernel; Hsu et al., 2024). The table's is right where all positions are scaled alike,
    as in a plain sum; where they are not, it is computed once more.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, how: _How) -> Tensor:
        grads = _Gradients(hidden, table, bias, *ctx.needs_input_grad[:3])
        said = _pass(hidden, table, bias, targets, how, grads)
        ctx.save_for_backward(hidden, table, bias, targets, grads.of_hidden, grads.of_table, grads.of_bias)
        ctx.how = how
        return said

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        hidden, table, bias, targets, of_hidden, of_table, of_bias = ctx.saved_tensors
        if of_hidden is not None:
            of_hidden = of_hidden * scale.unsqueeze(1).to(of_hidden.dtype)
        counted = scale[targets != IGNORED]
        first = counted[0] if len(counted) else scale.new_zeros(())
        if bool((counted == first).all()):
            of_table, of_bias = (None if t is None else t * first for t in (of_table, of_bias))
        else:
            again = _Gradients(hidden, table, bias, False, of_table is not None, of_bias is not None)
            _pass(hidden, table, bias, targets, ctx.how, again, scale)
            of_table, of_bias = again.of_table, again.of_bias
        return of_hidden, of_table, of_bias, None, None


class _Gradients:
    """What is added up over the chunks; None where nobody wants it."""

    def __init__(self, hidden: Tensor, table: Tensor, bias: Tensor | None, *wanted: bool) -> None:
        self.of_hidden = torch.zeros_like(hidden) if wanted[0] else None
        self.of_table = torch.zeros_like(table) if wanted[1] else None
        self.of_bias = torch.zeros_like(bias) if bias is not None and wanted[2] else None
        self.any = any(wanted)

    def add(self, places: Tensor, given: Tensor, changes: Tensor, narrow: Tensor) -> None:
        """Take in what the scores of some places should change by, [rows, vocabulary]."""
        if self.of_hidden is not None:
            self.of_hidden[places] = (changes @ narrow)[: len(places)].to(self.of_hidden.dtype)
        if self.of_table is not None:
            self.of_table += changes.T @ given


def _pass(
    hidden: Tensor,
    table: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    how: _How,
    grads: _Gradients,
    scale: Tensor | None = None,
) -> Tensor:
    """The loss of every position [rows], and the gradients of their sum, each position times its `scale`.

    Positions without a target cost nothing. Scores are held a few at a time. Of their gradients, in the narrower type,
    four times as many are held where the table learns: its gradient is as large as it is, and best added to seldom.
    """
    said = torch.zeros(targets.shape, device=hidden.device)
    narrow, asked = table.to(how.narrow), (targets != IGNORED).nonzero().squeeze(1)
    few = _few(len(table))
    group = few if grads.of_table is None else _AT_ONCE * few
    held = table.new_empty((group, len(table)), dtype=how.narrow) if grads.any else None
    for places in torch.split(asked, group):
        rows = _filled_up(places, few)
        given, changes = hidden[rows].to(how.narrow), held[: len(rows)] if held is not None else None
        for start in range(0, len(rows), few):
            here = slice(start, min(start + few, len(rows)))
            scores = functional.linear(given[here], narrow).float()
            if bias is not None:
                scores += bias
            told, norm, share = _at_once(scores, targets[rows[here]], how)
            del scores  # before the next are made
            said[places[here]] = told[: max(0, len(places) - start)]
            if changes is None:
                continue
            change = _slope(share, norm, targets[rows[here]], how)
            if scale is not None:
                change *= scale[rows[here]].unsqueeze(1)
            change[max(0, len(places) - start) :] = 0
            if grads.of_bias is not None:
                grads.of_bias += change.sum(0)
            changes[here] = change
        if changes is not None:
            grads.add(places, given, changes, narrow)
    return said


def _few(vocabulary: int) -> int:
    """Rows of scores that are held at once."""
    few = _SCORES // vocabulary
    return few // _STEP * _STEP or max(1, few)


def _filled_up(places: Tensor, few: int) -> Tensor:
    """Some places more than once, so that their number is one of few: oneDNN builds and keeps a kernel for each."""
    step = min(_STEP, few)
    more = -len(places) % step
    return torch.cat([places, places[:1].expand(more)])


def _at_once(scores: Tensor, targets: Tensor, how: _How) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each row of scores, the logarithm of the sum of its exponents, and its softmax.

    The logarithm follows from the largest share, which is never small: torch's own `logsumexp` takes five times as
    long as its softmax.
    """
    share = scores.softmax(-1)
    norm = scores.amax(-1) - share.amax(-1).log()
    return _told(scores, targets, norm, how.smoothing, how.z), norm, share


def _slope(share: Tensor, norm: Tensor, targets: Tensor, how: _How) -> Tensor:
    """The gradient of each position's loss with respect to its scores, written over their softmax."""
    if how.z:
        share *= (1 + 2 * how.z * norm).unsqueeze(1)
    if how.smoothing:
        share -= how.smoothing / share.shape[1]
    share[torch.arange(len(targets), device=targets.device), targets] -= 1 - how.smoothing
    return share
