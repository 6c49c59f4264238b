"""Answer as the assistant of a conversation does: supervised fine-tuning (Ouyang et al., 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field

from danlu.blocks import conversations, likelihood, sampling
from danlu.blocks.bins import Bins
from danlu.blocks.chat_task import ChatTask, Taught, laid
from danlu.blocks.chat_template import ASSISTANT, Message
from danlu.contracts import Answer, Columns, Example, Processor, iterate_rows
from danlu.core.errors import DataError, RowError
from danlu.values import CUT

if TYPE_CHECKING:
    import pyarrow as pa

_USUAL = {
    "messages": ("messages", "conversations", "conversation"),
    "prompt": ("prompt", "question", "instruction"),
    "reply": ("answer", "reply", "response", "completion", "output"),
}
"""What columns are called that are left open."""
_SAMPLE = (
    ("what do cats drink", "warm milk"),
    ("who sails the ships", "seven old sailors"),
    ("where are birds", "above us all day"),
    ("name a colour", "green"),
)


class Chat(ChatTask):
    """Rows are conversations: a list of `messages` (role, content), or a `prompt` and its `reply`.

    Only the assistant's messages are learnt, each with the token that ends it; what is asked is read and not learnt.
    Several conversations lie in one block and do not see one another. Give it a text or messages and it answers
    `{"text": str, "tokens": int, "ended": bool}`, piece by piece where the caller streams. Asked `{"how_likely":
    messages}` it answers `{"nll", "tokens", "characters"}` of the assistant's messages, which `perplexity` judges.
    """

    messages: str | None = None
    """The column of the conversations, lists of messages; found by its name when left open."""
    prompt: str | None = None
    """The column of what is asked, a text or messages, for rows of one answer."""
    reply: str | None = None
    """The column of the answer to it."""
    length: int = Field(default=256, ge=8)
    """Tokens in a block."""
    packed: bool = True
    """Whether several conversations share a block; False: each is an example, filled up to the longest of its batch."""
    too_long: Literal["error", "skip", "cut"] = "error"
    """What is done with a conversation of more than `length` tokens. `cut` learns its beginning, and skips it where
    nothing of an answer is left; how many were skipped or cut is told."""

    # ---- rows --------------------------------------------------------------------------------------------------------

    def columns(self) -> Columns:
        names = (self.messages,) if self.messages else (self.prompt, self.reply)
        settled = conversations.settled(names, self.name)
        return Columns(settled, settled[-1:])

    def settle(self, rows: pa.Table) -> Self:
        """Raises DataError where a column is missing or holds something else."""
        named = next((name for name in _USUAL["messages"] if name in rows.column_names), None)
        whole = self.messages or (None if self.prompt or self.reply else named)
        options = {"messages": whole} if whole else {"prompt": self.prompt, "reply": self.reply}
        return self.model_copy(update=conversations.find(rows, self.name, options, _USUAL))

    def resolve(self, rows: pa.Table) -> Self:
        """Raises DataError, with its row, for what is no conversation to learn from; also as `settle`."""
        settled = self.settle(rows)
        for place, row in enumerate(iterate_rows(rows.select(list(settled.columns().ask))), 1):
            if None in row.values():  # rows without it are told elsewhere
                continue
            try:
                settled._talk(row)
            except DataError as fault:
                raise RowError(fault.what, row=place, do=fault.do) from fault
        return settled

    def ask(self, row: Mapping[str, Any]) -> Any:
        return {likelihood.SCORE: self._talk(row)}

    def _talk(self, row: Mapping[str, Any]) -> list[Message]:
        """The conversation in a row. Raises DataError."""
        columns = self.columns()
        if self.messages:
            talk = conversations.messages(row[self.messages])
        else:
            asked, said = (row[name] for name in columns.ask)
            talk = [*conversations.turns(asked, conversations.USER), *conversations.turns(said, ASSISTANT)]
        conversations.check_answered(talk)
        return talk

    def material(self, row: Mapping[str, Any]) -> Any:
        return "\n".join(f"{one['role']}\n{one['content']}" for one in self._talk(row))

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        said = row.get(self.columns().gold[0])
        return None if said is None else likelihood.certain(conversations.answers(conversations.turns(said, ASSISTANT)))

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        scored = self.scored(x)
        talk = scored or [
            *conversations.asked(x, tuple(sampling.TOLD))[0],
            {"role": ASSISTANT, "content": answer["text"]},
        ]
        columns = self.columns()
        if self.messages:
            return {self.messages: talk}
        asked = talk[0]["content"] if len(talk) == 2 and talk[0]["role"] == conversations.USER else talk[:-1]
        return dict(zip(columns.ask, (asked, talk[-1]["content"]), strict=True))

    # ---- training ----------------------------------------------------------------------------------------------------

    def examples(self, row: Mapping[str, Any], processor: Processor) -> list[Example]:
        taught = self.cut(self._talk(row), processor)
        size = len(taught[0])
        left = self._fitting(taught)
        if size > self.length and self.too_long == "error":
            what = f"the conversation has {size:,} tokens, and a block {self.length:,}"
            raise self.overlong(what, size, self._ways())
        return [] if left is None else [self._block([left], [0], CUT if size > self.length else None)]

    def pack(
        self,
        rows: Callable[[], Iterable[Mapping[str, Any]]],
        processor: Any,
        folder: Path,
        key: Sequence[str],
        told: Callable[[int], None],
    ) -> Sequence[Example]:
        """Whole conversations in blocks of `length` tokens. Raises DataError naming the row that can't be learnt."""
        likelihood.check_length(processor, self.length, self.name)
        split = key[-1] if key else ""
        found = self.read(rows(), lambda row: self.cut(self._talk(row), processor), split, told)
        kept = [left for one in found if (left := self._fitting(one)) is not None]
        notes = self._notes(found, len(kept), split)
        return Bins([ids for ids, _ in kept], self.length if self.packed else None, partial(self._block, kept), notes)

    def _fitting(self, taught: Taught) -> Taught | None:
        """What is learnt of a conversation; None where nothing is."""
        ids, places = taught
        if len(ids) <= self.length:
            return taught
        left = places[places < self.length]
        return (ids[: self.length], left) if self.too_long == "cut" and len(left) else None

    def _ways(self, *, all_over: bool = False) -> str:
        """What `too_long` could be instead, so that something is left to learn."""
        if self.too_long == "error" and not all_over:
            return "skip (or cut)"
        return "" if self.too_long == "cut" else "cut"

    def _notes(self, found: Sequence[Taught], kept: int, split: str) -> list[str]:
        """How many conversations were left out or cut. Raises DataError where none may be, or all are."""
        sizes = [len(ids) for ids, _ in found]
        over = sum(size > self.length for size in sizes)
        what = f"of {len(sizes):,} {split} conversations are longer than {self.length:,} tokens"
        if over and (self.too_long == "error" or not kept):
            longest = int(np.argmax(sizes))
            what = f"{over:,} {what}, the longest (row {longest + 1}) has {sizes[longest]:,}"
            raise self.overlong(what, sizes[longest], self._ways(all_over=over == len(sizes)))
        out = len(sizes) - kept
        counted = ((out, "and were left out"), (over - out, "and were cut"))
        return [f"{count:,} {what} {done}" for count, done in counted if count]

    def _block(self, kept: Sequence[Taught], places: Sequence[int], note: str | None = None) -> Example:
        """The training example of some conversations: what is asked at each place is the token after it."""
        inputs = laid([kept[place] for place in places])
        return Example(inputs, {"targets": inputs["tokens"]}, count=float(len(inputs["at"])), note=note)

    def sample(self, n: int) -> list[dict[str, Any]]:
        rows = [_SAMPLE[k % len(_SAMPLE)] for k in range(n)]
        if self.messages:
            roles = (conversations.USER, ASSISTANT)
            talks = ([{"role": r, "content": c} for r, c in zip(roles, row, strict=True)] for row in rows)
            return [{self.messages: talk} for talk in talks]
        return [dict(zip((self.prompt or "prompt", self.reply or "answer"), row, strict=True)) for row in rows]
