"""Every moment has a technique that fails its test if the moment does nothing; every pair differs from each alone or
is refused."""

import itertools
from dataclasses import replace

import pytest
import torch
from training_toys import DP, EMA, EWC, FGM, Look, NoisyTagging, Tagger, Tagging, examples, job, weights_sha256

from danlu.contracts import Technique
from danlu.core.errors import RecipeError
from danlu.training import run as run_module
from danlu.training.job import Judge
from danlu.training.loop import fit

TECHNIQUES = {"fgm": FGM(), "ema": EMA(), "ewc": EWC(), "dp": DP(), "dp without noise": DP(noise=0.0)}


def after(*techniques, **options) -> str:
    one = job(NoisyTagging(), techniques=techniques, **options)
    fit(one)
    return weights_sha256(one.module)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_each_changes_the_weights(name):
    assert after(TECHNIQUES[name]) != after()


def refused_or(*techniques) -> str | None:
    try:
        return after(*techniques)
    except RecipeError:
        return None


def check_pairs(techniques):
    """Names of the pairs that are accepted; raises AssertionError for one that equals one of the two alone."""
    accepted = set()
    for one, two in itertools.combinations(techniques, 2):
        both = refused_or(techniques[one], techniques[two])
        if both is not None:
            accepted.add((one, two))
            assert both not in (after(techniques[one]), after(techniques[two])), f"{one} and {two}"
    return accepted


class Squared(Technique):
    """Replaces the backward pass, and nothing else."""

    def backward(self, loss, run):
        (loss.square().sum() / run.divisor).backward()


class Rooted(Technique):
    """Replaces the backward pass, and nothing else."""

    def backward(self, loss, run):
        (loss.sqrt().sum() / run.divisor).backward()


def test_every_pair_differs_from_each_alone_or_is_refused():
    accepted = check_pairs(TECHNIQUES)
    assert ("fgm", "dp") not in accepted
    assert ("dp", "dp without noise") not in accepted
    assert {("fgm", "ema"), ("fgm", "ewc"), ("ema", "ewc"), ("ema", "dp"), ("ewc", "dp")} <= accepted


def test_the_check_of_pairs_catches_a_technique_that_is_passed_by(monkeypatch):
    """Planted: of two techniques that replace the backward pass the second does nothing."""
    monkeypatch.setattr(run_module.guards, "check_techniques", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="squared and rooted"):
        check_pairs({"squared": Squared(), "rooted": Rooted()})


def test_dp_and_fgm_is_refused_and_would_not_be_private(monkeypatch):
    """Without the refusal unclipped gradients are added to clipped ones."""
    with pytest.raises(RecipeError, match="repeats the backward pass"):
        after(DP(rate=0.9), FGM())
    norms = {}

    def see(run):
        norms.setdefault(len(run.techniques), []).append(max(float(w.grad.norm()) for w in run.trained().values()))

    private = DP(rate=0.9, noise=0.0, clip=0.01)
    after(private, Look(see))
    monkeypatch.setattr(run_module.Run, "again", lambda self: unguarded(self))
    after(private, FGM(), Look(see))
    assert max(norms[2]) <= 0.01 * 30 / (0.9 * 30) + 1e-6
    assert max(norms[3]) > 0.02


def unguarded(run):
    loss = run.turn.loss(run.turn.forward(run.model, run.batch), run.batch)
    (loss.sum() / run.divisor).backward()


class Reversed(Technique):
    """Turns the words of each text around, by lot."""

    def vary(self, batch, run, rng):
        flip = torch.from_numpy(rng.random(len(batch)) < 0.5)[:, None]
        ids = batch.inputs["ids"]
        return replace(batch, inputs={"ids": torch.where(flip, ids.flip(1), ids)})


def test_a_batch_is_varied_before_the_model_sees_it_and_not_when_it_answers():
    assert after(Reversed()) != after()
    held = {"validation": examples(Tagging(), 3), "keep": "last"}
    assert after(Reversed(), evaluate_every=1, **held) == after(Reversed(), **held)


