"""What techniques promise: they change the training, and a killed training goes on as if nothing had happened."""

from __future__ import annotations

import torch

from danlu.blocks.tensors import state
from danlu.testing.partners import Trial, trial_for
from danlu.testing.subject import Subject, check, require

_STEPS = 12
_STOP = 8


class _PlantedError(Exception):
    """The planted end of a training."""


def _weights(trial: Trial) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state(trial.module).items()}


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@check("techniques")
def check_it_changes_the_training(subject: Subject) -> None:
    """The weights end elsewhere than without it: a technique that did nothing must not look as if it had."""
    plain, other = (trial_for(subject) for _ in range(2))
    plain.fit(steps=_STEPS)
    other.fit([subject.plugin], steps=_STEPS)
    require(not _equal(_weights(plain), _weights(other)), "the weights are the same as without it")


@check("techniques")
def check_a_killed_training_goes_on(subject: Subject) -> None:
    """Killed and resumed, with another's random draws between, it ends at the same weights, bit for bit."""
    whole = trial_for(subject).fit([subject.plugin], steps=_STEPS)
    work = subject.new("work")
    work.mkdir()
    killed = trial_for(subject)
    asked = [0]

    def stop(*_: object) -> None:
        asked[0] += 1
        if asked[0] == _STOP:
            raise _PlantedError

    handle = killed.module.register_forward_pre_hook(stop)
    try:
        killed.fit([type(subject.plugin)(**dict(subject.plugin))], work=work, steps=_STEPS, checkpoint_steps=3)
    except _PlantedError:
        handle.remove()
    torch.manual_seed(99)
    torch.randn(7)
    resumed = trial_for(subject)
    fresh = type(subject.plugin)(**dict(subject.plugin))
    resumed.fit([fresh], work=work, steps=_STEPS, checkpoint_steps=3)
    require(_equal(_weights(whole), _weights(resumed)), "it ends elsewhere: keep what must survive in run.kept(self)")
