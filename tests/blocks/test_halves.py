"""A batch in two halves: the losses and gradients of the whole batch, the same every time, and no trace elsewhere."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from danlu.blocks import halves, hf, table_gradients
from danlu.blocks.halves import Halves, allowed
from danlu.blocks.table_gradients import kept_gradients
from danlu.values import Batch, Head

SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
LENGTHS = (3, 20, 4, 9, 20, 5, 6, 7, 12)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(halves, "NARROW", torch.float32)


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def encoder(kind="bert", per="input", dropout=0.0):
    torch.manual_seed(0)
    sizes = {**SIZES, "max_position_embeddings": 40, "pad_token_id": 0}
    return hf.from_scratch(kind, Head(per, 3, ("a", "b", "c")), 0, dropout=dropout, **sizes).train()


def batch():
    torch.manual_seed(1)
    ids, mask = torch.randint(2, 30, (len(LENGTHS), max(LENGTHS))), torch.zeros(len(LENGTHS), max(LENGTHS)).long()
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    return Batch({"input_ids": ids * mask, "attention_mask": mask}, {}, torch.ones(len(LENGTHS)))


def losses(given, model):
    logits = model(**given.inputs)["logits"].float()
    if logits.dim() == 3:
        logits = (logits * given.inputs["attention_mask"].unsqueeze(-1)).sum(1)
    return logits.square().sum(-1)


def whole(model, given, divisor):
    total = losses(given, model).sum()
    (total / divisor).backward()
    return total.detach()


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def cut(model, given, divisor, seed=3):
    torch.manual_seed(seed)
    both = Halves(model)
    try:
        return both.learn(given, losses, divisor)
    finally:
        both.close()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("per", ["input", "position"])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_losses_and_gradients_are_those_of_the_whole_batch(kind, per, kept, monkeypatch):
    monkeypatch.setattr(table_gradients, "SMALLEST", 1 if kept else 2**20)
    model, given = encoder(kind, per), batch()
    said, wanted = whole(model, given, 7.0), gradients(model)
    model.zero_grad()
    with kept_gradients(model, ()):
        assert_close(cut(model, given, 7.0), said, rtol=1e-5, atol=1e-5)
        found = gradients(model)
    assert found.keys() == wanted.keys()
    assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_in_bfloat16_too(monkeypatch):
    monkeypatch.setattr(halves, "NARROW", torch.bfloat16)
    model, given = encoder(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        said = whole(model, given, 1.0)
    wanted = gradients(model)
    model.zero_grad()

    def lower(half, twin):
        assert twin.classifier.weight.dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            return losses(half, twin)

    both = Halves(model)
    assert_close(both.learn(given, lower, 1.0), said, rtol=0.02, atol=0.02)
    both.close()
    for name, gradient in gradients(model).items():
        assert gradient.dtype == torch.float32
        apart = (gradient - wanted[name]).norm() / wanted[name].norm().clamp(min=1e-3)
        assert apart < 0.05, name


def test_gradients_add_up_over_batches():
    model, given = encoder(), batch()
    cut(model, given, 1.0)
    once = gradients(model)
    cut(model, given, 1.0)
    assert_close(gradients(model), {name: 2 * gradient for name, gradient in once.items()}, rtol=1e-4, atol=1e-6)


def test_weights_that_moved_are_seen_and_frozen_ones_get_no_gradient():
    model, given = encoder(), batch()
    both = Halves(model)
    before = both.learn(given, losses, 1.0)
    with torch.no_grad():
        model.classifier.weight.mul_(2)
        model.classifier.bias.mul_(2)
    frozen = model.bert.encoder.layer[0].output.dense.weight.requires_grad_(False)
    model.zero_grad()
    assert_close(both.learn(given, losses, 1.0), 4 * before, rtol=1e-4, atol=1e-5)
    both.close()
    assert frozen.grad is None
    assert model.bert.encoder.layer[1].output.dense.weight.grad is not None


def test_what_is_random_comes_again_whatever_others_draw():
    given, found = batch(), []

    def disturbed(half, twin):
        torch.rand(len(found) + 1), np.random.rand(3)
        return losses(half, twin)

    for seed in (3, 3, 4):
        model = encoder(dropout=0.5)
        torch.manual_seed(seed)
        both = Halves(model)
        both.learn(given, disturbed, 1.0)
        both.close()
        found.append(gradients(model)["classifier.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_each_half_drops_places_of_its_own():
    model, dropped = encoder(dropout=0.5), []

    def note(half, twin):
        dropped.append(twin.dropout(torch.ones(1, 64)))
        return losses(half, twin)

    both = Halves(model)
    both.learn(batch(), note, 1.0)
    both.close()
    assert not torch.equal(*dropped)
    assert all(0 < (one == 0).sum() < 64 for one in dropped)


@pytest.mark.parametrize("where", [0, 1])
def test_an_error_of_either_half_is_raised_and_threads_are_as_before(where):
    model, given = encoder(), batch()
    both = Halves(model)

    def faulty(half, twin):
        if twin is both._twins[where]:
            raise RuntimeError("can't allocate memory")
        return losses(half, twin)

    with pytest.raises(RuntimeError, match="allocate"):
        both.learn(given, faulty, 1.0)
    assert torch.get_num_threads() == 2
    both.close()


def test_who_allows_it():
    assert allowed(encoder())
    assert allowed(encoder("roberta", "position"))
    assert not allowed(encoder("gpt2", "next"))
    assert not allowed(encoder("bert", "gap")), "its head shares the table's weight"
    heard = encoder()
    handle = heard.bert.embeddings.register_forward_hook(lambda *_: None)
    assert not allowed(heard), "somebody listens"
    handle.remove()
    assert allowed(heard)
    heard.classifier.weight = heard.bert.pooler.dense.weight
    assert not allowed(heard), "two parts share a weight"
