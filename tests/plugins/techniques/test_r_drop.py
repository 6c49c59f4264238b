"""The loss of R-Drop is that of its authors' page, and scaled as plain training is."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from danlu.core.errors import RecipeError
from danlu.plugins.techniques.mixup import Mixup
from danlu.plugins.techniques.r_drop import RDrop
from technique_toys import See, Vectors, gradients, texts, trained


def test_it_is_the_authors_formula():
    told = []

    def note(run):
        loss = run.losses()  # another pass, so its outputs are the ones it is of
        told.append((run.batch, run.outputs["logits"].detach(), loss.detach()))

    trained(Vectors(dropout=0.5), texts(), (RDrop(alpha=2.0), See(note)))
    for batch, logits, loss in told:
        p, q = logits.chunk(2)
        assert not torch.allclose(p, q)
        assert len(batch) == len(logits) == 12
        p_loss = functional.kl_div(p.log_softmax(-1), q.softmax(-1), reduction="sum")
        q_loss = functional.kl_div(q.log_softmax(-1), p.softmax(-1), reduction="sum")
        labels = batch.targets["label"].chunk(2)
        nll = sum(functional.cross_entropy(x, y, reduction="sum") for x, y in zip((p, q), labels, strict=True))
        torch.testing.assert_close(loss.sum() / 2, nll / 2 + 2.0 * (p_loss + q_loss) / 2)


class IdleDropout(nn.Module):
    p = 0.5

    def forward(self, x):
        return x


@pytest.mark.parametrize("options", [{}, {"batch_size": 2, "accumulate": 3}])
def test_two_equal_passes_give_the_gradient_of_one(options):
    wanted = gradients(Vectors(), texts(6))
    idle = Vectors()
    idle.drop = IdleDropout()
    for name, gradient in gradients(idle, texts(6), (RDrop(),), **options).items():
        torch.testing.assert_close(gradient, wanted[name])


def test_without_dropout_it_is_refused():
    with pytest.raises(RecipeError, match="no dropout"):
        trained(Vectors(), texts(), (RDrop(),))


def test_it_stands_behind_what_changes_batches():
    with pytest.raises(RecipeError, match="mixup stands behind r_drop"):
        trained(Vectors(dropout=0.1), texts(), (RDrop(), Mixup()))
    seen = []
    trained(Vectors(dropout=0.1), texts(), (Mixup(alpha=1.0), RDrop(), See(lambda run: seen.append(run.batch))))
    for batch in seen:
        halves = batch.embed(torch.arange(6.0).repeat(2)[:, None]).chunk(2)
        assert torch.equal(*halves)
        assert len(batch.mixed) == 2
        assert all(len(part) == 12 for _, part in batch.mixed)
