"""Going on from kept keys and values gives what reading everything again gives."""

import gc
import weakref

import numpy as np
import pytest
import torch

from danlu.blocks import hf, kv_cache
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Delta, Example, Head
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.tasks.causal_lm import CausalLm
from danlu.plugins.tokenizers.character import Character
from danlu.predictor import Predictor

KINDS = ["gpt2", "llama", "mistral", "qwen2", "qwen3"]
TEXTS = ["to be or not to be", "a rose is a rose", "the lady, the tiger and the well-known door"]
BACKBONE = Llama(tokenizer=Character(), positions=40)
PROCESSOR = BACKBONE.learn(TEXTS)
ASKED = [
    {"text": text, "most": most, "temperature": temperature}
    for text, most, temperature in [
        ("to be", 12, 0.0), ("a rose", 3, 0.0), ("t", 20, 1.0), ("the lady, the tiger", 9, 1.0), ("a", 70, 0.0),
        ("", 5, 1.0),
    ]
]  # fmt: skip
"""Of different length, one of which outgrows the positions of the model."""


def _module(kind):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    if kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40}
    else:
        sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 40, "head_dim": 8}
    sizes |= {"sliding_window": None} if kind == "mistral" else {}
    module = hf.from_scratch(kind, Head("next"), 0, vocab_size=PROCESSOR.size, **sizes)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.3 * torch.randn_like(weight)  # so that what it writes depends on what it read
    return module.eval()


@pytest.fixture(scope="module", params=KINDS)
def module(request):
    return _module(request.param)


@pytest.fixture(scope="module")
def llama():
    return _module("llama")


def _predictor(module, *, keeps=True, size=8):
    return Predictor(TorchForm(module, BACKBONE if keeps else None), CausalLm(), PROCESSOR, size)


def _example(ids, state=None, at=None):
    ids = np.array(ids)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "at": np.array(at or [len(ids) - 1])}
    return Example(inputs, keep=True, state=state)


def test_batch_stream_and_recomputed_are_the_same(module):
    recomputed = _predictor(module, keeps=False)(ASKED)
    assert len({answer["text"][:4] for answer in recomputed}) > 3
    for size in (8, 2):
        assert _predictor(module, size=size)(ASKED) == recomputed
    for asked, expected in zip(ASKED, recomputed, strict=True):
        *pieces, last = _predictor(module).stream(asked)
        assert "".join(pieces) == expected["text"]
        assert all(isinstance(piece, Delta) for piece in pieces)
        assert last == ("answer", expected)


def test_the_library_writes_the_same(module):
    own = type(module).__mro__[2](module.config)
    own.load_state_dict(module.state_dict())
    [begun] = PROCESSOR.cut(["the lady"])
    end = PROCESSOR.special("eos_token")
    theirs = own.eval().generate(
        torch.tensor([begun]), attention_mask=torch.ones(1, len(begun)), do_sample=False, max_new_tokens=20,
        eos_token_id=end, use_cache=True,
    )[0].tolist()  # fmt: skip
    (ours,) = _predictor(module)([{"text": "the lady", "most": 20, "temperature": 0}])
    assert ours["text"] == PROCESSOR.text(theirs)[len("the lady") :]
    assert ours["tokens"] == len(theirs) - len(begun) - (theirs[-1] == end)


@torch.inference_mode()
def test_a_state_stays_what_it_was_whoever_goes_on_from_it(module):
    ((_, past),) = kv_cache.resume(module, [_example([5, 6, 7])])
    whole = [[5, 6, 7, 8], [5, 6, 7, 9], [5, 6, 7, 8, 9, 10], [5, 6, 9, 9]]  # the last does not go on from it
    plain = [kv_cache.resume(module, [_example(ids)])[0][0]["logits"] for ids in whole]
    for _ in range(2):
        for ids, expected in zip(whole, plain, strict=True):
            found = kv_cache.resume(module, [_example(ids, past)])[0][0]["logits"]
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    together = kv_cache.resume(module, [_example(ids, past) for ids in whole])
    for (found, _), expected in zip(together, plain, strict=True):
        np.testing.assert_allclose(found["logits"], expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_talks_of_any_length_come_and_go(module, monkeypatch):
    monkeypatch.setattr(kv_cache, "_ROOM", 2)  # shelves grow all the time
    monkeypatch.setattr(kv_cache, "_TOKENS_AT_ONCE", 12)
    rng = np.random.default_rng(0)
    talks = {k: ([int(t) for t in rng.integers(3, PROCESSOR.size, 1 + k)], None) for k in range(6)}
    for step in range(12):
        going = [k for k in talks if k <= step and rng.random() < 0.8]
        if not going:
            continue
        answered = kv_cache.resume(module, [_example(*talks[k]) for k in going])
        for k, (outputs, state) in zip(going, answered, strict=True):
            ids = talks[k][0]
            expected = module(torch.tensor([ids]), at=torch.tensor([[len(ids) - 1]]))["logits"][0]
            np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5, rtol=1e-5)
            more = [int(t) for t in rng.integers(3, PROCESSOR.size, 1 + (step + k) % 3)]
            talks[k] = (ids + more, state)


@torch.inference_mode()
def test_only_what_is_new_is_read_and_in_place(llama, monkeypatch):
    read = []
    go_on = type(llama).go_on
    monkeypatch.setattr(
        type(llama), "go_on", lambda self, ids, *a: read.append(tuple(ids.shape)) or go_on(self, ids, *a)
    )
    assert len(_predictor(llama)([{"text": text, "most": 4, "temperature": 0} for text in ("to", "a ro", "lady")])) == 3
    assert read[0] == (3, 5)
    assert {width for _, width in read[1:]} == {1}
    first, second = (_example(ids) for ids in ([5, 6, 7], [5, 6]))
    (_, a), (_, b) = kv_cache.resume(llama, [first, second])
    (_, c), (_, d) = kv_cache.resume(llama, [_example([5, 6, 7, 8], a), _example([5, 6, 9], b)])
    assert a.shelf is b.shelf is c.shelf is d.shelf


def test_who_leaves_takes_its_memory_along(llama):
    rounds = _predictor(llama).rounds()
    tickets = [rounds.join({"text": text, "most": 30, "temperature": 0})[0] for text in ("to be", "a rose is")]
    rounds.round()
    shelf = weakref.ref(rounds._talks[tickets[0]].asked[0].state.shelf)
    rounds.round()
    assert len(shelf().real) == 2
    rounds.leave(tickets[0])
    rounds.round()
    gc.collect()
    assert shelf() is None
    small = weakref.ref(rounds._talks[tickets[1]].asked[0].state.shelf)
    assert len(small().real) == 1
    rounds.leave(tickets[1])
    gc.collect()
    assert small() is None


def test_other_models_and_other_questions_are_left_to_recomputing(llama):
    settings = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sees_a_part = hf.from_scratch("mistral", Head("next"), 0, vocab_size=30, sliding_window=4, **settings)
    bert = hf.from_scratch("bert", Head("next"), 0, vocab_size=30, **settings)
    for module in (sees_a_part, bert, torch.nn.Linear(1, 1)):
        assert kv_cache.resume(module, [_example([5, 6])]) is None
    asked = _example([5, 6])
    asked.inputs = {**asked.inputs, "tokens": np.array([7])}
    assert kv_cache.resume(llama, [asked]) is None
