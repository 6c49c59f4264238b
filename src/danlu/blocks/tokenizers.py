"""Make tokenizers with the library of that name, so that the same texts always give the same file.

The library numbers what it finds in the order of a hash table that is another in every process. Its trainer of joined
pairs is used where this does no harm: every letter is known beforehand and has one form. Words are counted here, while
the texts go by, so that memory holds the words and never the texts.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, ClassVar

from pydantic import Field
from tokenizers import Tokenizer as Made
from tokenizers import models, processors, trainers

from danlu.blocks.tokens import TextProcessor, storable
from danlu.core.errors import DataError
from danlu.fresh import SpecialTokens, Tokenizer

DEFAULT = 8000
"""Ids, where a recipe names no size."""
LONGEST = 100
"""Characters; what is longer is cut before it is learnt from."""
MOST_WORDS = 2_000_000
"""Different words that are counted at once, some 300 MB; beyond, the rarest are forgotten."""
_LEAST = 2
"""How often a pair must occur to be joined."""
_SLICE = 100_000
"""Characters of a text that are cut into words at once."""


class LearntTokenizer(Tokenizer):
    """A tokenizer whose vocabulary is learnt from the texts. Derive from it, and write `train`."""

    main: ClassVar[str] = "size"

    size: int | None = Field(default=None, ge=16, le=1_000_000)
    """How many ids it has, special ones included; the texts must hold that many. Unless given, 8,000 or as many as
    there are."""

    @abstractmethod
    def train(self, texts: Iterable[str], special: SpecialTokens, size: int, most: int) -> TextProcessor:
        """The processor with at most `size` ids."""

    def learn(self, texts: Iterable[str], special: SpecialTokens, most: int) -> TextProcessor:
        least = len(special.tokens)
        if self.size is not None and self.size <= least:
            what = f"{self.size} ids have no room for a text: {least} are special tokens"
            raise DataError(what, where="size", do=f"size={least + 1000}")
        found = self.train(texts, special, self.size or DEFAULT, most)
        if self.size is not None and found.size < self.size:
            what = f"the texts give {found.size:,} ids, {self.size:,} are asked for"
            raise DataError(what, where="size", do=f"size={found.size}, or give more text, or leave the size out")
        return found


def count_words(texts: Iterable[str], normalizer: Any, cutter: Any) -> Counter[str]:
    """How often each word occurs, as normalizer and cutter make them; long ones in parts. Raises DataError for none.

    With more than `MOST_WORDS` different ones those that were rarest so far are forgotten (Manku and Motwani, 2002).
    """
    words, least = Counter[str](), 1
    for text in _slices(texts):
        cut = cutter.pre_tokenize_str(normalizer.normalize_str(text) if normalizer else text)
        words.update(part for word, _ in cut for part in _parts(word))
        while len(words) > MOST_WORDS:
            words, least = Counter({word: n for word, n in words.items() if n > least}), least + 1
    if not words:
        raise DataError("there is no word to learn pieces from", do="give training rows with text")
    return words


def _slices(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        plain = storable(text)
        yield from (plain[begin : begin + _SLICE] for begin in range(0, len(plain), _SLICE))


def _parts(word: str) -> Sequence[str]:
    return (word,) if len(word) <= LONGEST else [word[k : k + LONGEST] for k in range(0, len(word), LONGEST)]


def join_pairs(words: Mapping[str, int], size: int, special: Sequence[str] = (), letters: Sequence[str] = ()) -> Made:
    """A model of at most `size` ids: special tokens, letters, then the commonest neighbours joined, again and again.

    Byte-pair encoding (Sennrich et al., 2016). `letters` are there even where no word has them.
    """
    made = Made(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=_LEAST,
        show_progress=False,
        special_tokens=list(special),
        initial_alphabet=list(letters),
    )
    every = chain.from_iterable(repeat(word, count) for word, count in words.items())
    made.train_from_iterator(every, trainer)
    return made


def joined(words: Mapping[str, int], size: int) -> list[str]:
    """What `join_pairs` joins, in that order."""
    merges = json.loads(join_pairs(words, size).to_str())["model"]["merges"]
    return ["".join(pair) for pair in merges]


def processor(made: Made, special: SpecialTokens, most: int, *, kind: str = "", **settings: Any) -> TextProcessor:
    """The processor of a tokenizer whose model knows the special tokens; adds the template around a text.

    `kind` is the class of the transformers library that reads it, the one for every tokenizer unless given.
    """
    ids = [(token, made.token_to_id(token)) for token in special.tokens]
    made.post_processor = processors.TemplateProcessing(single=special.single, pair=special.pair, special_tokens=ids)
    made.add_special_tokens(list(special.tokens))
    names = {f"{role}_token": token for role, token in special.roles.items()}
    config = {**names, "tokenizer_class": kind or "PreTrainedTokenizerFast", **settings}
    if special.more:
        config["additional_special_tokens"] = list(special.more)
    files = {"tokenizer.json": made.to_str().encode(), "tokenizer_config.json": json.dumps(config).encode()}
    return TextProcessor(files, most)
