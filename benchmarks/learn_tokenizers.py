"""How long a tokenizer is learnt, beside the trainer of the library `tokenizers`, on the same texts and one thread.

python benchmarks/learn_tokenizers.py shakespeare 16000
python benchmarks/learn_tokenizers.py chinese-reviews 8000
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from danlu.blocks.special_tokens import BERT
from danlu.core import assets, plugin


def texts_of(name: str) -> list[str]:
    """The lines of all text files of an asset."""
    files = sorted(path for path in assets.resolve(f"asset:{name}").rglob("*") if path.suffix in (".md", ".txt"))
    return [line for path in files for line in path.read_text("utf-8", errors="replace").splitlines()]


def library(kind: str, texts: list[str], size: int) -> Tokenizer:
    """What its own trainer learns."""
    if kind == "unigram":
        made = Tokenizer(models.Unigram())
        made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        trainer: Any = trainers.UnigramTrainer(vocab_size=size, show_progress=False, unk_token="<unk>")
    elif kind == "bpe":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=letters)
    else:
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=size, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return made


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """How long the processor was at it."""
    begin = time.process_time()
    made = action()
    return time.process_time() - begin, made


def main() -> None:
    name, size = sys.argv[1], int(sys.argv[2])
    texts = texts_of(name)
    print(f"{name}: {len(texts):,} lines, {sum(len(text.encode()) for text in texts) / 1e6:.1f} MB, {size:,} ids")
    for kind in ("wordpiece", "bpe", "unigram"):
        chosen = plugin.load("tokenizers", kind)()
        ours, made = seconds(lambda chosen=chosen: chosen.train(iter(texts), BERT, size, 512))
        theirs, other = seconds(lambda kind=kind: library(kind, texts, size))
        told = f"ours {ours:6.1f} s, {made.size:,} ids; library {theirs:6.1f} s, {other.get_vocab_size():,} ids"
        print(f"{kind:10} {told}", flush=True)


if __name__ == "__main__":
    main()
