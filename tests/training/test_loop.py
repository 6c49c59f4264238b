"""The loop: steps, one loss divided once, turns, guards, models that count, models beside."""

import math
import random

import numpy as np
import pytest
import torch
from training_toys import (
    DP,
    DP2,
    EWC,
    FGM,
    Adversaries,
    BesideTagging,
    Counting,
    Frozen,
    Look,
    LookAfter,
    NoisyTagging,
    OnlyHead,
    Pair,
    Tagger,
    Tagging,
    Teacher,
    Words,
    examples,
    job,
    listen,
    weights_sha256,
)

from danlu.contracts import Technique
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.core.events import Events
from danlu.training.job import Judge
from danlu.training.loop import fit


def loss_of(module, task, held) -> float:
    """Σ loss / Σ count, one example at a time."""
    module.eval()
    batches = [task.collate([example], Words()).map(torch.from_numpy) for example in held]
    with torch.no_grad():
        total = sum(float(task.loss(module(**batch.inputs), batch).sum()) for batch in batches)
    return total / sum(example.count for example in held)


def weights_after(*args, **options) -> str:
    one = job(*args, **options)
    fit(one)
    return weights_sha256(one.module)


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


# ---- models beside ---------------------------------------------------------------------------------------------------


def test_the_reference_is_the_model_as_it_was():
    module = Tagger()
    start = {name: tensor.clone() for name, tensor in module.state_dict().items() if name != "seen"}
    said = []

    def see(run):
        reference = run.beside["reference"]
        said.append(all(torch.equal(reference.state_dict()[name], tensor) for name, tensor in start.items()))

    fit(job(BesideTagging(), module, techniques=(LookAfter(see),)))
    assert said == [True] * 12
    assert not torch.equal(module.head.weight, start["head.weight"])


def test_the_reference_pulls():
    task, held = Tagging(), examples(Tagging(), 30)
    free, held_back = Tagger(), Tagger()
    fit(job(task, free, steps=60))
    fit(job(BesideTagging(), held_back, steps=60))
    assert loss_of(held_back, task, held) > loss_of(free, task, held) + 0.05


def test_the_method_may_bring_the_reference():
    asked = []

    class Own(OnlyHead):
        def without(self, model):
            asked.append(model)
            return lambda ids: {"logits": torch.zeros(*ids.shape, 3)}

    module = Tagger()
    fit(job(BesideTagging(), module, method=Own(), steps=2))
    assert asked == [module]


def test_another_model_is_given_or_missed_with_its_name():
    teacher = Tagger(seed=9).eval()
    assert weights_after(techniques=(Teacher(),), beside={"teacher": teacher}) != weights_after()
    with pytest.raises(RecipeError, match="the model 'teacher' is wanted beside the trained one"):
        fit(job(techniques=(Teacher(),)))


# ---- guards ----------------------------------------------------------------------------------------------------------


def test_an_empty_training_set_is_refused():
    with pytest.raises(DataError, match="the training set is empty"):
        fit(job(train=[]))


def test_a_method_that_trains_nothing_is_refused():
    with pytest.raises(RecipeError, match="the turn 'model' trains no weight"):
        fit(job(module=Frozen().wrap(Tagger())))


def test_a_training_in_which_no_weight_moved_is_refused():
    class Still(Technique):
        def before_step(self, run):
            for weight in run.trained().values():
                weight.grad = None

    with pytest.raises(RecipeError, match="no weight moved: all 7 trained tensors of the turn 'model'"):
        fit(job(techniques=(Still(),)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_step_turn_and_rate(value):
    class Broken(Technique):
        def loss(self, loss, run):
            return loss * value if run.step == 3 else loss

    with pytest.raises(RecipeError, match=rf"the loss is {value} at step 4 of 12 \(turn 'model', learning rate 0\.0"):
        fit(job(techniques=(Broken(),)))


def test_a_gradient_that_is_not_finite_is_told_before_the_loss_is():
    class Broken(Technique):
        def before_step(self, run):
            run.model.head.weight.grad[0, 0] = math.nan

    with pytest.raises(RecipeError, match="the norm of the gradient is nan at step 1 of 12"):
        fit(job(techniques=(Broken(),)))


def test_weights_that_are_not_finite_at_the_end_are_told():
    class Broken(Technique):
        def finish(self, run):
            with torch.no_grad():
                run.model.head.weight[0, 0] = math.nan

    with pytest.raises(RecipeError, match=r"1 trained tensors hold NaN or infinity, the first is head\.weight"):
        fit(job(techniques=(Broken(),)))


def test_two_techniques_that_replace_the_backward_pass_are_refused():
    with pytest.raises(RecipeError, match=r"DP and .*DP2 both replace the backward pass"):
        fit(job(techniques=(DP(), DP2())))


def test_repeating_a_replaced_backward_pass_is_refused():
    with pytest.raises(RecipeError, match=r"repeats the backward pass, which .*DP replaces"):
        fit(job(techniques=(DP(rate=0.9), FGM())))


@pytest.mark.parametrize("fault", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), None])
def test_running_out_of_memory_says_what_to_change(fault):
    class Greedy(Technique):
        def after_backward(self, run):
            if fault:
                raise fault
            torch.empty(10**15)

    with pytest.raises(MachineError, match=r"(?s)out of memory with batches of 6.*batch_size=3 accumulate=2"):
        fit(job(techniques=(Greedy(),)))


