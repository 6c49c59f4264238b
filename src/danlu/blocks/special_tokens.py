"""The special tokens of the families of models, named and ordered as each family has them."""

from __future__ import annotations

from danlu.fresh import SpecialTokens

BERT = SpecialTokens(
    {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
)
ROBERTA = SpecialTokens(
    {"bos": "<s>", "cls": "<s>", "pad": "<pad>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"},
    single="<s> $A </s>",
    pair="<s> $A </s> </s> $B </s>",
)
GPT2 = SpecialTokens({"bos": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|pad|>", "unk": "<|unk|>"}, pair="$A $B")
"""GPT-2 itself has no padding; a batch needs one."""
LLAMA = SpecialTokens(
    {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "pad": "<|pad|>", "unk": "<|unk|>"},
    single="<|begin_of_text|> $A",
    pair="<|begin_of_text|> $A $B",
)
T5 = SpecialTokens(
    {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"},
    single="$A </s>",
    pair="$A </s> $B </s>",
    more=tuple(f"<extra_id_{place}>" for place in range(100)),
)
"""The hundred others stand for the gaps that it learns to fill."""