def test_private_gradients_of_mixed_examples_are_refused():
    with pytest.raises(RecipeError, match="changes or mixes examples"):
        after(Reversed(), DP())


def test_dp_without_clip_and_noise_is_plain():
    """The gradient of each example, summed and divided, is the gradient of the sum."""
    gradients = []

    class All(DP):
        rate: float = 1.0

        def draw(self, chosen, run, rng):
            return chosen

    for techniques in ((), (All(clip=1e9, noise=0.0),)):
        found = {}
        see = Look(lambda run, found=found: found.update({name: w.grad.clone() for name, w in run.trained().items()}))
        fit(job(Tagging(), Tagger(dropout=0.0), techniques=(*techniques, see), steps=1, clip=None))
        gradients.append(found)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


def test_dp_divides_by_the_expected_size_and_draws_any_number():
    seen = []
    fit(job(techniques=(DP(), Look(lambda run: seen.append((len(run.chosen), run.divisor)))), steps=20))
    assert len({drawn for drawn, _ in seen}) > 3
    assert {divisor for _, divisor in seen} == {6.0}


def test_the_average_is_shown_when_the_model_answers_and_kept_at_the_end():
    seen = []
    judge = Judge(
        "x", "higher", lambda module, device: seen.append(module.head.weight.detach().clone()) or float(len(seen))
    )
    plain, averaged = Tagger(), Tagger()
    fit(job(module=plain, steps=6))
    one = job(
        module=averaged, steps=6, techniques=(EMA(),), validation=examples(Tagging(), 3), evaluate_every=3, judge=judge
    )
    fit(one)
    assert torch.equal(seen[-1], averaged.head.weight)
    assert not torch.allclose(averaged.head.weight, plain.head.weight)


def test_the_trained_weights_go_on_after_the_average_was_shown():
    """What `answering(True)` did is undone by `answering(False)`: looking more often changes nothing."""
    held = {"validation": examples(Tagging(), 3), "keep": "last"}
    assert after(EMA(), evaluate_every=1, **held) == after(EMA(), evaluate_every=12, **held)


def test_a_judge_that_fails_gives_the_trained_weights_back():
    def fail(module, device):
        raise ValueError("no answer")

    seen = {}

    class Note(Technique):
        def answering(self, run, answering):
            seen[answering] = run.model.training

    with pytest.raises(ValueError, match="no answer"):
        fit(
            job(
                validation=examples(Tagging(), 3),
                evaluate_every=1,
                judge=Judge("x", "higher", fail),
                techniques=(Note(),),
            )
        )
    assert seen == {True: True, False: True}


def test_moments_run_in_recipe_order_and_answering_ends_in_reverse():
    said = []

    class Say(Technique):
        what: str

        def start(self, run):
            said.append(f"start {self.what}")

        def draw(self, chosen, run, rng):
            said.append(f"draw {self.what}")
            return chosen

        def vary(self, batch, run, rng):
            said.append(f"vary {self.what}")
            return batch

        def loss(self, loss, run):
            said.append(f"loss {self.what}")
            return loss

        def after_backward(self, run):
            said.append(f"after_backward {self.what}")

        def before_step(self, run):
            said.append(f"before_step {self.what}")

        def after_step(self, run):
            said.append(f"after_step {self.what}")

        def answering(self, run, answering):
            said.append(f"answering {answering} {self.what}")

        def finish(self, run):
            said.append(f"finish {self.what}")

    fit(job(techniques=(Say(what="a"), Say(what="b")), steps=1, validation=examples(Tagging(), 3)))
    order = ["start", "draw", "vary", "loss", "after_backward", "before_step", "after_step", "answering True"]
    expected = [f"{moment} {name}" for moment in order for name in "ab"]
    assert said == [*expected, "answering False b", "answering False a", "finish a", "finish b"]
