"""Every character is a token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from danlu.blocks.tokenizers import LearntTokenizer, count_words, processor
from danlu.blocks.tokens import TextProcessor
from danlu.fresh import SpecialTokens


class Character(LearntTokenizer):
    """For Chinese poetry, say, or for small corpora; the commonest characters are kept, others are unknown."""

    def train(self, texts: Iterable[str], special: SpecialTokens, size: int, most: int) -> TextProcessor:
        normalizer, cutter = normalizers.NFC(), pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        counts: Counter[str] = count_words(texts, normalizer, cutter)
        commonest = sorted(counts, key=lambda letter: (-counts[letter], letter))
        tokens = dict.fromkeys([*special.tokens, *commonest[: size - len(special.tokens)]])
        ids = {token: place for place, token in enumerate(tokens)}
        made = Tokenizer(models.WordLevel(ids, unk_token=special.roles["unk"]))
        made.normalizer, made.pre_tokenizer, made.decoder = normalizer, cutter, decoders.Fuse()
        return processor(made, special, most)
