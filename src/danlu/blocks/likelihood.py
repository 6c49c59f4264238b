"""What the tasks of language models share: texts to tokens and windows, and how likely a text is.

An answer to "how likely is this text?" is `{"nll": float, "tokens": int, "characters": int}`: −log p in nats, summed
over so many tokens of a text of so many characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.blocks import labels
from danlu.blocks.corpus import Blocks, Corpus
from danlu.blocks.tables import is_text
from danlu.contracts import Answer, Arrays, Batch, Example
from danlu.core import plugin
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from torch import Tensor

_heads: Any = plugin.lazy("danlu.blocks.lm_heads")

PAD = {"segments": 0.0, "at": 0.0, "tokens": 0.0, "targets": -100.0, "token_type_ids": 0.0}
SCORE = "how_likely"
"""The key of an input that asks how likely a text is."""


def find_text(rows: pa.Table, task: str, text: str | None) -> str:
    """The column of the texts; where left open, the only column of text, or the one sniffed. Raises DataError."""
    of_text = [name for name in rows.column_names if is_text(rows.schema.field(name).type)]
    column = text or (of_text[0] if len(of_text) == 1 else labels.find_columns(rows, task, text=None)[0])
    [column] = labels.find_columns(rows, task, text=column)
    if not is_text(rows.schema.field(column).type):
        what = f"the column {column!r} holds {rows.schema.field(column).type}, not text"
        raise DataError(what, do=f"data.task.{task}.text=<column>")
    return column


def settled(text: str | None, task: str) -> str:
    """The column, once it is settled. Raises RecipeError before."""
    if text is None:
        raise RecipeError("the column is not settled yet", do=f"data.task.{task}.text=<column>")
    return text


def check_length(processor: Any, length: int, task: str) -> None:
    """Raise RecipeError for blocks that are longer than what the model can take."""
    most = getattr(processor, "most", None)
    if most is not None and length > most:
        what = f"blocks of {length} tokens are longer than the {most} positions the backbone has"
        raise RecipeError(what, where=f"task.{task}.length", do=f"data.task.{task}.length={most}")


def packed(
    texts: Iterable[str], processor: Any, length: int, folder: Path, key: Sequence[str], make: Any, told: Any
) -> Sequence[Example]:
    """All texts as blocks of `length` tokens, see `Corpus`."""
    return Blocks(corpus(texts, processor, folder, key, told), length, make)


def corpus(texts: Iterable[str], processor: Any, folder: Path, key: Sequence[str], told: Any) -> Corpus:
    """All texts as tokens, from the folder where they were cut before."""
    return Corpus.of(folder, texts, processor.cut, key=(*key, processor.digest()), told=told)


def scored(x: Any) -> str | None:
    """The text of an input that asks how likely it is, else None. Raises DataError for an input of another shape."""
    if isinstance(x, Mapping) and SCORE in x:
        if not isinstance(x[SCORE], str) or len(x) > 1:
            raise DataError(f'`{{"{SCORE}": text}}` holds one text and nothing else')
        return str(x[SCORE])
    return None


def windows(ids: Sequence[int], length: int, overlap: int) -> list[list[int]]:
    """Ids in windows of at most `length`, each beginning with the last `overlap` of the one before."""
    step = length - overlap
    starts = range(0, max(len(ids) - overlap, 1), step)
    return [list(ids[start : start + length]) for start in starts]


def likelihood(text: str, examples: Sequence[Example], outputs: Sequence[Arrays]) -> Answer:
    """The answer, from what was said of each window; `note` is how many of its tokens count."""
    counted = [int(example.note) for example in examples]
    said = sum(
        float(np.asarray(output["log_likelihood"], dtype=np.float64)[:n].sum())
        for output, n in zip(outputs, counted, strict=True)
    )
    return {"nll": max(-said, 0.0), "tokens": sum(counted), "characters": len(text)}


def certain(text: str | None) -> Answer | None:
    """What a model would answer that knows every token of a text; None where there is no text."""
    return None if text is None else {"nll": 0.0, "tokens": 1, "characters": len(text)}


def distance(a: Answer, b: Answer) -> float:
    """1 − the ratio of two mean probabilities (geometric, of a token): 0 the same, at most 1.

    The distance to `certain` is 1 − the mean probability of the text's own tokens.
    """
    mean, other = (one["nll"] / max(one["tokens"], 1) for one in (a, b))
    return 1 - math.exp(-abs(mean - other))


SCHEMA = {
    "type": "object",
    "properties": {"nll": {"type": "number"}, "tokens": {"type": "integer"}, "characters": {"type": "integer"}},
    "required": ["nll", "tokens", "characters"],
}
ASKED = {
    "type": "object",
    "properties": {SCORE: {"type": "string"}},
    "required": [SCORE],
    "additionalProperties": False,
}


def loss(outputs: Arrays, batch: Batch, smoothing: float = 0.0, z: float = 0.0) -> Tensor:
    """The summed −log p of each example's targets, [n]; without smoothing where the model was asked for it alone."""
    if "log_likelihood" in outputs:
        counted: Tensor = (outputs["log_likelihood"] * (batch.targets["targets"] >= 0)).sum(1)
        return -counted
    said: Tensor = _heads.nll(outputs, batch.targets["targets"], smoothing=smoothing, z=z).sum(1)
    return said
