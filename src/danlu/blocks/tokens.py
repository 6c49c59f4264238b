"""Text to token ids, by the `tokenizers` library alone: neither transformers nor torch is needed to ask a model.

The processor keeps the files it was read from and writes them again, so that plain transformers, given the folder of a
model, cuts a text into the same tokens.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from danlu.blocks import word_pieces
from danlu.blocks.known_words import KnownWords
from danlu.blocks.portable import Piece, piece
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

_TOKENIZER, _CONFIG = "tokenizer.json", "tokenizer_config.json"
_KEPT = (
    "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "chat_template.jinja",
)  # fmt: skip
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_UNLIMITED = 1_000_000
_MOST_CHARACTERS_A_TOKEN = 1000
_CONVERT = (
    "write one with: python -c 'import transformers as t; "
    't.AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")\''
)


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
        config = json.loads(files.get(_CONFIG, b"{}"))
        self.pad = {"input_ids": self._padding(config), "attention_mask": 0, "token_type_ids": 0}
        self._typed = any(self._whole.encode("a b").type_ids)  # a model takes zeros for types that are not given
        self._words = None if self._typed else KnownWords.of(self._whole)

    @classmethod
    def learn(cls, texts: Iterable[str], size: int, most: int) -> Self:
        """Word pieces in lower case, as BERT has them, learnt from texts; at most `size` ids. Raises DataError."""
        normalizer, cutter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        words = Counter[str]()
        for text in texts:
            words.update(w for w, _ in cutter.pre_tokenize_str(normalizer.normalize_str(_storable(text))))
        if not words:
            raise DataError("there is no word to learn pieces from", do="give training rows with text")
        pieces = [*_SPECIAL, *word_pieces.learn(words, size - len(_SPECIAL))]
        ids = {piece: place for place, piece in enumerate(pieces)}
        made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=word_pieces.LONGEST))  # noqa: S106
        made.normalizer, made.pre_tokenizer = normalizer, cutter
        ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
        made.add_special_tokens(list(_SPECIAL))
        names = {f"{token[1:-1].lower()}_token": token for token in _SPECIAL}
        config = {**names, "tokenizer_class": "BertTokenizer", "do_lower_case": True}
        return cls({_TOKENIZER: made.to_str().encode(), _CONFIG: json.dumps(config).encode()}, most)

    def _padding(self, config: Mapping[str, Any]) -> int:
        token = config.get("pad_token")
        content = token.get("content") if isinstance(token, dict) else token
        known = self._whole.token_to_id(content) if content else None
        return known or 0

    @property
    def size(self) -> int:
        """How many ids there are."""
        return int(self._whole.get_vocab_size())

    @property
    def pad_id(self) -> int:
        """The id that fills up a shorter text."""
        return self.pad["input_ids"]

    def inputs(self, x: str, limit: int | None = None) -> dict[str, Any]:
        """`input_ids` and `attention_mask` of a text, int64 [tokens]; `token_type_ids` where they are not all zero.

        A text is cut to `limit` tokens, special ones included, and to what the model can take. A lone surrogate, which
        no file can hold, becomes U+FFFD.
        """
        most = min(limit or _UNLIMITED, self.most or _UNLIMITED)
        text = _storable(x[: most * _MOST_CHARACTERS_A_TOKEN])
        if self._words is not None and (known := self._words.ids(text, most)) is not None:
            return {"input_ids": known, "attention_mask": np.ones_like(known)}
        encoding = self._cutter(most).encode(text)
        ids = np.array(encoding.ids or [self.pad_id], dtype=np.int64)  # no model takes nothing at all
        arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if self._typed:
            arrays["token_type_ids"] = np.array(encoding.type_ids or [0], dtype=np.int64)
        return arrays

    def length(self, x: str) -> int:
        """How many tokens a text has before anything is cut, special ones included."""
        return len(self._whole.encode(_storable(x)).ids)

    def _cutter(self, most: int) -> Tokenizer:
        """The tokenizer that cuts at `most`; one for each length, since cutting is a state of a tokenizer."""
        if most not in self._cut:
            tokenizer = Tokenizer.from_str(self._whole.to_str())
            if most < _UNLIMITED:
                tokenizer.enable_truncation(most)
            self._cut[most] = tokenizer
        return self._cut[most]

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


def _storable(text: str) -> str:
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
