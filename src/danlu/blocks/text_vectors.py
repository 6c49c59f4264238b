"""Texts as vectors of a pretrained encoder, as it is: the mean of a text's token vectors, of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from danlu.blocks import hf
from danlu.blocks.tensors import to_torch
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Example, Head, collate

_AT_ONCE = 64
_LONGEST = 128


def text_vectors(folder: Path, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[texts, width]; of a long text the first 128 tokens."""
    processor = TextProcessor.load(folder)
    model = hf.start(folder, Head("vector"), processor.pad_id)[0].eval()
    examples = [Example(processor.inputs(text, _LONGEST)) for text in texts]
    order = sorted(range(len(texts)), key=lambda k: len(examples[k].inputs["input_ids"]))
    found = np.zeros((len(texts), model.get_input_embeddings().embedding_dim), dtype=np.float32)  # type: ignore[operator]
    with torch.no_grad():
        for k in range(0, len(order), _AT_ONCE):
            chosen = order[k : k + _AT_ONCE]
            batch = to_torch(collate([examples[one] for one in chosen], processor.pad))
            found[chosen] = functional.normalize(model(**batch.inputs)["vector"].float(), dim=-1).numpy()
    return found
