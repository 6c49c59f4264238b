"""What the tasks share that teach a language model to answer in conversations: the template, and how one is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from pydantic import Field, field_validator

from danlu.blocks import conversations, likelihood, sampling
from danlu.blocks.chat_template import ChatTemplate, Message, check_setting
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Answer, Arrays, Batch, Delta, Example, Head, Task
from danlu.core.errors import DataError, RecipeError
from danlu.values import Row

if TYPE_CHECKING:
    from torch import Tensor

_Made = TypeVar("_Made")
Taught: TypeAlias = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
_template = functools.lru_cache(maxsize=8)(ChatTemplate.of)


class Templated(Task):
    """A task whose rows hold conversations that the model's chat template writes out."""

    template: str | None = None
    """How a conversation becomes a text: `chatml`, `plain`, or a Jinja template; the model's own unless given."""
    system: str | None = None
    """What the system says before conversations in which it says nothing, in training and in answers."""

    _readable = field_validator("template")(check_setting)

    def shape(self, processor: Any) -> ChatTemplate:
        """The template, with the tokenizer. Raises RecipeError where there is none, or no tokenizer."""
        if not isinstance(processor, TextProcessor):
            what = f"the backbone reads no tokens, and {self.name} writes conversations out as tokens"
            raise RecipeError(what, where="backbone", do='backbone={pretrained: "asset:smollm2-135m"}')
        return _template(self.template, processor, f"data.task.{self.name}.template")

    def cut(self, talk: Sequence[Message], processor: Any) -> Taught:
        """The ids of a conversation with its answers, and the places of those that are taught. Raises DataError."""
        return flat(self.shape(processor).pieces(conversations.instructed(talk, self.system)))

    def read(
        self, rows: Iterable[Row], make: Callable[[Row], _Made], split: str, told: Callable[[int], None]
    ) -> list[_Made]:
        """What is made of each row; `told` hears how many are read. Raises DataError naming the row that can't be."""
        found = []
        for place, row in enumerate(rows, 1):
            try:
                found.append(make(row))
            except DataError as fault:
                raise DataError(fault.what, where=f"{split} row {place}", do=fault.do) from fault
            told(place)
        return found

    def overlong(self, what: str, longest: int, choices: str) -> DataError:
        """The error of conversations that are longer than a block."""
        path = f"data.task.{self.name}"
        return DataError(what, do=f"{path}.length={longest}" + (f", or {path}.too_long={choices}" if choices else ""))


