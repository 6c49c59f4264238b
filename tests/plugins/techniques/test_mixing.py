"""Mixed examples weigh as their papers say, whatever other techniques make of the loss."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from danlu.core.errors import RecipeError
from danlu.plugins.techniques.class_weights import ClassWeights
from danlu.plugins.techniques.cutmix import Cutmix, rectangle
from danlu.plugins.techniques.mixup import Mixup
from technique_toys import Flat, See, Vectors, gradients, numbers, texts, trained


def seen(module, train, techniques, **options):
    """What every micro-batch was: its batch, outputs and the mean of its loss, as the loop took it."""
    told = []

    def note(run):
        told.append((run.batch, run.outputs["logits"].detach(), run.losses().detach()))

    trained(module, train, (*techniques, See(note)), lr=1e-9, **options)
    return told


def soft(labels, partner, share, size=3):
    one_hot = functional.one_hot(labels, size).float()
    return share * one_hot + (1 - share) * one_hot[partner]


def plain(batch):
    """Labels, partner and share of a batch that was mixed once, found in its parts."""
    (own, one), (_, other) = batch.mixed
    return one.targets["label"], other.targets["label"], float(own[0])


def test_mixup_is_cross_entropy_with_soft_targets():
    """As in timm: inputs and one-hot targets are mixed by one lambda a batch; several lambdas occur."""
    train = numbers((2, 4, 4))
    shares = set()
    for batch, logits, loss in seen(Flat(32), train, (Mixup(alpha=1.0),), steps=4):
        first, second, share = plain(batch)
        shares.add(share)
        targets = share * functional.one_hot(first, 3) + (1 - share) * functional.one_hot(second, 3)
        torch.testing.assert_close(loss, -(targets * logits.log_softmax(-1)).sum(-1))
        assert not torch.equal(first, second)
    assert len(shares) == 4
    assert all(0 < share < 1 for share in shares)


def test_mixup_mixes_the_inputs_themselves():
    train = numbers((5,), n=6)
    sums = {round(float(e.inputs["x"].sum()), 4) for e in train}
    for batch, _, _ in seen(Flat(5), train, (Mixup(alpha=1.0),), steps=2):
        _, _, share = plain(batch)
        found = [round(float(x.sum()), 4) for x in batch.inputs["x"]]
        assert not set(found) <= sums
        assert sum(found) == pytest.approx(sum(sums), abs=1e-2)  # every example is a first and a second once
        assert 0 < share < 1


def test_texts_are_mixed_in_their_vectors_for_as_long_as_the_longer_one():
    module = Vectors()
    for batch, logits, _ in seen(module, texts(), (Mixup(alpha=1.0),), steps=3):
        own, other = batch.mixed[0][1].targets["label"], batch.mixed[1][1].targets["label"]
        ids, share = batch.inputs["ids"], float(batch.mixed[0][0][0])
        partner = next(p for p in permutations(own, other, batch, module, logits, share))
        assert (own[partner] == other).all()
        assert ids.dtype == torch.int64


def permutations(own, other, batch, module, logits, share):
    """The partner that explains the logits; there is none when the vectors were not mixed."""
    found = batch.embed(torch.arange(len(own), dtype=torch.float32)[:, None])[:, 0]
    partner = ((found - share * torch.arange(len(own))) / (1 - share)).round().long()
    vectors = share * module.table(batch.inputs["ids"]) + (1 - share) * module.table(batch.inputs["ids"][partner])
    mask = batch.inputs["attention_mask"][..., None]
    mean = (vectors * mask).sum(1) / mask.sum(1)
    if torch.allclose(module.head(torch.tanh(module.middle(mean))), logits, atol=1e-5):
        assert (mask.sum((1, 2)) >= (batch.inputs["ids"] > 0).sum(1)).all()
        yield partner


def test_ids_can_not_be_mixed_as_numbers():
    with pytest.raises(RecipeError, match="the inputs hold ids"):
        trained(Vectors(), texts(), (Mixup(on="inputs"),))


def test_a_model_without_embeddings_is_refused():
    with pytest.raises(RecipeError, match="mixup works on the vectors of ids, and this model has no embeddings"):
        trained(Flat(4), numbers((4,)), (Mixup(on="embeddings"),))


def test_the_hooks_are_gone_afterwards():
    module = trained(Vectors(), texts(), (Mixup(),))
    assert not module.table._forward_hooks


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.5, 0.5), (0.99, 0.2)])
def test_the_rectangle_is_that_of_the_paper(share, at):
    """Sides times sqrt(1 - lambda), halved and rounded down on both sides of the middle, cut at the border."""
    for side, middle, (begin, end) in zip((10, 16), at, rectangle((10, 16), share, np.array(at)), strict=True):
        cut, centre = int(side * np.sqrt(1 - share)), int(middle * side)
        assert (begin, end) == (np.clip(centre - cut // 2, 0, side), np.clip(centre + cut // 2, 0, side))


def test_cutmix_weighs_by_the_area_that_is_left():
    train = numbers((1, 8, 8), n=6)
    for k, example in enumerate(train):
        example.inputs["x"][:] = k
    done = 0
    for batch, logits, loss in seen(Flat(64), train, (Cutmix(probability=1.0),), steps=6):
        first, second, share = plain(batch)
        for k, picture in enumerate(batch.inputs["x"]):
            values, counts = picture.unique(return_counts=True)
            assert len(values) <= 2
            if len(values) == 2:
                done += 1
                own = first[k] == values.long() % 3
                assert counts[own].sum() / 64 == pytest.approx(share) or first[k] == second[k]
        expected = share * functional.cross_entropy(logits, first, reduction="none")
        expected += (1 - share) * functional.cross_entropy(logits, second, reduction="none")
        torch.testing.assert_close(loss, expected)
    assert done > 6


def test_cutmix_wants_pictures():
    with pytest.raises(RecipeError, match="an example must be pictures"):
        trained(Flat(4), numbers((4,)), (Cutmix(),))


def test_both_mix_four_examples_with_shares_that_add_up_to_one():
    techniques = (Mixup(alpha=1.0), Cutmix(probability=1.0))
    for batch, logits, loss in seen(Flat(64), numbers((1, 8, 8)), techniques):
        assert len(batch.mixed) == 4
        shares = torch.stack([share for share, _ in batch.mixed])
        torch.testing.assert_close(shares.sum(0), torch.ones(6))
        targets = sum(s[:, None] * functional.one_hot(part.targets["label"], 3) for s, part in batch.mixed)
        torch.testing.assert_close(loss, -(targets * logits.log_softmax(-1)).sum(-1))


@pytest.mark.parametrize("order", [1, -1])
def test_other_techniques_see_the_label_that_a_share_stands_for(order):
    """Class weights weigh each of the two labels by its own weight, wherever they stand in the list."""
    weights = torch.tensor([3.0, 1.0, 1.0])
    techniques = (Mixup(alpha=1.0), ClassWeights(weights={"one": 3.0}))[::order]
    for batch, logits, loss in seen(Flat(4), numbers((4,)), techniques):
        first, second, share = plain(batch)
        expected = share * weights[first] * functional.cross_entropy(logits, first, reduction="none")
        expected += (1 - share) * weights[second] * functional.cross_entropy(logits, second, reduction="none")
        torch.testing.assert_close(loss, expected)


def test_no_batch_is_mixed_below_the_probability():
    told = seen(Flat(4), numbers((4,)), (Mixup(probability=0.3),), steps=30)
    share = np.mean([bool(batch.mixed) for batch, _, _ in told])
    assert 0.1 < share < 0.6


def test_the_gradient_is_divided_by_all_examples_whatever_the_micro_batches():
    """A mixture of everything with itself (all examples equal) is plain training, in one batch or in three."""
    train = numbers((4,), n=1) * 6
    wanted = gradients(Flat(4), train)
    for options in ({}, {"batch_size": 2, "accumulate": 3}):
        for name, gradient in gradients(Flat(4), train, (Mixup(),), **options).items():
            torch.testing.assert_close(gradient, wanted[name])
