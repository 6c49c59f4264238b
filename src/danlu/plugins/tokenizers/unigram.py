"""Pieces of a unigram model, as SentencePiece and T5 have them (Kudo, 2018)."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from danlu.blocks import unigram
from danlu.blocks.tokenizers import LearntTokenizer, count_words, processor
from danlu.blocks.tokens import TextProcessor
from danlu.fresh import SpecialTokens


class Unigram(LearntTokenizer):
    """Cuts a text in the likeliest way, and gives it back with its spaces; needs no words, so Chinese is like English.

    It is learnt from the commonest words up to 500,000 letters.
    """

    def train(self, texts: Iterable[str], special: SpecialTokens, size: int, most: int) -> TextProcessor:
        normalizer, spaces = normalizers.NFKC(), pre_tokenizers.Metaspace()
        words = pre_tokenizers.Sequence([spaces, pre_tokenizers.Punctuation("isolated")])
        learnt = unigram.learn(count_words(texts, normalizer, words), size - len(special.tokens))
        pieces = [*((token, 0.0) for token in special.tokens), *learnt]
        made = Tokenizer(models.Unigram(pieces, special.tokens.index(special.roles["unk"]), byte_fallback=False))
        made.normalizer, made.pre_tokenizer, made.decoder = normalizer, spaces, decoders.Metaspace()
        return processor(made, special, most)
