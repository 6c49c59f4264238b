"""Virtual tokens: learnt vectors that a frozen model reads besides the tokens of a text."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.core.errors import RecipeError

_ATTENTION = "danlu"


class Prompt(nn.Module):
    """Vectors [tokens, width] that stand after the first token of every text; with `inner`, a network makes them.

    After the first, so that a classifier which reads the first token's output, or the last one's, reads the same place
    as before. A text that leaves no room for them among a model's positions loses its last tokens.
    """

    def __init__(self, tokens: int, width: int, inner: int, most: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(tokens, width).normal_(std=0.02))
        self.network = _network(width, inner) if inner else None
        self.most = most - tokens

    def forward(self) -> Tensor:
        """[tokens, width]"""
        return self.vectors if self.network is None else self.network(self.vectors)

    def before(self, body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """A hook on the model's body: the tokens' vectors with the virtual ones among them, in place of ids."""
        ids = (args[0] if args else kwargs.pop("input_ids"))[:, : self.most]
        words, own = body.get_input_embeddings()(ids), self()
        own = own.to(words.dtype).expand(len(ids), -1, -1)
        kwargs["inputs_embeds"] = torch.cat([words[:, :1], own, words[:, 1:]], 1)
        for name, filler in (("attention_mask", 1), ("token_type_ids", 0)):
            if (given := kwargs.get(name)) is not None:
                given = given[:, : self.most]
                added = torch.full((len(ids), own.shape[1]), filler, dtype=given.dtype, device=given.device)
                kwargs[name] = torch.cat([given[:, :1], added, given[:, 1:]], 1)
        kwargs.pop("input_ids", None)
        return (), kwargs

    def after(self, body: Any, args: Any, kwargs: Any, output: Any) -> Any:
        """A hook on the model's body: the outputs of the texts' own tokens alone."""
        hidden, tokens = output.last_hidden_state, len(self.vectors)
        if hidden.shape[1] > 1:  # the first token's alone are there where nothing else is read
            output.last_hidden_state = torch.cat([hidden[:, :1], hidden[:, 1 + tokens :]], 1)
        return output


def _network(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, inner), nn.ReLU(), nn.Linear(inner, width)
    )


def add_prompt(model: Any, tokens: int, inner: int, method: str) -> None:
    """Let the model read virtual tokens; changes it. Raises RecipeError for a model that reads no tokens."""
    body = getattr(model, "base_model", None)
    if body is None or body is model or not hasattr(body, "get_input_embeddings"):
        raise _no_place("has no table of tokens", method)
    most = getattr(model.config, "max_position_embeddings", None) or 2**31
    if tokens >= most - 1:
        what = f"{tokens} virtual tokens leave no room among the {most} positions of the model"
        raise RecipeError(what, where=f"method.{method}.tokens", do=f"method.{method}.tokens={most // 8}")
    body.prompt = prompt = Prompt(tokens, body.get_input_embeddings().embedding_dim, inner, most)
    body.register_forward_pre_hook(prompt.before, with_kwargs=True)
    body.register_forward_hook(prompt.after, with_kwargs=True)


class Prefix(nn.Module):
    """Keys and values [heads, tokens, size] which every token of a layer attends to besides the text's own."""

    def __init__(self, heads: int, tokens: int, size: int) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(heads, tokens, size).normal_(std=0.02))
        self.value = nn.Parameter(torch.empty(heads, tokens, size).normal_(std=0.02))

    def forward(self, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values [batch, heads, keys, size] and the mask [batch, 1, queries, keys], each with more keys."""
        own = (one.to(key.dtype).expand(len(key), -1, -1, -1) for one in (self.key, self.value))
        key, value = (torch.cat(pair, 2) for pair in zip(own, (key, value), strict=True))
        return key, value, None if mask is None else functional.pad(mask, (self.key.shape[1], 0))


def add_prefix(model: Any, tokens: int) -> None:
    """Give every layer's attention a prefix; changes the model. Raises RecipeError where the attention is not ours."""
    settings: Any = getattr(model, "config", None)
    if getattr(settings, "_attn_implementation", "") != _ATTENTION:
        raise _no_place("attends in a way of its own", "prefix")
    heads = getattr(settings, "num_key_value_heads", None) or settings.num_attention_heads
    size = getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads
    for part in list(model.modules()):
        if type(part).__name__.endswith("Attention") and any(not list(child.children()) for child in part.children()):
            part.prefix = Prefix(heads, tokens, size)


def _no_place(why: str, method: str) -> RecipeError:
    return RecipeError(
        f"the model {why}, so there is no place for virtual tokens", where=f"method.{method}", do="method=lora"
    )