class ChatTask(Templated):
    """Derive from it and write how rows become examples.

    A model of such a task answers a conversation, token by token, and says how likely the answers in one are.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "next", "answer": "likelihood"}
    pad: ClassVar[Mapping[str, float]] = likelihood.PAD

    most: int = Field(default=200, ge=1)
    """How many tokens it writes at most, where a request does not say."""
    temperature: float = Field(default=0.7, ge=0)
    """How freely it draws: 0 always takes the likeliest token, 1 draws as the model says."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """It draws among the likeliest tokens that together have this probability (Holtzman et al., 2020)."""
    seed: int = 0
    """Another seed draws another answer."""

    def head(self) -> Head:
        return Head("next")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        """The summed −log p of the answers' tokens, [n]."""
        return likelihood.loss(outputs, batch)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The conversation up to the answer; for one whose answers are scored, windows that ask for each token once."""
        scored = self.scored(x)
        if scored is None:
            ids, _ = self._begin(x, processor)
            inputs = {"input_ids": np.array(ids, dtype=np.int64), "attention_mask": np.ones(len(ids), dtype=np.int64)}
            return [Example({**inputs, "at": np.array([len(ids) - 1])})]
        pieces = self.shape(processor).pieces(conversations.instructed(scored, self.system))
        return told(pieces, processor.most)

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        return likelihood.likelihood(conversations.answers(self.scored(x) or ()), examples, outputs)

    def answer(self, x: Any, processor: Any) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
        if self.scored(x) is not None:
            return (yield from super().answer(x, processor))
        ids, asked = self._begin(x, processor)
        return (yield from sampling.write(ids, self.shape(processor).ends, asked, processor))

    def scored(self, x: Any) -> list[Message] | None:
        """The conversation of an input that asks how likely its answers are, else None. Raises DataError."""
        if not isinstance(x, Mapping) or likelihood.SCORE not in x:
            return None
        if len(x) > 1:
            raise DataError(f'`{{"{likelihood.SCORE}": messages}}` holds one conversation and nothing else')
        talk = conversations.messages(x[likelihood.SCORE])
        conversations.check_answered(talk)
        return talk

    def _begin(self, x: Any, processor: Any) -> tuple[list[int], sampling.Request]:
        """The ids up to where the answer begins, and how it is to be written. Raises DataError for too long a talk."""
        talk, options = conversations.asked(x, tuple(sampling.TOLD))
        template, whole = self.shape(processor), conversations.instructed(talk, self.system)
        asked = sampling.Request.of({"text": template.render(whole, answer=True), **options}, self)
        ids = [one for piece, _ in template.pieces(whole, answer=True) for one in piece]
        if processor.most is None:
            return ids, asked
        if len(ids) >= processor.most:
            what = f"the conversation has {len(ids):,} tokens, and the model takes {processor.most:,} with its answer"
            raise DataError(what, do="leave out its first messages")
        return ids, replace(asked, most=min(asked.most, processor.most - len(ids)))

    def distance(self, a: Answer, b: Answer) -> float:
        return likelihood.distance(a, b) if "nll" in a and "nll" in b else float(a != b)

    def from_json(self, value: Any) -> Any:
        if self.scored(value) is None:
            talk, options = conversations.asked(value, tuple(sampling.TOLD))
            sampling.Request.of({"text": talk[-1]["content"], **options}, self)
        return value

    def request_schema(self) -> dict[str, Any]:
        talk = {"anyOf": [{"type": "string"}, conversations.MESSAGES]}
        asked = _object({"messages": talk, **sampling.TOLD}, "messages")
        scored = _object({likelihood.SCORE: conversations.MESSAGES}, likelihood.SCORE)
        return {"anyOf": [*talk["anyOf"], asked, scored]}

    def answer_schema(self) -> dict[str, Any]:
        return {"anyOf": [sampling.ANSWER, likelihood.SCHEMA]}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False,
    }  # fmt: skip


def flat(pieces: Sequence[tuple[list[int], int]]) -> Taught:
    """The ids of a conversation's pieces, int64, and the places of those that are taught; the first id never is."""
    ids = np.array([one for piece, _ in pieces for one in piece], dtype=np.int64)
    taught = np.concatenate([np.arange(len(piece)) < learnt for piece, learnt in pieces])
    return ids, np.flatnonzero(taught)


def laid(texts: Sequence[Taught]) -> dict[str, np.ndarray[Any, Any]]:
    """Conversations one after another as a language model is given them, none seeing another.

    What is asked `at` each place are the `tokens` after it: all those that are taught, conversation by conversation.
    """
    starts = np.cumsum([0, *(len(ids) for ids, _ in texts)])
    ids = np.concatenate([ids for ids, _ in texts])
    at = np.concatenate([taught + start - 1 for (_, taught), start in zip(texts, starts, strict=False)])
    segments = np.repeat(np.arange(1, len(texts) + 1), np.diff(starts))
    return {"input_ids": ids, "segments": segments, "at": at, "tokens": ids[at + 1]}


def told(pieces: Sequence[tuple[list[int], int]], most: int | None) -> list[Example]:
    """Examples that ask how likely each taught token is, once; a talk longer than `most` goes in windows that overlap
    by half. Their `note` is how many tokens count."""
    ids, taught = flat(pieces)
    size = most or len(ids)
    made: list[Example] = []
    for number, window in enumerate(likelihood.windows(ids.tolist(), size, size // 2)):
        start = number * (size - size // 2)
        first = start + (size // 2 if number else 1)
        places = taught[(taught >= first) & (taught < start + len(window))] - start
        if len(places):
            block = np.array(window, dtype=np.int64)
            inputs = {"input_ids": block, "attention_mask": np.ones_like(block)}
            made.append(Example({**inputs, "at": places - 1, "tokens": block[places]}, note=len(places)))
    return made
