"""Going on with a text: tokens per second with kept keys and values, without, and of `transformers.generate`.

    python benchmarks/generate_text.py                       a small llama, 200 tokens, 1 and 8 talks at once
    python benchmarks/generate_text.py --rounds 1 --tokens 50

One process, one model with random weights, the likeliest token each time; the three take turns. The talks begin with
texts of different length. All must write the same tokens, or it ends with an error; where two tokens are as likely
within 1e-4, which numbers computed in another order decide, the place is told and the rest is not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any, ClassVar

os.environ.update(HF_HUB_OFFLINE="1", OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
import transformers

from danlu.blocks import hf
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Head
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.predictor import Predictor

VOCABULARY = 8_000


class Words:
    """A stand-in for a tokenizer: a text is ids with spaces between them; no token ends it."""

    size, pad_id, most = VOCABULARY, 0, None
    pad: ClassVar[dict[str, int]] = {"input_ids": 0, "attention_mask": 0}

    def special(self, name: str) -> int | None:
        return None

    def cut(self, texts: list[str]) -> list[list[int]]:
        return [self.ids(text) for text in texts]

    def ids(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def text(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def model(size: str) -> tuple[Any, Any]:
    """Ours and the library's own class, with the same weights."""
    torch.manual_seed(0)
    stand_in: Any = Words()
    settings = Llama(size=size, positions=1024).settings(stand_in)  # type: ignore[arg-type]
    ours: Any = hf.from_scratch("llama", Head("next"), 0, vocab_size=VOCABULARY, **settings).eval()
    with torch.no_grad():
        for weight in ours.parameters():
            weight += 0.1 * torch.randn_like(weight)  # so that no two tokens are as likely
    config = transformers.LlamaConfig(vocab_size=VOCABULARY, pad_token_id=0, **settings)
    theirs: Any = transformers.LlamaForCausalLM(config).eval()
    theirs.load_state_dict(ours.state_dict())
    theirs.generation_config.eos_token_id = None
    return ours, theirs


def danlu_side(module: Any, begun: list[list[int]], tokens: int, *, keeps: bool) -> list[list[int]]:
    words: Any = Words()
    backbone = Llama() if keeps else None
    predictor = Predictor(TorchForm(module, backbone), CausalLm(most=tokens, temperature=0), words)
    answers = predictor([words.text(ids) for ids in begun])
    return [words.ids(answer["text"]) for answer in answers]


def hf_side(module: Any, begun: list[list[int]], tokens: int) -> list[list[int]]:
    longest = max(map(len, begun))
    ids = torch.tensor([[0] * (longest - len(one)) + one for one in begun])  # the library wants them padded in front
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in begun])
    with torch.inference_mode():
        written = module.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens, use_cache=True)
    return [[int(t) for t in one] for one in written[:, longest:]]


def differs(module: Any, begun: list[int], one: list[int], other: list[int]) -> float | None:
    """How far the two tokens lie apart in likelihood where the texts part; None where they never do."""
    place = next((k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)
    if place is None:
        return None
    with torch.inference_mode():
        scores = module(torch.tensor([begun + one[:place]])).logits[0, -1].log_softmax(-1)
    return abs(float(scores[one[place]] - scores[other[place]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "mini", "small", "medium", "base"), default="small")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ours, theirs = model(given.size)
    rng = np.random.default_rng(0)
    for talks in (1, 8):
        begun = [[int(t) for t in rng.integers(1, VOCABULARY, 6 + 3 * k)] for k in range(talks)]
        sides = {
            "kept": lambda begun=begun: danlu_side(ours, begun, given.tokens, keeps=True),
            "generate": lambda begun=begun: hf_side(theirs, begun, given.tokens),
            "recomputed": lambda begun=begun: danlu_side(ours, begun, given.tokens, keeps=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        written: dict[str, list[list[int]]] = {}
        for _ in range(given.rounds):
            for name, side in sides.items():
                began = time.monotonic()
                written[name] = side()
                seconds[name].append(time.monotonic() - began)
        ties = 0
        for name in ("generate", "recomputed"):
            for ids, one, other in zip(begun, written["kept"], written[name], strict=True):
                gap = differs(theirs, ids, one, other)
                ties += gap is not None
                if gap is not None and gap > 1e-4:
                    raise SystemExit(f"{name} writes another text: two tokens that lie {gap:.2g} apart")
        rate = {name: round(talks * given.tokens / statistics.median(s)) for name, s in seconds.items()}
        against = {f"kept/{name}": round(rate["kept"] / rate[name], 2) for name in ("generate", "recomputed")}
        print(json.dumps({"talks": talks, "tokens_per_s": rate, **against, "ties": ties}), flush=True)


if __name__ == "__main__":
    main()
