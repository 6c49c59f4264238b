"""Questions about texts in which names are marked, with their answers: composed by templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from danlu.blocks.entities import Span, spans
from danlu.blocks.tables import check_columns
from danlu.contracts import Source
from danlu.core.errors import DataError

_ASKED = {"PER": "Who", "LOC": "Which place", "ORG": "Which organisation"}
_TEMPLATE = "{asked} is named together with {clues}?"
_SCHEMA = pa.schema({
    "question": pa.string(), "context": pa.string(),
    "answers": pa.struct({"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int64())}),
    "document": pa.int64(),
})  # fmt: skip


class Questions(Source):
    """Makes reading comprehension out of another source's sentences, whose words have tags (`B-PER`, `O`, …).

    So many sentences in their order are a context. The rule: of a sentence its rarest words are told, and what is asked
    is the one name of a kind that stands in the same sentence. With `unanswerable` some questions ask instead for a
    kind that the sentence has none of, though another sentence of the context has. A question is left out where more
    than one sentence of its context has all the words. People ask otherwise: what is measured on such rows says how
    well a model finds what it was told of, and nothing about questions in other words. The draw is a function of `seed`
    and the rows; all of them are held in memory.
    """

    source: Source
    """Where the sentences come from."""
    tokens: str = "tokens"
    """The column of the words, lists of text."""
    tags: str = "tags"
    """The column of their tags."""
    sentences: int = Field(default=4, ge=1, le=1000)
    """How many sentences are a context."""
    each: int = Field(default=2, ge=1, le=100)
    """How many questions are asked about a context, at most one about a sentence."""
    clues: int = Field(default=2, ge=1, le=8)
    """How many words of the sentence a question tells."""
    run: int = Field(default=1, ge=1, le=8)
    """How many tokens a clue has; where a token is a Chinese character, 3 or more are a word."""
    between: str = " "
    """What stands between two tokens; nothing in Chinese."""
    comma: str = " and "
    """What stands between two clues."""
    template: str = _TEMPLATE
    """How a question is worded: `{asked}` is what `asked` says of the kind, `{clues}` are the words."""
    asked: dict[str, str] = Field(default=_ASKED)
    """Kind of name → how it is asked for; other kinds are not asked for."""
    unanswerable: float = Field(default=0.2, ge=0, lt=1)
    """The share of tries that ask for what is not there; of the questions that come of them a few more."""
    seed: int = Field(default=0, ge=0)
    """Another seed asks others."""

    @field_validator("template")
    @classmethod
    def _whole(cls, template: str) -> str:
        if not all(f"{{{name}}}" in template for name in ("asked", "clues")):
            raise ValueError("must hold {asked} and {clues}")
        return template

    def splits(self) -> tuple[str, ...]:
        return self.source.splits()

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        table = pa.Table.from_batches(list(self.source.rows(split)))
        check_columns(table, [self.tokens, self.tags], option="source.questions")
        listed = zip(table.column(self.tokens).to_pylist(), table.column(self.tags).to_pylist(), strict=True)
        said = [_Sentence.of(tokens, tags) for tokens, tags in listed if tokens]
        counts = Counter(clue for one in said for clue in {self._text(one, at) for at in one.runs(self.run)})
        rng = np.random.default_rng([self.seed, len(said)])
        rows = [
            row
            for number, first in enumerate(range(0, len(said), self.sentences))
            for row in self._about(said[first : first + self.sentences], number, counts, rng)
        ]
        if not rows:
            what = f"no question can be made of {len(said):,} sentences"
            raise DataError(what, do="raise source.questions.sentences, or name the kinds in source.questions.asked")
        yield from pa.Table.from_pylist(rows, _SCHEMA).to_batches()

    def fingerprint(self) -> str | None:
        return self.source.fingerprint()

    def _about(
        self, context: Sequence[_Sentence], number: int, counts: Mapping[str, int], rng: np.random.Generator
    ) -> Iterator[dict[str, Any]]:
        """The questions about a context; a sentence about which none can be asked is passed over."""
        texts = [self.between.join(one.tokens) for one in context]
        whole, made = self.between.join(texts), 0
        for place in rng.permutation(len(context)).tolist():
            if made == self.each:
                return
            names = context[place].names
            none = bool(rng.random() < self.unanswerable)
            elsewhere = {kind for k, one in enumerate(context) if k != place for kind in one.names}
            kinds = [
                k for k in self.asked if (k in elsewhere and k not in names if none else len(names.get(k, ())) == 1)
            ]
            if not kinds:
                continue
            kind = kinds[int(rng.integers(len(kinds)))]
            name = None if none else names[kind][0]
            clues = self._clues(context[place], name, counts, rng)
            if not clues or sum(all(clue in text for clue in clues) for text in texts) > 1:
                continue
            made += 1
            question = self.template.format(asked=self.asked[kind], clues=self.comma.join(clues))
            answers: dict[str, Any] = {"text": [], "answer_start": []}
            if name is not None:
                begin = sum(len(text) + len(self.between) for text in texts[:place])
                begin += sum(len(token) + len(self.between) for token in context[place].tokens[: name.start])
                text = self.between.join(context[place].tokens[name.start : name.end])
                answers = {"text": [text], "answer_start": [begin]}
            yield {"question": question, "context": whole, "answers": answers, "document": number}

    def _text(self, sentence: _Sentence, at: int) -> str:
        return self.between.join(sentence.tokens[at : at + self.run])

    def _clues(
        self, sentence: _Sentence, name: Span | None, counts: Mapping[str, int], rng: np.random.Generator
    ) -> list[str]:
        """The rarest runs of tokens outside the name, none of them twice, in an order that is drawn."""
        free = [k for k in sentence.runs(self.run) if name is None or k + self.run <= name.start or k >= name.end]
        chosen: list[int] = []
        for at in sorted(free, key=lambda k: (counts[self._text(sentence, k)], k)):
            if len(chosen) < self.clues and all(abs(at - other) >= self.run for other in chosen):
                chosen.append(at)
        texts = list(dict.fromkeys(self._text(sentence, at) for at in rng.permutation(chosen).tolist()))
        return texts if len(texts) == self.clues else []


@dataclass(frozen=True)
class _Sentence:
    tokens: Sequence[str]
    names: Mapping[str, Sequence[Span]]
    """Kind → the names of it."""

    @classmethod
    def of(cls, tokens: Sequence[str], tags: Sequence[str]) -> _Sentence:
        names: dict[str, list[Span]] = {}
        for span in spans(tags):
            names.setdefault(span.kind, []).append(span)
        return cls(tokens, names)

    def runs(self, size: int) -> list[int]:
        """Where runs of so many tokens begin that are words alone."""
        words = [token.isalpha() for token in self.tokens]
        return [k for k in range(len(words) - size + 1) if all(words[k : k + size])]
