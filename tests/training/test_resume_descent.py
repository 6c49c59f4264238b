"""Resume is bit-exact with every optimizer and every schedule that is found, and each of them changes the training."""

import pytest
import torch
from training_toys import LookAfter, NoisyTagging, Tagger, job, weights_sha256

from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.training.loop import fit

OPTIMIZERS = [entry.name for entry in plugin.entries("optimizers") if entry.origin == "danlu"]
SCHEDULES = [entry.name for entry in plugin.entries("schedules") if entry.origin == "danlu"]
CASES = [*({"optimizer": name} for name in OPTIMIZERS), *({"schedule": name} for name in SCHEDULES)]
CASES += [{"layer_decay": 0.5}, {"l1": 0.1}, {"l2": 0.1}, {"weight_decay": 0.3}]


class Stop(Exception):
    """A power cut, as seen from inside."""


class Deep(Tagger):
    """A tagger with a list of layers."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([self.hidden, self.head])


def cut(run):
    if run.step == 4:
        raise Stop


def trained(case, stop=False, **options):
    one = job(
        NoisyTagging(),
        Deep(),
        n=20,
        techniques=(LookAfter(cut if stop else lambda run: None),),
        **{"steps": 8, "checkpoint_steps": 1, "lr": 0.02, **case, **options},
    )
    fitted = fit(one)
    return weights_sha256(one.module), fitted


def test_there_are_so_many():
    assert (len(OPTIMIZERS), len(SCHEDULES)) == (8, 6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_interrupted_equals_uninterrupted(case, tmp_path):
    with pytest.raises(Stop):
        trained(case, stop=True, work=tmp_path)
    torch.rand(5)
    sha256, fitted = trained(case, work=tmp_path)
    assert fitted.resumed_at == 4
    assert sha256 == trained(case)[0]


def test_each_ends_elsewhere_than_the_others():
    found = {trained(case)[0] for case in CASES}
    assert len(found) == len(CASES) - 1, "adamw and linear are the default of one another"


def test_a_layer_decay_that_finds_no_layers_is_refused():
    with pytest.raises(RecipeError, match="layer_decay needs a list of layers"):
        fit(job(layer_decay=0.9))


def test_the_numbers_say_what_moved_the_weights():
    numbers = trained({"optimizer": {"sgd": {"momentum": 0.5}}, "schedule": "one_cycle"})[1].numbers
    assert numbers["optimizer"] == "sgd"
    assert numbers["lr"] == {"highest": 0.02, "schedule": "one_cycle", "warmup": 0.3}


def test_a_rate_of_nobody_suits_the_optimizer():
    assert trained({"optimizer": "sgd", "lr": None})[1].numbers["lr"]["highest"] == pytest.approx(0.1)
