"""The averages are those of their formulas, are what answers, and hold what is no weight as well."""

import pytest
import torch
from torch import nn

from danlu.plugins.techniques.ema import EMA
from danlu.plugins.techniques.swa import SWA
from danlu.training.job import Judge
from technique_toys import Flat, See, numbers, trained


class Normed(nn.Module):
    """Batch norm between two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x):
        return {"logits": self.last(torch.tanh(self.norm(self.first(x))))}


def weights_of_all_steps(module, train, steps, technique):
    """The weights after each step, which a technique of averages does not change."""
    found = []

    class Note(type(technique)):
        def after_step(self, run):
            found.append({n: t.detach().clone() for n, t in run.changing().items()})
            super().after_step(run)

    trained(module, train, (Note(**dict(technique)),), steps=steps)
    return found


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_ema_is_the_formula_with_the_warm_up(decay):
    module = Flat(4)
    average = {n: t.clone() for n, t in module.state_dict().items()}
    for step, weights in enumerate(weights_of_all_steps(module, numbers((4,)), 9, EMA(decay=decay))):
        d = min(decay, (1 + step) / (10 + step))
        average = {n: d * average[n] + (1 - d) * weights[n] for n in average}
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, average[name])


@pytest.mark.parametrize(("begin", "every", "steps"), [(0.5, 2, [5, 7, 9]), (0.0, 1, range(10)), (0.8, None, [8, 9])])
def test_swa_is_the_plain_mean_of_its_moments(begin, every, steps):
    module = Flat(4)
    weights = weights_of_all_steps(module, numbers((4,)), 10, SWA(begin=begin, every=every))
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([weights[k][name] for k in steps]).mean(0))


def test_the_last_moment_is_the_last_step():
    module = Flat(4)
    weights = weights_of_all_steps(module, numbers((4,)), 4, SWA(begin=0.9))
    assert torch.equal(module.line.weight, weights[3]["line.weight"])


def test_ema_averages_the_statistics_of_norms_and_takes_counts_over():
    module, train = Normed(), numbers((4,))
    found = weights_of_all_steps(module, train, 6, EMA(decay=0.9))
    assert int(module.norm.num_batches_tracked) == 6
    assert not torch.allclose(module.norm.running_mean, found[-1]["norm.running_mean"])
    assert not torch.allclose(module.norm.running_mean, torch.zeros(5))


def test_swa_measures_the_statistics_of_norms_for_the_mean():
    module, train = Normed(), numbers((4,))
    trained(module, train, (SWA(begin=0.2),), steps=8)
    x = module.first(torch.stack([torch.tensor(e.inputs["x"]) for e in train]))
    torch.testing.assert_close(module.norm.running_mean, x.mean(0))
    batches = [x[:6].var(0), x[6:].var(0)]
    torch.testing.assert_close(module.norm.running_var, torch.stack(batches).mean(0))
    assert module.norm.momentum == 0.1


@pytest.mark.parametrize("technique", [EMA(decay=0.9), SWA(begin=0.2)], ids=lambda t: t.name)
def test_the_average_answers_and_looking_changes_nothing(technique):
    """What was looked at is what the training ends with, and the number of looks does not matter."""
    seen = []

    def measure(module, device):
        assert not module.training
        seen.append({n: t.clone() for n, t in module.state_dict().items()})
        return float(len(seen))

    held = {"validation": numbers((4,), seed=1), "judge": Judge("x", "higher", measure), "steps": 8}
    often = trained(Normed(), numbers((4,)), (technique,), evaluate_every=1, **held)
    looked = seen[-1]
    rarely = trained(Normed(), numbers((4,)), (technique,), evaluate_every=8, **held)
    for name, tensor in often.state_dict().items():
        assert torch.equal(tensor, looked[name]), name
        assert torch.equal(tensor, rarely.state_dict()[name]), name


def test_before_averaging_begins_the_model_answers_as_it_is():
    seen = []
    judge = Judge("x", "higher", lambda module, device: seen.append(module.line.weight.clone()) or float(len(seen)))
    now = []
    trained(
        Flat(4),
        numbers((4,)),
        (SWA(begin=0.9), See(lambda run: now.append(run.model.line.weight.detach().clone()))),
        steps=10,
        validation=numbers((4,), seed=1),
        evaluate_every=1,
        judge=judge,
    )
    for answered, weights in zip(seen[:8], now[1:9], strict=True):
        assert torch.equal(answered, weights)
