"""What the tasks share that learn which of two answers people prefer: the columns, the question, the truth.

A row is a `prompt` with two answers to it, one `chosen` and one `rejected`. An input is `{"messages": talk, "answers":
["…", …]}`, an answer `{"scores": [float, …], "order": [int, …]}`: how the answers share a certainty of 1, and their
places from the best down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from danlu.blocks import conversations, likelihood, ranking_task
from danlu.blocks.bins import Bins
from danlu.blocks.chat_task import Taught, Templated
from danlu.blocks.chat_template import ASSISTANT, Message
from danlu.contracts import Answer, Columns, Example
from danlu.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_USUAL = {
    "prompt": ("prompt", "question", "instruction"), "chosen": ("chosen", "preferred"), "rejected": ("rejected",),
}  # fmt: skip
_SAMPLE = (
    ("what do cats drink", "warm milk indeed", "stones never"),
    ("who sails the ships", "sailors indeed", "the moon never does"),
    ("where are birds", "above us indeed", "never"),
    ("name a colour", "green indeed", "seven never"),
)
REQUEST = {
    "type": "object",
    "properties": {
        "messages": {"anyOf": [{"type": "string"}, conversations.MESSAGES]},
        "answers": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
    "required": ["messages", "answers"],
    "additionalProperties": False,
}
SCHEMA = ranking_task.RANKING


class PairRows(Templated):
    """Derive from it and write `paired`, the training example of two answers, and what a model answers."""

    pad: ClassVar[Mapping[str, float]] = {**likelihood.PAD, "side": 0.0}

    prompt: str | None = None
    """The column of what is asked, a text or messages; found by its name when left open."""
    chosen: str | None = None
    """The column of the better answer, a text or a message."""
    rejected: str | None = None
    """The column of the other one."""
    length: int = Field(default=256, ge=8)
    """Tokens that a prompt may have with one of its answers."""
    too_long: Literal["error", "skip"] = "error"
    """What is done with a pair of which an answer makes it longer; how many were skipped is told."""

    def paired(self, chosen: Taught, rejected: Taught) -> Example:
        """The training example of two answers to one prompt."""
        raise NotImplementedError

    # ---- rows --------------------------------------------------------------------------------------------------------

    def columns(self) -> Columns:
        settled = conversations.settled((self.prompt, self.chosen, self.rejected), self.name)
        return Columns(settled, settled[1:2])

    def settle(self, rows: pa.Table) -> Self:
        """Raises DataError where a column is missing or holds something else."""
        options = {name: getattr(self, name) for name in _USUAL}
        return self.model_copy(update=conversations.find(rows, self.name, options, _USUAL))

    def resolve(self, rows: pa.Table) -> Self:
        return self.settle(rows)

    def ask(self, row: Mapping[str, Any]) -> Any:
        prompt, chosen, rejected = (row[name] for name in self.columns().ask)
        talk = conversations.turns(prompt, conversations.USER)
        return {"messages": talk, "answers": [_said(chosen), _said(rejected)]}

    def material(self, row: Mapping[str, Any]) -> Any:
        x = self.ask(row)
        return "\n".join([*(f"{one['role']}\n{one['content']}" for one in x["messages"]), ASSISTANT, *x["answers"]])

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        return None if row.get(self.columns().gold[0]) is None else ranking_task.ranking([1.0, 0.0])

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        talk, answers = compared(x)
        alone = len(talk) == 1 and talk[0]["role"] == conversations.USER
        best = answer["order"][0]
        cells = (talk[0]["content"] if alone else talk, answers[best], answers[1 - best])
        return dict(zip(self.columns().ask, cells, strict=True))

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        pair = self._pair(row, processor)
        size = max(len(ids) for ids, _ in pair)
        if size <= self.length:
            return [self.paired(*pair)]
        if self.too_long == "error":
            what = f"prompt and answer have {size:,} tokens, more than {self.length:,}"
            raise self.overlong(what, size, "skip")
        return []

    def pack(
        self,
        rows: Callable[[], Iterable[Mapping[str, Any]]],
        processor: Any,
        folder: Path,
        key: Sequence[str],
        told: Callable[[int], None],
    ) -> Sequence[Example]:
        """An example for each pair. Raises DataError naming the row that can't be learnt."""
        likelihood.check_length(processor, self.length, self.name)
        split = key[-1] if key else ""
        pairs = self.read(rows(), lambda row: self._pair(row, processor), split, told)
        sizes = [max(len(ids) for ids, _ in pair) for pair in pairs]
        kept = [pair for pair, size in zip(pairs, sizes, strict=True) if size <= self.length]
        over = len(pairs) - len(kept)
        what = f"{over:,} of {len(pairs):,} {split} pairs have more than {self.length:,} tokens"
        if over and (self.too_long == "error" or not kept):
            longest = int(np.argmax(sizes))
            what = f"{what}, the longest (row {longest + 1}) {sizes[longest]:,}"
            raise self.overlong(what, sizes[longest], "skip" if kept else "")
        texts = [np.concatenate([ids for ids, _ in pair]) for pair in kept]
        return Bins(
            texts, None, lambda places: self.paired(*kept[places[0]]), [f"{what} and were left out"] * bool(over)
        )

    def _pair(self, row: Mapping[str, Any], processor: Any) -> tuple[Taught, Taught]:
        """The two conversations of a row. Raises DataError for answers that are equal or empty."""
        talk, answers = compared(self.ask(row))
        if answers[0].strip() == answers[1].strip():
            raise DataError("the chosen answer is the rejected one", do="remove the row: it says nothing")
        chosen, rejected = (self.last(talk, answer, processor) for answer in answers)
        return chosen, rejected

    def last(self, talk: Sequence[Message], answer: str, processor: Any) -> Taught:
        """A conversation with its last answer, which alone is taught."""
        ids, taught = self.cut([*talk, {"role": ASSISTANT, "content": answer}], processor)
        begin = len(self.cut_before(talk, processor))
        return ids, taught[taught >= begin]

    def judged(self, talk: Sequence[Message], answer: str, processor: Any) -> Taught:
        """The same, for an answer. Raises DataError for more than the model takes."""
        ids, taught = self.last(talk, answer, processor)
        if processor.most is not None and len(ids) > processor.most:
            what = f"conversation and answer have {len(ids):,} tokens, and the model takes {processor.most:,}"
            raise DataError(what, do="leave out its first messages")
        return ids, taught

    def cut_before(self, talk: Sequence[Message], processor: Any) -> list[int]:
        """The ids up to where the last answer begins."""
        pieces = self.shape(processor).pieces(conversations.instructed(talk, self.system), answer=True)
        return [one for piece, _ in pieces for one in piece]

    # ---- answers -----------------------------------------------------------------------------------------------------

    def sample(self, n: int) -> list[dict[str, Any]]:
        """The better answer has a word that all of them have."""
        names = (self.prompt or "prompt", self.chosen or "chosen", self.rejected or "rejected")
        return [dict(zip(names, _SAMPLE[k % len(_SAMPLE)], strict=True)) for k in range(n)]


