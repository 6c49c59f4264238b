"""Byte-level pairs joined by how often they occur, as GPT-2, RoBERTa and Llama 3 have them (Radford et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import decoders, pre_tokenizers

from danlu.blocks.tokenizers import LearntTokenizer, count_words, join_pairs, processor
from danlu.blocks.tokens import TextProcessor
from danlu.core.errors import DataError
from danlu.fresh import SpecialTokens


class Bpe(LearntTokenizer):
    """Spells any text, since it begins with the 256 bytes, and gives it back letter by letter.

    A run of Chinese characters is a word here, so characters that often stand together become one token.
    """

    def train(self, texts: Iterable[str], special: SpecialTokens, size: int, most: int) -> TextProcessor:
        cutter, letters = pre_tokenizers.ByteLevel(add_prefix_space=False), sorted(pre_tokenizers.ByteLevel.alphabet())
        least = len(special.tokens) + len(letters)
        if size < least:
            what = f"{size} ids are too few: {len(special.tokens)} special tokens and {len(letters)} bytes need {least}"
            raise DataError(what, where="size", do=f"size={least + 1000}")
        made = join_pairs(count_words(texts, None, cutter), size, special.tokens, letters)
        made.pre_tokenizer, made.decoder = cutter, decoders.ByteLevel()
        return processor(made, special, most)
