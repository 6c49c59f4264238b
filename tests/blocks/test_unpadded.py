"""Encoders that compute no padding: the answers and gradients of the padded model."""

import copy

import pytest
import torch
from torch.testing import assert_close

from danlu.blocks import attention, hf
from danlu.blocks.unpadded import Row
from danlu.blocks.virtual_tokens import add_prefix, add_prompt
from danlu.values import Head

SIZES = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}


def encoder(kind="bert", **options):
    torch.manual_seed(0)
    sizes = {**SIZES, "max_position_embeddings": 40, "pad_token_id": 0, **options}
    return hf.from_scratch(kind, Head("position", 3, ("a", "b", "c")), 0, dropout=0.0, **sizes)


def batch(lengths=(3, 20, 4, 9, 20, 5)):
    torch.manual_seed(1)
    ids, mask = torch.randint(2, 30, (len(lengths), max(lengths))), torch.zeros(len(lengths), max(lengths)).long()
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    return {"input_ids": ids * mask, "attention_mask": mask}


def looked(model, monkeypatch):
    """The shapes of queries that attention is asked for, from now on."""
    shapes, original = [], attention._written_out
    monkeypatch.setattr(attention, "_written_out", lambda q, *more: shapes.append(q.shape) or original(q, *more))
    monkeypatch.setattr(attention, "width", lambda _: torch.bfloat16)  # written out in float32 too
    return shapes


def passed(model, given, *, precision=torch.float32):
    """Scores of true tokens and all gradients of a loss on them."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = model(**given)["logits"]
    logits = logits[given["attention_mask"] > 0].float()
    logits.square().sum().backward()
    return [logits.detach(), *(w.grad.clone() for w in model.parameters() if w.grad is not None)]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("lengths", [(3, 20, 4, 9, 20, 5), (20, 2), (17, 1, 1, 1), (9, 9, 9, 2, 2, 2)])
def test_scores_and_gradients_are_those_of_the_padded_batch(kind, lengths, monkeypatch):
    model, given = encoder(kind, type_vocab_size=2), batch(lengths)
    given["token_type_ids"] = given["attention_mask"] * torch.arange(max(lengths)).remainder(2)
    shapes = looked(model, monkeypatch)
    ours = passed(model.train(), given)
    assert sum(shape[0] for shape in shapes) == 2 * len(lengths)
    assert min(shape[2] for shape in shapes) < max(lengths), "texts are taken in groups"
    padded = passed(model.eval(), given)
    assert len(ours) == len(padded)
    assert_close(ours, padded, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_too():
    model, given = encoder(), batch()
    ours, padded = (passed(model.train(mode), given, precision=torch.bfloat16)[0] for mode in (True, False))
    assert_close(ours, padded, rtol=0.05, atol=0.02)


def test_a_row_goes_back_to_where_it_came_from():
    given = batch()
    row = Row(given["attention_mask"])
    ids = row.of(given["input_ids"])
    assert ids.shape == (1, 64), "61 tokens, and three that fill up the row"
    assert torch.equal(row.padded(ids.unsqueeze(-1)).squeeze(-1), given["input_ids"])
    assert [group[:2] for group in row.groups] == [(3, 8), (3, 24)]
    assert [group.mask is None for group in row.groups] == [False, False]
    assert Row(batch((8, 8, 24, 24))["attention_mask"]).groups == [(2, 8, None), (2, 24, None)]


def test_random_batches_are_of_few_sizes():
    """oneDNN makes a kernel for each, and the C library keeps the memory of each."""
    chance = torch.Generator().manual_seed(0)
    rows, groups = set(), set()
    for _ in range(200):
        lengths = torch.randint(3, 45, (32,), generator=chance)
        row = Row((torch.arange(45) < lengths.unsqueeze(1)).long())
        filled = len(row.positions) - int(lengths.sum())
        assert 0 <= filled < max(8, lengths.sum() / 16)
        rows.add(len(row.positions))
        groups |= {group[:2] for group in row.groups}
    assert len(rows) < 20
    assert len(groups) < 8


def test_a_mask_with_holes_keeps_positions():
    model, given = encoder(), batch()
    given["attention_mask"][1, 4:12] = 0
    assert_close(passed(model.train(), given), passed(model.eval(), given), rtol=1e-4, atol=1e-5)


def test_virtual_tokens_of_every_layer_are_read(monkeypatch):
    model = encoder()
    add_prefix(model, 2)
    assert not wide(model, batch(), monkeypatch)
    ours, padded = passed(model.train(), batch()), passed(model.eval(), batch())
    assert_close(ours, padded, rtol=1e-4, atol=1e-5)


def test_virtual_tokens_before_a_text_find_it_padded(monkeypatch):
    model = encoder()
    add_prompt(model, 2, 0, "prompt")
    assert wide(model, batch(), monkeypatch)


def wide(model, given, monkeypatch):
    """Whether the batch went through padded."""
    shapes = looked(model, monkeypatch)
    passed(model.train(), given)
    return {shape[0] for shape in shapes} == {len(given["input_ids"])}


def test_little_padding_is_computed(monkeypatch):
    assert wide(encoder(), batch((20, 20, 19)), monkeypatch)


def test_a_text_of_which_nothing_is_shown_is_no_fault(monkeypatch):
    given = batch()
    given["attention_mask"][0] = 0
    assert wide(encoder(), given, monkeypatch)


def test_whoever_reaches_into_the_body_finds_it_padded(monkeypatch):
    model, heard = encoder(), []
    model.get_input_embeddings().register_forward_hook(lambda _part, _args, vectors: heard.append(vectors.shape))
    assert wide(model, batch(), monkeypatch)
    assert heard == [(6, 20, 16)]
    other = encoder()
    other.bert.register_forward_pre_hook(lambda _part, _args: None)
    assert wide(other, batch(), monkeypatch)


def test_a_copy_follows_its_own_mode(monkeypatch):
    model = encoder().eval()
    assert not wide(copy.deepcopy(model), batch(), monkeypatch)