def distance(a: Answer, b: Answer) -> float:
    """The greatest difference of an answer's scores, at most 1."""
    if len(a["scores"]) != len(b["scores"]):
        return 1.0
    return max((min(1.0, abs(x - y)) for x, y in zip(a["scores"], b["scores"], strict=True)), default=0.0)


def preferred(values: Sequence[float]) -> Answer:
    """The answer: how answers of these values share a certainty of 1 (Bradley and Terry, 1952). Raises DataError."""
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
    powers = np.exp(numbers - numbers.max())
    return ranking_task.ranking((powers / powers.sum()).tolist())


def compared(x: Any) -> tuple[list[Message], list[str]]:
    """The conversation of an input and the answers that are to be compared. Raises DataError."""
    if not isinstance(x, Mapping) or x.keys() != {"messages", "answers"}:
        raise DataError('an input is a conversation with answers: {"messages": "…", "answers": ["…", …]}')
    talk, _ = conversations.asked({"messages": x["messages"]}, ())
    answers = x["answers"]
    if not isinstance(answers, list | tuple) or not answers or not all(isinstance(one, str) for one in answers):
        raise DataError("`answers` is a list of texts")
    if any(not one.strip() for one in answers):
        raise DataError("an answer is empty", do="mend the row or remove it")
    return talk, list(answers)


def _said(cell: Any) -> str:
    """The text of an answer's cell, which holds a text or one message of the assistant's. Raises DataError."""
    said = conversations.turns(cell, ASSISTANT)
    if len(said) != 1 or said[0]["role"] != ASSISTANT:
        raise DataError("a chosen or rejected answer is a text, or one message of the role `assistant`")
    return said[0]["content"]
