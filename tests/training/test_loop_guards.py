"""The loop: models beside, guards, validation, and what is said."""

import math

import pytest
import torch
from training_toys import (
    DP,
    DP2,
    EWC,
    FGM,
    BesideTagging,
    Frozen,
    LookAfter,
    NoisyTagging,
    OnlyHead,
    Tagger,
    Tagging,
    Teacher,
    examples,
    job,
    listen,
    loss_of,
    weights_after,
    weights_sha256,
)

from danlu.contracts import Technique
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.core.events import Events
from danlu.training.job import Judge
from danlu.training.loop import fit

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
