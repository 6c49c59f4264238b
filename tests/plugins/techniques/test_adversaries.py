"""Each adversary's gradient is that of its paper's algorithm, written out once more on the vectors themselves."""

import pytest
import torch
from torch.nn import functional

from danlu.core.errors import RecipeError
from danlu.plugins.techniques.fgm import FGM
from danlu.plugins.techniques.freelb import FreeLB
from danlu.plugins.techniques.mixup import Mixup
from danlu.plugins.techniques.pgd import PGD
from technique_toys import TASK, Flat, Padded, Vectors, gradients, numbers, texts, trained

OPTIONS = {"fgm": FGM(size=0.7), "pgd": PGD(size=0.5, rate=0.3), "freelb": FreeLB(size=0.15, rate=0.1)}


def loss_at(module, batch, change):
    """The mean loss of a batch whose vectors are changed, and the vectors' change as a leaf."""
    change = change.detach().requires_grad_()
    mask = batch.inputs["attention_mask"][..., None]
    vectors = module.table(batch.inputs["ids"]) + change
    logits = module.head(torch.tanh(module.middle((vectors * mask).sum(1) / mask.sum(1))))
    return functional.cross_entropy(logits, batch.targets["label"]), change


def norms(x):
    return x.view(len(x), -1).norm(dim=1).clamp(min=1e-8).view(-1, 1, 1)


def clipped(change, radius):
    return torch.where(norms(change) > radius, change * radius / norms(change), change)


def by_hand(name, module, batch):
    """The losses whose gradients the algorithm adds up."""
    zero = torch.zeros(*batch.inputs["ids"].shape, 8)
    loss, change = loss_at(module, batch, zero)
    (slope,) = torch.autograd.grad(loss, change, retain_graph=True)
    if name == "fgm":
        return [loss, loss_at(module, batch, 0.7 * slope / norms(slope))[0]]
    if name == "pgd":
        moved = zero
        for _ in range(3):
            moved = clipped(moved + 0.3 * slope / norms(slope), 0.5)
            last, change = loss_at(module, batch, moved)
            (slope,) = torch.autograd.grad(last, change, retain_graph=True)
        return [loss, last]
    losses, moved = [loss / 3], zero
    for _ in range(2):
        moved = clipped(moved + 0.1 * slope / norms(slope), 0.15)
        last, change = loss_at(module, batch, moved)
        (slope,) = torch.autograd.grad(last, change, retain_graph=True)
        losses.append(last / 3)
    return losses


@pytest.mark.parametrize("frozen", [False, True], ids=["all trained", "embeddings frozen"])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_gradient_is_that_of_the_paper(name, frozen):
    module = Vectors()
    module.table.weight.requires_grad = not frozen
    batch = TASK.collate(texts(), Padded()).map(torch.from_numpy)
    sum(by_hand(name, module, batch)).backward()
    wanted = {n: w.grad.clone() for n, w in module.named_parameters() if w.grad is not None}
    found = gradients(module, texts(), (OPTIONS[name],))
    assert found.keys() == wanted.keys()
    for weight, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[weight], msg=weight)
    plain = gradients(module, texts())
    scale = 2 if name != "freelb" else 1
    assert not torch.allclose(found["middle.weight"], scale * plain["middle.weight"], rtol=1e-3)


@pytest.mark.parametrize("name", OPTIONS)
def test_accumulated_it_is_the_same(name):
    """Each example is moved by its own gradient, so micro-batches change nothing."""
    whole = gradients(Vectors(), texts(), (OPTIONS[name],))
    parts = gradients(Vectors(), texts(), (OPTIONS[name],), batch_size=3, accumulate=4)
    for weight, gradient in parts.items():
        torch.testing.assert_close(gradient, whole[weight], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_large_table_keeps_its_gradient(name, monkeypatch):
    """With the kept gradients of large tables it ends at the same weights."""
    wanted = trained(Vectors(), texts(), (OPTIONS[name],)).state_dict()
    monkeypatch.setattr("danlu.blocks.table_gradients.SMALLEST", 1)
    for weight, tensor in trained(Vectors(), texts(), (OPTIONS[name],)).state_dict().items():
        torch.testing.assert_close(tensor, wanted[weight], msg=weight)


def test_the_model_is_left_as_it_was():
    module = trained(Vectors(), texts(), (FGM(),))
    assert not module.table._forward_hooks


@pytest.mark.parametrize("technique", OPTIONS.values(), ids=OPTIONS)
def test_a_model_without_embeddings_is_refused(technique):
    with pytest.raises(RecipeError, match="has no embeddings"):
        trained(Flat(4), numbers((4,)), (technique,))


def test_mixed_vectors_are_moved_from_where_they_were_mixed():
    """The second pass of FGM has the same mixture under it: with a size near 0 its gradient is that of the first."""
    plain = gradients(Vectors(), texts(), (Mixup(alpha=1.0),))
    twice = gradients(Vectors(), texts(), (Mixup(alpha=1.0), FGM(size=1e-6)))
    for weight, gradient in plain.items():
        torch.testing.assert_close(twice[weight], 2 * gradient, atol=1e-5, rtol=1e-3)