def test_other_faults_of_a_model_pass_through():
    class Wrong(Tagger):
        def forward(self, ids):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(job(module=Wrong()))


# ---- validation ------------------------------------------------------------------------------------------------------


def judged(numbers):
    """A judge that says these numbers in turn, and notes the weights it saw."""
    said, seen = iter(numbers), []

    def measure(module, device):
        seen.append(weights_sha256(module))
        return next(said)

    return Judge("score", "higher", measure), seen


def test_the_best_weights_are_kept():
    judge, seen = judged([0.5, 0.9, 0.7, 0.6])
    one = job(validation=examples(Tagging(), 5), evaluate_every=3, judge=judge)
    fitted = fit(one)
    assert weights_sha256(one.module) == seen[1]
    assert fitted.numbers["validation"] == {
        "of": "score", "looks": [[3, 0.5], [6, 0.9], [9, 0.7], [12, 0.6]], "best_step": 6, "best": 0.9,
    }  # fmt: skip


def test_or_the_last_ones():
    judge, seen = judged([0.5, 0.9, 0.7, 0.6])
    one = job(validation=examples(Tagging(), 5), evaluate_every=3, judge=judge, keep="last")
    fit(one)
    assert weights_sha256(one.module) == seen[3]


def test_patience_stops_and_the_best_weights_are_kept():
    judge, seen = judged([0.5, 0.9, 0.7, 0.6, 1.0])
    one = job(validation=examples(Tagging(), 5), evaluate_every=2, patience=2, judge=judge)
    fitted = fit(one)
    assert (fitted.steps, fitted.numbers["steps_planned"]) == (8, 12)
    assert weights_sha256(one.module) == seen[1]


def test_the_validation_loss_is_the_sum_over_the_sum():
    task, held = Tagging(), examples(Tagging(), 9, skip=30)
    module = Tagger()
    fitted = fit(job(task, module, validation=held, evaluate_every=12, batch_size=4))
    assert fitted.numbers["validation"]["best"] == pytest.approx(loss_of(module, task, held), rel=1e-5)


def test_looking_changes_nothing_of_the_training():
    held = examples(Tagging(), 5)
    assert weights_after(NoisyTagging(), validation=held, evaluate_every=1, keep="last") == weights_after(
        NoisyTagging(), validation=held, evaluate_every=12, keep="last"
    )


def test_without_a_validation_set_nothing_is_looked_at():
    assert fit(job(patience=1)).numbers["validation"]["looks"] == []


# ---- what is said ----------------------------------------------------------------------------------------------------


def test_progress_and_numbers_are_told():
    events, heard = listen(Events)
    fitted = fit(job(events=events, validation=examples(Tagging(), 5), evaluate_every=6))
    last = [event for event in heard if event.kind == "progress"][-1].data
    assert (last["what"], last["done"], last["total"], last["unit"]) == ("train", 12, 12, "steps")
    assert min(last["lr"], last["examples_per_s"], last["loss"]) > 0
    numbers = [event.data for event in heard if event.kind == "numbers"]
    assert [n["step"] for n in numbers if "loss" in n] == list(range(1, 13))
    assert [n["step"] for n in numbers if "validation_loss" in n] == [6, 12]
    assert fitted.numbers["precision"] == "fp32"
    assert fitted.numbers["trained_share"] == pytest.approx(1 - 1 / fitted.numbers["parameters"], abs=1e-5)
    assert fitted.numbers["peak_memory_mb"] > 1


def test_only_what_the_method_trains_moves():
    module = OnlyHead().wrap(Tagger())
    start = {name: w.detach().clone() for name, w in module.named_parameters()}
    fitted = fit(job(module=module))
    moved = {name for name, w in module.named_parameters() if not torch.equal(w, start[name])}
    assert moved == {"head.weight", "head.bias"}
    assert fitted.numbers["trained_parameters"] == 16 * 3 + 3


def test_ewc_holds_the_weights_back():
    free, held = Tagger(), Tagger()
    fit(job(module=free, steps=60))
    fit(job(module=held, steps=60, techniques=(EWC(),)))
    start = Tagger().head.weight
    assert (held.head.weight - start).norm() < 0.5 * (free.head.weight - start).norm()
