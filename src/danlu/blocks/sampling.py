"""Drawing the next token, and what a request for a continuation may say."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from danlu.contracts import Answer, Arrays, Delta, Example
from danlu.core.errors import DataError

_MOST = 4096
TOLD: dict[str, dict[str, Any]] = {
    "most": {"type": "integer", "minimum": 1, "maximum": _MOST},
    "temperature": {"type": "number", "minimum": 0, "maximum": 10},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "seed": {"type": "integer", "minimum": 0},
}
"""What a request may say besides the beginning, as JSON Schema."""
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, **TOLD},
    "required": ["text"],
    "additionalProperties": False,
}
ANSWER = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "tokens": {"type": "integer"}, "ended": {"type": "boolean"}},
    "required": ["text", "tokens", "ended"],
}


@dataclass(frozen=True)
class Request:
    """The beginning of a text, and how to go on."""

    text: str
    most: int
    temperature: float
    top_p: float
    seed: int

    @classmethod
    def of(cls, x: Any, defaults: Any) -> Self:
        """From a string, or from `{"text", "most", "temperature", "top_p", "seed"}`. Raises DataError."""
        given = {"text": x} if isinstance(x, str) else dict(x) if isinstance(x, Mapping) else {}
        options = {name: getattr(defaults, name) for name in TOLD}
        if unknown := sorted(given.keys() - {"text", *options}):
            raise DataError(f"a request has no {unknown[0]!r}", do=f"it has: text, {', '.join(options)}")
        if not isinstance(given.get("text"), str):
            raise DataError(f"give the beginning of a text, as a string or as `text`, not {type(x).__name__}")
        made = cls(**{**options, **given})
        _check(made)
        return made


def _check(asked: Request) -> None:
    for name, kinds, low, high in (
        ("most", int, 1, _MOST), ("temperature", int | float, 0, 10), ("top_p", int | float, 0, 1),
        ("seed", int, 0, 2**63),
    ):  # fmt: skip
        value = getattr(asked, name)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise DataError(f"{name} must be a number from {low} to {high}, not {value!r:.40}")


def write(
    beginning: Sequence[int], ends: Collection[int | None], asked: Request, processor: Any
) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
    """The talk that goes on with ids, token by token, until one of `ends`: the answer is `ANSWER`.

    A character that is not whole yet waits for the next token.
    """
    ids, first, said, state = list(beginning), len(beginning), "", None
    rng = np.random.default_rng([asked.seed, zlib.crc32(asked.text.encode())])
    while len(ids) - first < asked.most:
        window = np.array(ids[-(processor.most or len(ids)) :], dtype=np.int64)
        inputs = {"input_ids": window, "attention_mask": np.ones_like(window), "at": np.array([len(window) - 1])}
        whole = len(window) == len(ids)
        example = Example(inputs, keep=whole, state=state if whole else None)
        [outputs] = yield [example]
        state = example.state
        drawn = draw(outputs["logits"][0], asked.temperature, asked.top_p, rng)
        if drawn in ends:
            break
        ids.append(drawn)
        now = processor.text(ids)[len(processor.text(ids[:first])) :]
        if not now.endswith("\ufffd") and len(now) > len(said):
            yield Delta(now[len(said) :])
            said = now
    now = processor.text(ids)[len(processor.text(ids[:first])) :]
    if now != said:
        yield Delta(now[len(said) :])
    return {"text": now, "tokens": len(ids) - first, "ended": len(ids) - first < asked.most}


def prompt(x: Any) -> str:
    """The beginning that a request gives."""
    return x if isinstance(x, str) else str(x["text"])


def end(processor: Any) -> int | None:
    """The id that ends a text; of a BERT's tokenizer the one that separates two."""
    found: int | None = processor.special("eos_token")
    return processor.special("sep_token") if found is None else found


def begin(text: str, processor: Any) -> list[int]:
    """The ids a text begins with: the token that begins every text, where the tokenizer has one, and the text's own."""
    [empty], ids = processor.cut([""]), processor.ids(text)
    firsts = {processor.special("bos_token"), processor.special("cls_token")}
    return [*empty[:1] * (bool(empty) and empty[0] in firsts), *ids] or [end(processor) or processor.pad_id]


def draw(scores: Any, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """An id: the likeliest at temperature 0, else one of the likeliest that together have `top_p` of the probability.

    `scores` has shape [vocabulary]. Raises DataError when they are not numbers.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores.max()):
        raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
    if temperature == 0:
        return int(scores.argmax())
    powers = np.exp((scores - scores.max()) / temperature)
    order = np.argsort(-powers, kind="stable")
    share = powers[order] / powers.sum()
    kept = int(np.searchsorted(share.cumsum(), top_p)) + 1
    return int(order[rng.choice(min(kept, len(order)), p=share[:kept] / share[:kept].sum())])
