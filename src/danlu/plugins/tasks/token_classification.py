"""A tag for every word: names, parts of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks import entities
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Processor, Task
from danlu.core.errors import DataError, RecipeError, RowError

if TYPE_CHECKING:
    from torch import Tensor

_IGNORED = -100
_NAMES = {"tokens": ("tokens", "words"), "tags": ("tags", "ner_tags", "labels", "pos")}


class TokenClassification(Task):
    """Named entities (BIO, IOB or BIOES tags), parts of speech, word segmentation.

    A row holds a list of words and a list of as many tags. An input is such a list, or a text, which is cut into words
    and signs (Chinese: characters). An answer is `{"entities": [{"label", "text", "start", "end", "confidence"}],
    "tokens", "tags", "confidence"}`; start and end count characters of a text, words of a list. A text longer than
    `max_length` goes through the model in windows that overlap, and each word is judged where it has most around it.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "position", "answer": "entities"}
    pad: ClassVar[Mapping[str, float]] = {"tags": _IGNORED}
    among: ClassVar[int | None] = 1  # short sentences are of a kind (headlines): batches of them cost 0.5 points of F1

    tokens: str | None = None
    """The column of the words; found by its type and name when left open."""
    tags: str | None = None
    """The column of the tags; found by its type and name when left open."""
    labels: tuple[str, ...] = ()
    """The tags; by default those of the training rows."""
    max_length: int = Field(default=256, ge=8)
    """Tokens in a window."""
    overlap: int = Field(default=64, ge=0)
    """Tokens that two windows share."""

    def columns(self) -> Columns:
        if self.tokens is None or self.tags is None:
            raise RecipeError("the columns are not settled yet", do=f"data.task.{self.name}.tokens=<column>")
        return Columns((self.tokens,), (self.tags,))

    def settle(self, rows: pa.Table) -> Self:
        """The two columns of lists of text. Raises DataError where there are none."""
        found: dict[str, str] = {}
        lists = [f.name for f in rows.schema if pa.types.is_list(f.type) and pa.types.is_string(f.type.value_type)]
        for option in ("tokens", "tags"):
            named = getattr(self, option)
            likely = [name for name in (*_NAMES[option], *lists) if name in lists and name not in found.values()]
            if named is None and not likely:
                there = ", ".join(f"{f.name} ({f.type})" for f in rows.schema)
                what = f"no column of lists of text was found for the {option}; the columns are: {there}"
                raise DataError(what, do=f"data.task.{self.name}.{option}=<column>")
            found[option] = named or likely[0]
            if found[option] not in rows.column_names:
                what = f"there is no column {found[option]!r}; the columns are: {', '.join(rows.column_names)}"
                raise DataError(what, do=f"data.task.{self.name}.{option}=<column>")
            if found[option] not in lists:
                what = f"the column {found[option]!r} holds {rows.schema.field(found[option]).type}, not lists of text"
                raise DataError(what, do=f"data.task.{self.name}.{option}=<column>")
        return self.model_copy(update=found)

    def resolve(self, rows: pa.Table) -> Self:
        """Columns found, tags listed, `O` first. Raises DataError for a row whose lists differ in length."""
        settled = self.settle(rows)
        words, tags = (rows.column(name).to_pylist() for name in (settled.tokens, settled.tags))
        seen: set[str] = set()
        for place, (word, tag) in enumerate(zip(words, tags, strict=True), 1):
            if len(word or ()) != len(tag or ()):
                what = f"it has {len(word or ())} words and {len(tag or ())} tags"
                raise RowError(what, row=place, do="give every word one tag")
            seen.update(tag or ())
        listed = tuple(sorted(seen, key=lambda tag: (tag != entities.OUTSIDE, tag.partition("-")[2], tag)))
        if len(listed) < 2:
            raise DataError(f"there is only one tag: {', '.join(listed) or 'none'}", do="give rows with other tags too")
        return settled.model_copy(update={"labels": self.labels or listed})

    def ask(self, row: Mapping[str, Any]) -> Any:
        return row[self.columns().ask[0]]

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        columns = self.columns()
        tags = row.get(columns.gold[0])
        if tags is None:
            return None
        tokens = list(row.get(columns.ask[0], [""] * len(tags)))  # the truth may be asked for by itself
        return entities.answer(tokens, tokens, tags, [1.0] * len(tags))

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        columns = self.columns()
        return {columns.ask[0]: _words(x), columns.gold[0]: list(answer["tags"])}

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        places = {label: place for place, label in enumerate(self.labels)}
        tags = row[self.columns().gold[0]]
        if unknown := sorted({*tags} - places.keys()):
            raise DataError(f"the tag {unknown[0]!r} is not among the labels", do=f"the labels are {self.labels}")
        made = []
        for example in self.encode(self.ask(row), processor):
            target = np.full(len(example.inputs["input_ids"]), _IGNORED, dtype=np.int64)
            for word, at in example.note:
                target[at] = places[tags[word]]
            if example.note:
                made.append(Example(example.inputs, {"tags": target}, count=float(len(example.note))))
        return made

    def head(self) -> Head:
        return Head("position", len(self.labels), self.labels)

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        scores, target = outputs["logits"].float().log_softmax(-1), batch.targets["tags"]
        said = scores.gather(-1, target.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        summed: Tensor = -(said * (target != _IGNORED)).sum(1)
        return summed

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The windows; `note` holds, of the words this window answers for, the place and where its first piece is."""
        words = _words(x)
        cut = processor.windows(words, self.max_length, self.overlap)
        best: dict[int, tuple[int, int, int]] = {}
        for window, (ids, word_of) in enumerate(cut):
            for at, word in enumerate(word_of):
                if word is not None and (at == 0 or word_of[at - 1] != word):
                    around = min(at, len(ids) - 1 - at)
                    if word not in best or around > best[word][0]:
                        best[word] = (around, window, at)
        made = []
        for window, (ids, _) in enumerate(cut):
            array = np.array(ids or [processor.pad_id], dtype=np.int64)
            note = [(word, at) for word, (_, where, at) in sorted(best.items()) if where == window]
            made.append(Example({"input_ids": array, "attention_mask": np.ones_like(array)}, note=note))
        return made

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Processor) -> Answer:
        words = _words(x)
        tags, sure = [entities.OUTSIDE] * len(words), [0.0] * len(words)
        for example, output in zip(examples, outputs, strict=True):
            scores = np.asarray(output["logits"], dtype=np.float64)
            powers = np.exp(scores - scores.max(-1, keepdims=True))
            shares = powers / powers.sum(-1, keepdims=True)
            if not np.isfinite(shares).all():
                raise DataError("the model's scores are not finite numbers", do="train it again with a lower lr")
            for word, at in example.note:
                tags[word] = self.labels[int(shares[at].argmax())]
                sure[word] = float(shares[at].max())
        return entities.answer(x, words, tags, sure)

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Sentences in which a name of a person or a place follows a word that gives it away."""
        names = {"PER": ["amber", "basil", "heron", "pearl"], "LOC": ["delta", "fjord", "grove", "karst"]}
        rows = []
        for k in range(n):
            kind = ("PER", "LOC")[k % 2]
            first, second = names[kind][k // 2 % 4], names[kind][(k // 2 + 1) % 4]
            lead = ["it", "was"] + (["mister"] if kind == "PER" else ["in"])
            words = [*lead, first, second, "then", *["and"] * (k % 3)]
            tags = ["O"] * 3 + [f"B-{kind}", f"I-{kind}"] + ["O"] * (1 + k % 3)
            rows.append({self.tokens or "tokens": words, self.tags or "tags": tags})
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        return entities.distance(a, b)

    def material(self, row: Mapping[str, Any]) -> Any:
        return " ".join(self.ask(row))

    def from_json(self, value: Any) -> Any:
        _words(value)
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

    def answer_schema(self) -> dict[str, Any]:
        return entities.SCHEMA


def _words(x: Any) -> list[str]:
    """The words of an input. Raises DataError for what is neither a text nor a list of words."""
    if isinstance(x, str):
        return entities.words(x)[0]
    if isinstance(x, Sequence) and not isinstance(x, bytes) and all(isinstance(word, str) for word in x):
        return list(x)
    raise DataError(f"an input is a text or a list of words, not {type(x).__name__}")
