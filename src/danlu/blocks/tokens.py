"""Text to token ids, by the `tokenizers` library alone: neither transformers nor torch is needed to ask a model.

The processor keeps the files it was read from and writes them again, so that plain transformers, given the folder of a
model, cuts a text into the same tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from tokenizers import Tokenizer

from danlu.blocks.known_words import KnownWords
from danlu.blocks.portable import Piece, piece
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_TOKENIZER, _CONFIG, _TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_KEPT = ("special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", _TEMPLATE)
_UNLIMITED = 1_000_000
INSIDE = "##"
"""How a word piece begins that does not begin a word."""
_SPACE = ("Ġ", "▁")
"""How a byte-level and a SentencePiece token begin that begin a word."""
_MOST_CHARACTERS_A_TOKEN = 1000
_CONVERT = (
    "write one with: python -c 'import transformers as t; "
    't.AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")\''
)


@dataclass(frozen=True)
class Placed:
    """The tokens of two texts: `ids` [tokens], `of` which text each is (0, 1; -1 for a special one), `places`
    [tokens, 2], its first character there and the one after its last; `types` [tokens] where a model wants them."""

    ids: Ids
    of: Ids
    places: Ids
    types: Ids | None


class TextProcessor:
    """A tokenizer with the special tokens, padding and greatest length its model was trained with."""

    def __init__(self, files: Mapping[str, bytes], most: int | None, where: str = "") -> None:
        """`files` are those of a tokenizer by name; `most` is the greatest number of tokens its model can take."""
        self._files, self.most = dict(files), most
        try:
            self._whole = Tokenizer.from_buffer(files[_TOKENIZER])
        except Exception as error:  # the library raises plain Exception
            raise DataError(f"the tokenizer can't be read: {error}", where=where) from error
        self._whole.no_padding()
        self._whole.no_truncation()
        self._cut: dict[int, Tokenizer] = {}
        self._windowed: dict[tuple[int, int], Tokenizer] = {}
        self.pad = {"input_ids": self.special("pad_token") or 0, "attention_mask": 0, "token_type_ids": 0}
        self._typed = any(self._whole.encode("a b").type_ids)  # a model takes zeros for types that are not given
        self.words = None if self._typed else KnownWords.of(self._whole)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._files, self.most)  # words that were met are not worth their way to another process

    @property
    def size(self) -> int:
        """How many ids there are."""
        return int(self._whole.get_vocab_size())

    @property
    def pad_id(self) -> int:
        """The id that fills up a shorter text."""
        return self.pad["input_ids"]

    def inputs(self, x: str | tuple[str, str], limit: int | None = None) -> dict[str, Any]:
        """`input_ids` and `attention_mask` of a text or of two, int64 [tokens]; `token_type_ids` where not all zero.

        They are cut to `limit` tokens, special ones included, and to what the model can take; of two texts the longer
        one is cut first. A lone surrogate, which no file can hold, becomes U+FFFD.
        """
        most = self.most_of(limit)
        texts = [storable(text[: self.longest(most)]) for text in _as_texts(x)]
        if self.words is not None and len(texts) == 1 and (known := self.words.ids(texts[0], most)) is not None:
            return {"input_ids": known, "attention_mask": np.ones_like(known)}
        encoding = self._cutter(most).encode(texts[0], texts[1] if len(texts) > 1 else None)
        ids = np.array(encoding.ids or [self.pad_id], dtype=np.int64)  # no model takes nothing at all
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if self._typed or any(encoding.type_ids):
            arrays["token_type_ids"] = np.array(encoding.type_ids or [0], dtype=np.int64)
        return arrays

    def stretches(self, x: str | tuple[str, str], limit: int) -> list[tuple[int, int, int] | None]:
        """For every id that `inputs` gives under this limit: of which text it is, its begin and its end in characters;
        None for a special one."""
        most = self.most_of(limit)
        first, *second = (storable(text[: self.longest(most)]) for text in _as_texts(x))
        found = self._cutter(most).encode(first, second[0] if second else None)
        of = zip(found.sequence_ids, found.offsets, found.special_tokens_mask, strict=True)
        return [None if which is None or special else (which, *place) for which, place, special in of]

    def most_of(self, limit: int | None) -> int:
        """The number of tokens that a text is cut to, under a limit of a task's."""
        return min(limit or _UNLIMITED, self.most or _UNLIMITED)

    def longest(self, most: int) -> int:
        """The number of characters beyond which a text is not looked at, where it is cut to so many tokens."""
        return most * _MOST_CHARACTERS_A_TOKEN

    def length(self, x: str) -> int:
        """How many tokens a text has before anything is cut, special ones included."""
        return len(self._whole.encode(storable(x)).ids)

    # ---- for language models ----------------------------------------------------------------------------------------

    def cut(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """The ids of each text, whole, special ones included; by as many threads as the library takes."""
        return [e.ids for e in self._whole.encode_batch_fast([storable(text) for text in texts])]

    def ids(self, text: str) -> list[int]:
        """The ids of a text without special ones at its ends; those that are written in it are found."""
        return list(self._whole.encode(storable(text), add_special_tokens=False).ids)

    def windows(self, words: Sequence[str], limit: int, overlap: int) -> list[tuple[list[int], list[int | None]]]:
        """Words in windows of at most `limit` ids that overlap by `overlap`, each with its special tokens.

        Each is the ids, and for every id the place of its word, None for a special one.
        """
        most = min(limit, self.most or limit)
        if (most, overlap) not in self._windowed:
            cutter = Tokenizer.from_str(self._whole.to_str())
            special = len(cutter.encode("").ids)
            cutter.enable_truncation(most, stride=max(0, min(overlap, most - special - 1)))
            self._windowed[most, overlap] = cutter
        first = self._windowed[most, overlap].encode([storable(word) or " " for word in words], is_pretokenized=True)
        return [(list(one.ids), list(one.word_ids)) for one in (first, *first.overflowing)]

    def placed(self, first: str, second: str) -> Placed:
        """Two texts whole, as one pass of a model would take them, and where each of their tokens stands."""
        found = self._whole.encode(storable(first), storable(second))
        of = [-1 if which is None else which for which in found.sequence_ids]
        ids, which, places, types = (
            np.array(part, dtype=np.int64) for part in (found.ids, of, found.offsets, found.type_ids)
        )
        return Placed(ids, which, places, types if self._typed or types.any() else None)

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, without special ones."""
        return str(self._whole.decode(list(ids)))

    def special(self, name: str) -> int | None:
        """The id of a special token, such as `mask_token` or `eos_token`; None where the tokenizer names none."""
        token = json.loads(self._files.get(_CONFIG, b"{}")).get(name)
        content = token.get("content") if isinstance(token, dict) else token
        return self._whole.token_to_id(content) if content else None

    def chat_template(self) -> str | None:
        """The Jinja template by which conversations become texts; None where the tokenizer has none."""
        if _TEMPLATE in self._files:
            return self._files[_TEMPLATE].decode("utf-8")
        told = json.loads(self._files.get(_CONFIG, b"{}")).get("chat_template")
        if isinstance(told, list):  # several, by name
            told = next((one.get("template") for one in told if one.get("name") == "default"), None)
        return told if isinstance(told, str) else None

    def specials(self) -> frozenset[int]:
        """The ids of all special tokens."""
        added = self._whole.get_added_tokens_decoder()
        return frozenset(place for place, token in added.items() if token.special)

    def token(self, place: int) -> str:
        """How a token is written in the vocabulary."""
        return str(self._whole.id_to_token(place))

    def begins_words(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For every id whether it begins a word: it does not go on where another ended."""
        names = [self.token(place) for place in range(self.size)]
        if any(name.startswith(INSIDE) for name in names):
            return np.array([not name.startswith(INSIDE) for name in names])
        if any(name.startswith(_SPACE) for name in names):
            return np.array([name.startswith(_SPACE) for name in names])
        return np.ones(len(names), dtype=bool)

    def digest(self) -> str:
        """SHA-256 of its files: equal tokenizers have the same."""
        whole = b"\0".join(name.encode() + b"\0" + data for name, data in sorted(self._files.items()))
        return hashlib.sha256(whole).hexdigest()

    def _cutter(self, most: int) -> Tokenizer:
        """The tokenizer that cuts at `most`; one for each length, since cutting is a state of a tokenizer."""
        if most not in self._cut:
            tokenizer = Tokenizer.from_str(self._whole.to_str())
            if most < _UNLIMITED:
                tokenizer.enable_truncation(most)
            self._cut[most] = tokenizer
        return self._cut[most]

    def cut_at(self, most: int) -> Self:
        """The same tokenizer for a model that takes at most `most` tokens."""
        return type(self)(self._files, most)

    def portable(self) -> Piece:
        """How an exported script cuts a text into the same tokens."""
        settings = {"most": self.most, "pad_id": self.pad_id, "typed": self._typed}
        return Piece((piece("tokens"),), settings, needs=("tokenizers",), files=(_TOKENIZER,))

    def save(self, folder: Path) -> None:
        """The files it was read from, and the greatest length among the settings."""
        for name, data in self._files.items():
            write_atomic(folder / name, data)
        config = json.loads(self._files.get(_CONFIG, b"{}"))
        config.pop("auto_map", None)  # it names code to run
        if self.most is not None:
            config["model_max_length"] = self.most
        write_atomic(folder / _CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From a model's folder. Raises DataError when it holds no `tokenizer.json` or a broken one."""
        if not (folder / _TOKENIZER).is_file():
            do = _CONVERT.format(folder=folder)
            raise DataError(f"there is no {_TOKENIZER}, so no text can be read", where=str(folder), do=do)
        names = (_TOKENIZER, _CONFIG, *_KEPT)
        files = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
        try:
            most = _most(json.loads(files.get(_CONFIG, b"{}")), folder / "config.json")
        except (ValueError, AttributeError) as error:
            raise DataError(f"the settings of the tokenizer can't be read: {error}", where=str(folder)) from error
        return cls(files, most, str(folder))


def storable(text: str) -> str:
    """The text as a file can hold it: half a surrogate pair becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _most(config: Mapping[str, Any], model: Path) -> int | None:
    """The greatest number of tokens, by the tokenizer's settings, else by the model's, else None."""
    given = config.get("model_max_length")
    if isinstance(given, int | float) and given < _UNLIMITED:
        return int(given)
    positions = json.loads(model.read_bytes()).get("max_position_embeddings") if model.is_file() else None
    return positions - 2 if isinstance(positions, int) else None  # RoBERTa's positions begin at 2


def _as_texts(x: str | tuple[str, str]) -> tuple[str, ...]:
    return (x,) if isinstance(x, str) else x
