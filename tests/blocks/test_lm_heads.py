import copy

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from danlu.blocks import lm_heads

_SMALL = {"vocab_size": 100, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_GPT2 = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_RATES = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "bos_token_id": 1, "eos_token_id": 2}


def _bert():
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForMaskedLM(BertConfig(hidden_size=32, **_SMALL, **rates)), False


def _llama():
    return LlamaForCausalLM(LlamaConfig(hidden_size=32, **_SMALL)), True


def _gpt2():
    return GPT2LMHeadModel(GPT2Config(**_GPT2, **_RATES)), True


def _roberta():
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return RobertaForMaskedLM(RobertaConfig(hidden_size=32, **_SMALL, **rates, pad_token_id=1)), False


def _modern():
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    return ModernBertForMaskedLM(ModernBertConfig(hidden_size=32, **_SMALL, **special)), False


@pytest.fixture(params=[_bert, _roberta, _modern, _llama, _gpt2], ids=["bert", "roberta", "modern", "llama", "gpt2"])
def pair(request):
    """The library's own model, and the same one asked where its word is wanted."""
    torch.manual_seed(0)
    own, causal = request.param()
    asked = lm_heads.ask_where(copy.deepcopy(own), causal=causal)
    return own.eval(), asked.eval()


@pytest.fixture
def ids():
    return torch.randint(5, 90, (3, 12), generator=torch.Generator().manual_seed(1))


def test_the_word_at_some_places_is_the_library_s(pair, ids):
    own, asked = pair
    at = torch.tensor([[1, 5], [2, 7], [0, 11]])
    whole = own(input_ids=ids).logits
    wanted = whole.gather(1, at[..., None].expand(-1, -1, whole.shape[-1]))
    assert torch.allclose(asked(input_ids=ids, at=at)["logits"], wanted, atol=1e-6)
    tokens = torch.tensor([[7, 8], [9, 10], [11, 12]])
    likely = wanted.log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    assert torch.allclose(asked(input_ids=ids, at=at, tokens=tokens)["log_likelihood"], likely, atol=1e-5)


def test_documents_of_a_block_do_not_see_one_another(pair, ids):
    own, asked = pair
    segments = torch.tensor([[1] * 5 + [2] * 6 + [0]])
    packed = asked(input_ids=ids[:1], segments=segments, at=torch.arange(11)[None])["logits"]
    apart = torch.cat([own(input_ids=ids[:1, :5]).logits, own(input_ids=ids[:1, 5:11]).logits], 1)
    assert torch.allclose(packed, apart, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]], ids=["alike", "weighted"])
def test_the_loss_in_chunks_has_the_gradients_of_the_whole(pair, ids, weights, monkeypatch):
    own, asked = pair
    monkeypatch.setattr(lm_heads, "_SCORES", 300)  # 3 rows at a time, 12 of gradients
    targets = torch.randint(5, 90, (3, 12), generator=torch.Generator().manual_seed(2))
    targets[0, :4] = lm_heads.IGNORED
    weights = torch.tensor(weights)
    hidden = asked.train()(input_ids=ids)
    assert "logits" not in hidden
    mine = (lm_heads.nll(hidden, targets, smoothing=0.1, z=1e-3).sum(1) * weights).sum()
    scores = own.train()(input_ids=ids).logits
    log = scores.log_softmax(-1)
    one = -0.9 * log.gather(2, targets.clamp(min=0)[..., None])[..., 0] - 0.1 * log.mean(-1)
    norm = scores.logsumexp(-1)
    plain = torch.where(targets < 0, 0.0, one + 1e-3 * norm.square())
    theirs = (plain.sum(1) * weights).sum()
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine.backward()
    theirs.backward()
    for (name, a), (_, b) in zip(asked.named_parameters(), own.named_parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-4, rtol=1e-4), name


def test_frozen_weights_get_no_gradient(pair, ids):
    _, asked = pair
    asked.train().requires_grad_(False)
    asked.get_output_embeddings().weight.requires_grad_(True)
    lm_heads.nll(asked(input_ids=ids), ids).sum().backward()
    assert asked.get_output_embeddings().weight.grad.abs().sum() > 0


def test_the_class_keeps_its_name_for_other_libraries(pair):
    own, asked = pair
    assert type(asked).__name__ == type(own).__name__
    assert asked.state_dict().keys() == own.state_dict().keys()


def test_a_batch_without_any_target_costs_nothing_and_moves_nothing(pair, ids):
    _, asked = pair
    hidden = asked.train()(input_ids=ids)
    said = lm_heads.nll(hidden, torch.full((3, 12), lm_heads.IGNORED))
    said.sum().backward()
    assert said.tolist() == [[0.0] * 12] * 3
    assert all(weight.grad is None or not weight.grad.any() for weight in asked.parameters())
