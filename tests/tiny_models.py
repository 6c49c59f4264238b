"""Tiny models with random weights, for tests that need a real library's folder."""

from __future__ import annotations

import json
from pathlib import Path

from danlu.plugins.tasks.text_classification import TextClassification

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words_of_the_sample() -> list[str]:
    task = TextClassification(labels=tuple(map(str, range(16))))
    return sorted({word for row in task.sample(400) for word in row["text"].split()})


def write_tokenizer(folder: Path) -> int:
    """A lower-casing WordPiece tokenizer of words, letters and two Chinese characters; gives how many ids it has."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [
        *SPECIAL,
        *words_of_the_sample(),
        *letters,
        *(f"##{letter}" for letter in letters),
        *"0123456789.,!?好坏",
    ]
    ids = {token: place for place, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.enable_padding(length=8)  # as some folders have it; a processor must not obey it
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    settings = {**names, "tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
    return len(vocabulary)


def write_tiny_bert(folder: Path, *, seed: int = 0) -> Path:
    """A BERT of two layers and width 32 without a pooler, its weights drawn from `seed`, and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)  # so that texts give answers that differ
    model.save_pretrained(folder)
    return folder


def write_tiny_language_model(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """One of width 32 that fills gaps (`bert`) or goes on with a text (`gpt2`), and its tokenizer."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder)
    torch.manual_seed(seed)
    if kind == "bert":
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        model = BertForMaskedLM(BertConfig(vocab_size=size, max_position_embeddings=64, **shape))
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_positions=64, n_embd=32, n_layer=2, n_head=2))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)  # so that texts give answers that differ
    model.save_pretrained(folder)
    return folder
