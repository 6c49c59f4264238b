"""Sentence vectors: the mean of a text's token vectors, of length 1 (Reimers and Gurevych, 2019), and a head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks import hf
from danlu.blocks.pooled import pool
from danlu.blocks.tensors import evaluating, to_torch
from danlu.contracts import Arrays, Example, Processor, collate

VECTORS = "vectors"
"""The output that holds the sentence vectors [n, width] while a model is trained."""
_AT_ONCE = 64


class Sentences(nn.Module):
    """A model's body without its head: sentence vectors, and one linear layer from them to the labels."""

    def __init__(self, body: Any, labels: int) -> None:
        super().__init__()
        self.body, self.config = body, body.config
        self.head = nn.Linear(body.get_input_embeddings().embedding_dim, labels)

    def get_input_embeddings(self) -> nn.Module:
        """Where ids become vectors."""
        found: nn.Module = self.body.get_input_embeddings()
        return found

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Arrays:
        """`logits` [n, labels]; in training `vectors` [n, width] too."""
        mean = self.body(input_ids=input_ids, attention_mask=attention_mask, **more)["vector"]
        vectors = functional.normalize(mean.float(), dim=-1)
        logits = self.head(vectors)
        return {"logits": logits, VECTORS: vectors} if self.training else {"logits": logits}


def reading(model: Any) -> Sentences:
    """The model with sentence vectors and a new head in place of its own. Raises RecipeError where it has no body."""
    return Sentences(pool(hf.body(model)), int(model.config.num_labels))


def vectors_of(model: Sentences, examples: Sequence[Example], processor: Processor) -> Tensor:
    """The sentence vectors [n, width] of examples, in eval mode and without gradients."""
    return torch.cat(list(_vectors(model, examples, processor)))


def _vectors(model: Sentences, examples: Sequence[Example], processor: Processor) -> Iterator[Tensor]:
    heard: list[Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _head, args: heard.append(args[0]))
    try:
        with evaluating(model), torch.no_grad():
            for k in range(0, len(examples), _AT_ONCE):
                batch = to_torch(collate(examples[k : k + _AT_ONCE], processor.pad))
                model(**batch.inputs)
                yield heard.pop()
    finally:
        hook.remove()
