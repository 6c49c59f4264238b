"""The loop: steps, one loss divided once, turns, guards, models that count, models beside."""

import random

import numpy as np
import pytest
import torch
from training_toys import (
    FGM,
    Adversaries,
    Counting,
    Look,
    LookAfter,
    NoisyTagging,
    Pair,
    Tagger,
    Tagging,
    examples,
    job,
    loss_of,
    weights_after,
    weights_sha256,
)

from danlu.contracts import Technique
from danlu.core.errors import RecipeError
from danlu.training.loop import fit


def test_learns_what_there_is_to_learn():
    task, module = Tagging(), Tagger()
    held = examples(task, 10, skip=60)
    before = loss_of(module, task, held)
    fitted = fit(job(task, module, n=60, steps=150))
    assert before > 1.0
    assert loss_of(module, task, held) < 0.1
    assert fitted.steps == 150
    assert not module.training


def test_a_tiny_training_has_a_known_loss():
    fitted = fit(job(module=Tagger(dropout=0.0)))
    assert fitted.numbers["loss"][0] == [1, pytest.approx(1.1221, abs=1e-3)]
    assert fitted.numbers["loss"][-1] == [12, pytest.approx(0.7, abs=0.2)]


def test_seeds():
    assert weights_after(NoisyTagging(), seed=3) == weights_after(NoisyTagging(), seed=3)
    assert weights_after(NoisyTagging(), seed=3) != weights_after(NoisyTagging(), seed=4)


def test_a_foreign_random_draw_changes_nothing():
    def disturb(run):
        torch.rand(7), np.random.rand(3), random.random()

    plain = weights_after(NoisyTagging())
    assert weights_after(NoisyTagging(), techniques=(LookAfter(disturb),)) == plain


def test_vary_is_used_and_drawn_anew_at_every_step():
    seen = []
    task = NoisyTagging()
    one = job(task, n=6, batch_size=6, steps=2, techniques=(Look(lambda run: seen.append(run.batch.inputs["ids"])),))
    fit(one)
    assert all((ids == 0).any() for ids in seen)
    assert not torch.equal(*seen)


# ---- one loss, divided once ------------------------------------------------------------------------------------------


def gradients_of(size: int, accumulate: int) -> dict[str, torch.Tensor]:
    found = {}
    see = Look(lambda run: found.update({name: w.grad.clone() for name, w in run.trained().items()}))
    one = job(module=Tagger(dropout=0.0), batch_size=size, accumulate=accumulate, steps=1, clip=None, techniques=(see,))
    fit(one)
    return found


@pytest.mark.parametrize(("size", "accumulate"), [(3, 2), (2, 3), (1, 6)])
def test_accumulated_gradients_are_those_of_one_batch(size, accumulate):
    """Answers of 1 to 20 positions: a mean of means would be far off."""
    whole, parts = gradients_of(6, 1), gradients_of(size, accumulate)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-6, rtol=1e-5)


def test_the_check_of_accumulation_catches_a_mean_of_means(monkeypatch):
    whole = gradients_of(6, 1)
    original = Tagging.loss
    monkeypatch.setattr(Tagging, "loss", lambda self, outputs, batch: original(self, outputs, batch) / batch.count)
    parts = gradients_of(3, 2)
    assert max((parts[name] - gradient).abs().max() for name, gradient in whole.items()) > 0.01


def test_batches_larger_than_the_set_are_fine():
    fitted = fit(job(n=4, batch_size=64, steps=3))
    assert fitted.numbers["epochs"] == 3


def test_epochs_and_steps_whichever_ends_first():
    assert fit(job(n=30, steps=None, epochs=2)).steps == 10
    assert fit(job(n=30, steps=None, epochs=0.5)).steps == 3
    assert fit(job(n=30, steps=7, epochs=2)).steps == 7
    assert fit(job(n=30, steps=12, epochs=2)).steps == 10
    assert fit(job(n=30, steps=None)).steps == 10


# ---- turns -----------------------------------------------------------------------------------------------------------


