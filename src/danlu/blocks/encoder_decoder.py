"""Models of two stacks: one reads a text, the other writes another text from it, token after token.

As in `lm_heads`, the scores over the vocabulary are made where they are asked for, and the module stays the library's
own class with its own names of weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.blocks.lm_heads import Wanted, become, said, wanting
from danlu.contracts import Arrays


def ask_where(module: nn.Module) -> nn.Module:
    """Turn an encoder–decoder of transformers into one whose `forward` is `AskedPair.forward`; the weights stay."""
    model: Any = module
    become(model, AskedPair, model.get_decoder())
    return module


class AskedPair(nn.Module):
    """An encoder–decoder that is told where its word is wanted."""

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        decoder_segments: Tensor | None = None,
        at: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Arrays:
        """What the decoder, having read `decoder_input_ids` [n, written], says comes next, at the positions `at`.

        `input_ids` [n, read] is what the encoder reads, padding being 0 in `attention_mask`. `segments` [n, read] and
        `decoder_segments` [n, written] number the documents of a block, from 1; 0 is padding. No position attends to
        another document. The positions of a T5 are distances, so a document in a block gives what it gives alone.

        The outputs are those of `lm_heads.Asked.forward`, k places `at` [n, k] of the decoder, all where none is named.
        """
        model: Any = self
        wanted = Wanted.of(model, at, tokens)
        reads, crosses, writes = _masks(input_ids, attention_mask, segments, decoder_segments)
        with wanting(wanted):
            read = model.get_encoder()(input_ids=input_ids, attention_mask=reads)
            outputs = super().forward(
                encoder_outputs=read,
                attention_mask=crosses,
                decoder_input_ids=decoder_input_ids,
                decoder_attention_mask=writes,
                use_cache=False,
            )
        return said(model, outputs["logits"], wanted, tokens)


def _masks(
    input_ids: Tensor, attention_mask: Tensor | None, segments: Tensor | None, decoder_segments: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """What is added to the scores where the encoder reads, where the decoder looks at it, and where that writes.

    None leaves it to the library: all see all, and the decoder what came before.
    """
    if segments is None or decoder_segments is None:
        mask = None if attention_mask is None else closed(attention_mask[:, None, None, :] > 0)
        return mask, mask, None
    reads, crosses, writes = (
        ((a.unsqueeze(2) == b.unsqueeze(1)) & (b > 0).unsqueeze(1) | (a == 0).unsqueeze(2)).unsqueeze(1)
        for a, b in ((segments, segments), (decoder_segments, segments), (decoder_segments, decoder_segments))
    )  # padding sees all, since who sees nothing is no number in bfloat16
    return closed(reads), closed(crosses), closed(writes.tril())


def closed(seen: Tensor) -> Tensor:
    """0 where something is seen, else the least number there is: to be added to the scores."""
    return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, torch.finfo(torch.float32).min)
