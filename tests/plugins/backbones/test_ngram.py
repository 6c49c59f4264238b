"""The n-gram model as a backbone: what it is asked, what it is taught, and that it survives the disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from danlu.blocks import weights
from danlu.blocks.kneser_ney import KneserNey
from danlu.contracts import Batch, Head
from danlu.core.errors import DataError
from danlu.plugins.backbones.ngram import Ngram

HEAD = Head("next")
TEXTS = ["the cat sat on the mat", "the dog sat on the cat", "a cat and a dog sat there", "on and on the dog sat"] * 5


def conforming(folder):
    return {"ngram": {}}


@pytest.fixture
def backbone():
    return Ngram(order=3)


@pytest.fixture
def processor(backbone):
    return backbone.learn(TEXTS)


def batch_of(processor, texts) -> Batch:
    ids = [processor.inputs(text)["input_ids"] for text in texts]
    length = max(map(len, ids))
    padded = np.stack([np.pad(one, (0, length - len(one))) for one in ids])
    mask = np.stack([np.arange(length) < len(one) for one in ids]).astype(np.int64)
    inputs = {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask)}
    return Batch(inputs, {}, torch.from_numpy(mask.sum(1) - 1).float())


@pytest.fixture
def taught(backbone, processor):
    module = backbone.build(HEAD, processor, None)
    module.loss = module.update(batch_of(processor, TEXTS))
    return module


def test_it_says_what_kneser_ney_says(taught, processor):
    ids = [processor.inputs(text)["input_ids"] for text in TEXTS]
    begins = np.concatenate([np.arange(len(one)) == 0 for one in ids])
    plain = KneserNey.learn(np.concatenate(ids), begins, processor.size, 3)
    asked = np.array(ids[0])
    contexts = plain.contexts(asked, np.arange(len(asked)) == 0)
    said = taught(torch.from_numpy(asked)[None])["logits"]
    assert np.allclose(said[0].exp().numpy(), plain.distributions(contexts, np.arange(len(asked))), rtol=1e-5)
    assert torch.allclose(said.exp().sum(-1), torch.ones(1, len(asked)), atol=1e-5)


def test_places_and_tokens_can_be_asked_alone(taught, processor):
    inputs = batch_of(processor, ["the cat sat", "a dog and a cat sat on the mat"]).inputs
    whole = taught(**inputs)["logits"]
    at = torch.tensor([[3, 0], [5, 2]])
    here = whole.gather(1, at[..., None].expand(-1, -1, whole.shape[-1]))
    assert torch.equal(taught(**inputs, at=at)["logits"], here)
    tokens = torch.tensor([[7, 9], [11, 30]])
    asked = taught(**inputs, at=at, tokens=tokens)
    assert asked.keys() == {"log_likelihood"}
    assert torch.allclose(asked["log_likelihood"], here.gather(2, tokens[..., None])[..., 0], atol=1e-5)


def test_untaught_it_says_the_same_of_every_token(backbone, processor):
    module = backbone.build(HEAD, processor, None)
    inputs = batch_of(processor, TEXTS[:2]).inputs
    assert torch.allclose(module(**inputs)["logits"], torch.tensor(-np.log(processor.size)).float())
    at = torch.zeros(2, 1, dtype=torch.int64)
    likely = module(**inputs, at=at, tokens=at)["log_likelihood"]
    assert torch.allclose(likely, torch.tensor(-np.log(processor.size)).float())


def test_padding_and_other_documents_are_not_looked_at(taught, processor):
    one, other = (torch.from_numpy(processor.inputs(text)["input_ids"]) for text in ("the cat sat", "on the mat"))
    alone = [taught(ids[None])["logits"][0] for ids in (one, other)]
    packed = taught(torch.cat([one, other])[None], segments=torch.tensor([[1] * len(one) + [2] * len(other)]))
    assert torch.allclose(packed["logits"][0], torch.cat(alone), atol=1e-6)
    glued = taught(torch.cat([one, other])[None])["logits"][0]
    assert not torch.allclose(glued, torch.cat(alone), atol=1e-3)


def test_what_is_padded_is_not_counted(backbone, processor, taught):
    plain = batch_of(processor, TEXTS)
    other = backbone.build(HEAD, processor, None)
    segments = plain.inputs["attention_mask"].clone()
    junk = torch.where(segments == 0, 7, plain.inputs["input_ids"])
    loss = other.update(Batch({"input_ids": junk, "segments": segments}, {}, plain.count))
    assert all(torch.equal(a, b) for a, b in zip(taught.buffers(), other.buffers(), strict=True))
    assert torch.equal(loss, taught.loss)


def test_the_loss_is_that_of_every_token_but_the_first(taught, processor):
    inputs = batch_of(processor, TEXTS).inputs
    said = taught(**inputs)["logits"][:, :-1]
    told = said.gather(2, inputs["input_ids"][:, 1:, None])[..., 0] * inputs["attention_mask"][:, 1:]
    assert torch.allclose(taught.loss, -told.sum(1), atol=1e-4)
    before = len(TEXTS[0].split()) * np.log(processor.size)
    assert 0 < taught.loss[0] < 0.5 * before


@pytest.mark.parametrize("order", [1, 3, 5])
def test_it_survives_the_disk(order, processor, tmp_path):
    backbone = Ngram(order=order)
    module = backbone.build(HEAD, processor, None)
    module.update(batch_of(processor, TEXTS))
    backbone.save(tmp_path, module, processor)
    files = weights.write(tmp_path, module, weights.places(backbone.build(HEAD, processor, tmp_path), []))
    loaded = backbone.build(HEAD, backbone.processor(tmp_path), tmp_path)
    weights.replay(loaded, [], tmp_path, files)
    ids = batch_of(processor, TEXTS[:3]).inputs
    assert torch.equal(loaded(**ids)["logits"], module(**ids)["logits"])
    (tmp_path / "ngram.json").write_text("{}")
    with pytest.raises(DataError, match="can't be read"):
        backbone.build(HEAD, processor, tmp_path)


def test_a_higher_order_is_surer_of_what_it_has_seen(processor):
    likely = []
    for order in (1, 2, 3):
        module = Ngram(order=order).build(HEAD, processor, None)
        likely.append(-float(module.update(batch_of(processor, TEXTS)).sum()))
    assert likely == sorted(likely)
    assert likely[2] > likely[0] + 50
