"""What optimizers and schedules promise: a model learns, and a killed training goes on as if nothing had happened."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.testing.subject import Subject, check, require
from danlu.training import optim
from danlu.training.groups import groups
from danlu.training.schedule import factor

_STEPS = 80


class _Trained:
    """A small network and its optimizer; every weight and example comes from a seed."""

    def __init__(self, subject: Subject) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Embedding(20, 8), nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 2)
        )
        self.ids = torch.randint(20, (64,))
        self.weights = dict(self.model.named_parameters())
        self.lr = 1e-2 * subject.plugin.lr_scale
        found = groups(self.model, self.weights, lr=self.lr, weight_decay=subject.plugin.weight_decay)
        self.optimizer = subject.plugin.build(found)

    def loss(self) -> Tensor:
        return functional.cross_entropy(self.model(self.ids), self.ids % 2)

    def steps(self, count: int, lr: float | None = None) -> None:
        for _ in range(count):
            self.model.zero_grad()
            self.loss().backward()  # type: ignore[no-untyped-call]
            optim.set_rate(self.optimizer, self.lr if lr is None else lr)
            optim.clip(self.optimizer, self.weights.values(), 1.0)
            self.optimizer.step()


def _same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@check("optimizers")
def check_every_weight_moves_and_the_model_learns(subject: Subject) -> None:
    """Each tensor is moved, and the loss of what was learnt falls below half of what it was."""
    trained, untouched = _Trained(subject), _Trained(subject)
    before = float(trained.loss().detach())
    trained.steps(_STEPS)
    still = [name for name, w in trained.weights.items() if torch.equal(w, untouched.weights[name])]
    require(not still, f"it leaves weights as they were: {', '.join(still)}")
    after = float(trained.loss().detach())
    require(after < before / 2, f"the loss is {after:.3g} after {_STEPS} steps, and was {before:.3g}")


@check("optimizers")
def check_the_rate_is_obeyed(subject: Subject) -> None:
    """With a learning rate of 0 no weight moves: the rate of every step is the one that the schedule says."""
    trained, untouched = _Trained(subject), _Trained(subject)
    trained.steps(2, lr=0.0)
    require(_same(trained.model, untouched.model), "it moves weights at a learning rate of 0")


@check("optimizers")
def check_its_state_is_all_there_is(subject: Subject) -> None:
    """Another one that is given its state goes on with the same steps, bit for bit."""
    first, second = _Trained(subject), _Trained(subject)
    first.steps(3)
    kept = {name: tensor.clone() for name, tensor in optim.state(first.optimizer, first.weights).items()}
    second.model.load_state_dict(first.model.state_dict())
    optim.restore(second.optimizer, second.weights, kept)
    first.steps(3)
    second.steps(3)
    require(_same(first.model, second.model), "it goes on differently: keep what a step needs in `state[weight]`")


@check("schedules")
def check_every_step_has_a_rate(subject: Subject) -> None:
    """Factors are above 0 and at most 1, for trainings of any length with any warm-up."""
    for steps in (1, 2, 7, 100):
        for warmup in (0.0, 0.06, 0.5, 1.0):
            for step in range(steps):
                value = factor(step, steps, warmup, subject.plugin)
                told = f"the factor of step {step} of {steps} with a warm-up of {warmup} is {value}"
                require(0 < value <= 1, told)


@check("schedules")
def check_the_highest_rate_is_reached(subject: Subject) -> None:
    """Some step of a training has the rate that the recipe names, and the warm-up rises to it."""
    values = [factor(step, 100, 0.1, subject.plugin) for step in range(100)]
    require(max(values) > 0.99, f"no factor is above {max(values):.3g}")
    require(values[:10] == sorted(values[:10]), f"the warm-up does not rise: {values[:10]}")


@check("schedules")
def check_it_is_a_function_of_the_step(subject: Subject) -> None:
    """Asked again, in another order, it says the same: a resume asks from the middle on."""
    forwards = [factor(step, 50, 0.1, subject.plugin) for step in range(50)]
    backwards = [factor(step, 50, 0.1, subject.plugin) for step in reversed(range(50))]
    require(forwards == backwards[::-1], "its factors depend on what was asked before")
