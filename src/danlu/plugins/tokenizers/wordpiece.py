"""Word pieces, as BERT has them (Wu et al., 2016)."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from danlu.blocks import word_pieces
from danlu.blocks.tokenizers import LONGEST, LearntTokenizer, count_words, processor
from danlu.blocks.tokens import TextProcessor
from danlu.fresh import SpecialTokens


class Wordpiece(LearntTokenizer):
    """Words and parts of words; a Chinese character is a word. What it can't spell is one unknown token."""

    lowercase: bool = True
    """Whether `Word` and `word` are the same; accents go too."""

    def train(self, texts: Iterable[str], special: SpecialTokens, size: int, most: int) -> TextProcessor:
        normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        cutter = pre_tokenizers.BertPreTokenizer()
        words = count_words(texts, normalizer, cutter)
        pieces = [*special.tokens, *word_pieces.learn(words, size - len(special.tokens))]
        ids = {piece: place for place, piece in enumerate(pieces)}
        made = Tokenizer(models.WordPiece(ids, unk_token=special.roles["unk"], max_input_chars_per_word=LONGEST))
        made.normalizer, made.pre_tokenizer = normalizer, cutter
        made.decoder = decoders.WordPiece()
        kind = "BertTokenizer" if "[CLS]" in ids else ""
        return processor(made, special, most, kind=kind, do_lower_case=self.lowercase)