def test_each_turn_moves_its_own_weights():
    moved = {"tagger": [], "critic": []}
    before = {}

    def note(run):
        now = {name: w.detach().clone() for name, w in run.trained().items()}
        changed = {name.partition(".")[0] for name, w in now.items() if not torch.equal(w, before.get(name, w))}
        moved[run.turn.name].append(changed)
        before.update(now)

    see = [
        Look(lambda run: before.update({n: w.detach().clone() for n, w in run.trained().items()})),
        LookAfter(note),
    ]
    fitted = fit(job(Adversaries(), Pair(), techniques=tuple(see), steps=3))
    assert moved == {"tagger": [{"tagger"}] * 3, "critic": [{"critic"}] * 3}
    assert fitted.steps == 3


def test_a_turn_that_moves_nothing_is_refused():
    module = Pair()
    module.critic.requires_grad_(False)
    with pytest.raises(RecipeError, match="the turn 'critic' trains no weight"):
        fit(job(Adversaries(), module))


# ---- an empty step ---------------------------------------------------------------------------------------------------


class DrawNothing(Technique):
    """Poisson's empty draw, and noise on top, as privacy wants it."""

    def draw(self, chosen, run, rng):
        run.divisor = 6.0
        return []

    def before_step(self, run):
        for weight in run.trained().values():
            weight.grad.add_(torch.randn_like(weight))


def test_an_empty_step_still_adds_noise_and_steps():
    seen = []
    module = Tagger()
    start = weights_sha256(module)
    fit(
        job(module=module, steps=2, techniques=(DrawNothing(), Look(lambda run: seen.append((run.divisor, run.total)))))
    )
    assert seen == [(6.0, 0.0)] * 2
    assert weights_sha256(module) != start


def test_without_a_technique_that_sets_it_the_divisor_is_the_total():
    seen = []
    fit(job(steps=1, techniques=(Look(lambda run: seen.append((run.divisor, run.total, len(run.chosen)))),)))
    assert seen[0][0] == seen[0][1] > seen[0][2] == 6


def test_the_divisor_that_a_technique_sets_is_the_one_used():
    class Expected(Technique):
        def draw(self, chosen, run, rng):
            run.divisor = 1e3
            return chosen

    norms = []
    see = Look(lambda run: norms.append(sum(w.grad.norm() for w in run.trained().values())))
    options = {"steps": 1, "clip": None, "lr": 0.01}
    fit(job(module=Tagger(dropout=0.0), techniques=(see,), **options))
    fit(job(module=Tagger(dropout=0.0), techniques=(Expected(), see), **options))
    assert norms[1] < norms[0] / 5


def test_a_technique_may_change_the_list_it_is_given():
    class Half(Technique):
        def draw(self, chosen, run, rng):
            del chosen[3:]
            return chosen

    seen = []
    fit(job(n=6, batch_size=6, steps=3, techniques=(Half(), Look(lambda run: seen.append(len(run.chosen))))))
    assert seen == [3, 3, 3]


def test_a_step_whose_examples_hold_nothing_to_learn_is_no_fault():
    train = examples(Tagging(), 12)
    for example in train[:6]:
        example.targets["tag"][:] = -1
        example.count = 0.0
    fitted = fit(job(train=train, batch_size=1, steps=12))
    assert fitted.steps == 12


def test_the_loss_that_is_told_is_the_first_turns():
    one = fit(job(Adversaries(), Pair(), steps=1)).numbers["loss"]
    assert one[0][1] == pytest.approx(1.13, abs=0.1)


# ---- models that count -----------------------------------------------------------------------------------------------


def test_a_model_that_counts_sees_every_example_once():
    task, module = Tagging(), Counting()
    train = examples(task, 30)
    fitted = fit(job(task, module, train=train, steps=None))
    assert fitted.steps == 5
    assert module.table.sum() == sum(example.count for example in train)
    assert fitted.numbers["trained_parameters"] == 36


def test_a_model_that_wants_the_whole_set_gets_it_in_one_batch():
    module = Counting(whole_set=True)
    fitted = fit(job(Tagging(), module, n=30, steps=None, epochs=5))
    assert (fitted.steps, module.calls) == (1, 1)
    assert module.table.sum() == sum(example.count for example in examples(Tagging(), 30))


def test_a_method_called_update_does_not_make_a_model_self_taught():
    class Dict(Tagger):
        def update(self, batch):
            raise AssertionError("taken for a model that counts")

    fit(job(module=Dict(), steps=1))


def test_techniques_of_gradients_are_refused_for_a_model_that_counts():
    with pytest.raises(RecipeError, match=r"FGM changes losses or gradients, and this model has none"):
        fit(job(Tagging(), Counting(), techniques=(FGM(),)))
