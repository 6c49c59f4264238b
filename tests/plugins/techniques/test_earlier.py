"""Teachers and old data: each formula, and that what was learnt earlier is held."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from danlu import recipe
from danlu.core.errors import RecipeError
from danlu.plugins.tasks.text_multilabel_classification import TextMultilabelClassification
from danlu.plugins.techniques.distill import Distill
from danlu.plugins.techniques.ewc import EWC
from danlu.plugins.techniques.lwf import LwF
from danlu.plugins.techniques.mixup import Mixup
from danlu.plugins.techniques.replay import Replay
from technique_toys import TASK, Flat, Padded, See, gradients, numbers, trained


def told(techniques, module=None, train=None, **options):
    """Batches, outputs and losses of a training in which the weights hardly move."""
    found = []

    def note(run):
        found.append((run.batch, run.outputs["logits"].detach(), run.losses().detach()))

    trained(module or Flat(4), train or numbers((4,)), (*techniques, See(note)), lr=1e-9, **options)
    return found


def teacher(x):
    return {"logits": torch.stack([x[:, 0], x[:, 1] * 3, -x[:, 2]], -1), "inner": x * 2}


def kl(said, taught, temperature):
    return functional.kl_div(
        (said / temperature).log_softmax(-1), (taught / temperature).softmax(-1), reduction="none"
    ).sum(-1)


def test_distill_is_hintons():
    technique = Distill(weight=0.3, temperature=4.0)
    for batch, logits, loss in told((technique,), beside={"teacher": teacher}):
        own = functional.cross_entropy(logits, batch.targets["label"], reduction="none")
        wanted = 0.7 * own + 0.3 * 16 * kl(logits, teacher(batch.inputs["x"])["logits"], 4.0)
        torch.testing.assert_close(loss, wanted)


def test_several_labels_are_taught_each_by_itself():
    task = TextMultilabelClassification(text="text", label=("a", "b", "c"), labels=("a", "b", "c"))
    train = numbers((4,))
    for example in train:
        example.targets = {"label": np.array([1, 0, 1], np.float32)}
    technique = Distill(weight=1.0, temperature=1.0)
    for batch, logits, loss in told((technique,), train=train, task=task, beside={"teacher": teacher}):
        p, q = teacher(batch.inputs["x"])["logits"].sigmoid(), logits.sigmoid()
        wanted = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(-1)
        torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-4)


class Inner(Flat):
    def forward(self, x):
        return {**super().forward(x), "inner": x}


def test_further_outputs_are_taught_where_both_have_them():
    plain = told((Distill(),), Inner(4), beside={"teacher": teacher})
    both = told((Distill(features={"inner": 0.5}),), Inner(4), beside={"teacher": teacher})
    for (batch, _, less), (_, _, more) in zip(plain, both, strict=True):
        torch.testing.assert_close(more - less, 0.5 * batch.inputs["x"].square().mean(1))
    with pytest.raises(RecipeError, match=r"there are: logits \(6, 3\)"):
        told((Distill(features={"inner": 0.5}),), beside={"teacher": teacher})


def test_what_a_teacher_says_is_mixed_as_labels_are():
    for batch, logits, loss in told((Distill(), Mixup(alpha=1.0)), beside={"teacher": teacher}):
        wanted = 0
        for share, part in batch.mixed:
            own = functional.cross_entropy(logits, part.targets["label"], reduction="none")
            said = part.beside["teacher"]["logits"]
            assert not torch.allclose(said, teacher(batch.inputs["x"])["logits"])
            wanted = wanted + share * (0.5 * own + 0.5 * 4 * kl(logits, said, 2.0))
        torch.testing.assert_close(loss, wanted)


def test_a_student_comes_near_its_teacher():
    train = numbers((4,), n=60)
    x = torch.tensor(np.stack([e.inputs["x"] for e in train]))

    def agreement(techniques):
        module = trained(Flat(4), train, techniques, steps=200, batch_size=60, beside={"teacher": teacher})
        return float((module(x)["logits"].argmax(-1) == teacher(x)["logits"].argmax(-1)).float().mean())

    assert agreement((Distill(weight=1.0),)) > 0.9 > 0.8 > agreement(())


def test_without_a_teacher_it_says_what_to_give():
    with pytest.raises(RecipeError, match="'teacher' is wanted beside the trained one"):
        trained(Flat(4), numbers((4,)), (Distill(),))


def test_lwf_stays_near_the_model_of_the_start():
    module = Flat(4)
    first = {name: t.clone() for name, t in module.state_dict().items()}
    before = Flat(4)
    before.load_state_dict(first)
    batch, logits, loss = None, None, None
    found = []

    def note(run):
        found.append((run.batch, run.outputs["logits"].detach(), run.losses().detach()))

    trained(module, numbers((4,)), (LwF(weight=3.0, temperature=2.0), See(note)), steps=4)
    for batch, logits, loss in found[1:]:
        own = functional.cross_entropy(logits, batch.targets["label"], reduction="none")
        wanted = own + 3.0 * 4 * kl(logits, before(batch.inputs["x"])["logits"], 2.0)
        torch.testing.assert_close(loss, wanted.detach())
        assert not torch.allclose(loss, own)


def test_replay_adds_old_examples_to_every_step():
    seen = []
    old = numbers((4,), n=30, seed=5)
    trained(Flat(4), numbers((4,)), (Replay(share=0.5), See(lambda run: seen.append(run.chosen))), before=old, steps=8)
    steps = [seen[k] for k in range(0, len(seen), 2)]
    assert all(len(chosen) == 9 and sum(place >= 12 for place in chosen) == 3 for chosen in steps)
    assert len({place for chosen in steps for place in chosen if place >= 12}) > 10
    assert max(place for chosen in steps for place in chosen) < 42


def test_replay_keeps_no_more_than_asked():
    seen, old = set(), numbers((4,), n=30, seed=5)
    look = See(lambda run: seen.update(run.chosen))
    trained(Flat(4), numbers((4,)), (Replay(rows=2), look), before=old, steps=6)
    assert {place for place in seen if place >= 12} == {12, 41}


def test_an_epoch_is_one_of_the_new_rows():
    steps = []
    old = numbers((4,), n=30, seed=5)
    trained(Flat(4), numbers((4,)), (See(lambda run: steps.append(run.chosen)),), before=old, steps=None, epochs=1)
    assert sorted(place for chosen in steps for place in chosen) == list(range(12))


@pytest.mark.parametrize("technique", [Replay(), EWC()], ids=lambda t: t.name)
def test_without_old_rows_it_is_refused(technique):
    with pytest.raises(RecipeError, match="the step names none"):
        trained(Flat(4), numbers((4,)), (technique,))


def test_ewc_is_kirkpatricks():
    """The gradient of the penalty is strength × F × (w - anchor), whatever the batches; F by the rows one by one."""
    old = numbers((4,), n=7, seed=5)
    module = Flat(4)
    anchor = {n: w.detach().clone() for n, w in module.named_parameters()}
    fisher = {n: torch.zeros_like(w) for n, w in anchor.items()}
    for example in old:
        batch = TASK.collate([example], Padded()).map(torch.from_numpy)
        module.zero_grad()
        TASK.loss(module(**batch.inputs), batch).sum().backward()
        for n, w in module.named_parameters():
            fisher[n] += w.grad.square() / 7
    moved = {n: w + 0.1 for n, w in anchor.items()}

    class Moved(EWC):
        def start(self, run):
            super().start(run)
            run.model.load_state_dict(moved)

    at = Flat(4)
    at.load_state_dict(moved)
    plain = gradients(at, numbers((4,)), before=old)
    for options in ({}, {"batch_size": 3, "accumulate": 4}):
        held = gradients(Flat(4), numbers((4,)), (Moved(strength=50.0),), before=old, **options)
        for n, gradient in held.items():
            torch.testing.assert_close(gradient - plain[n], 50.0 * fisher[n] * 0.1, atol=1e-5, rtol=1e-3)


def forgetful(techniques):
    """How right a model is on a first world after it went on to a second, where one feature turns around."""
    rng = np.random.default_rng(0)

    def world(sign, noise):
        made = numbers((4,), n=90, seed=int(sign) + 3)
        for k, example in enumerate(made):
            truth = np.eye(3)[k % 3] * 2 * (noise, 1)[sign > 0]
            example.inputs["x"][:] = np.append(truth, sign * (k % 3)) + rng.normal(0, 0.4, 4)
        return made

    first, second = world(1.0, 1.0), world(-1.0, 0.0)
    module = trained(Flat(4), first, steps=150, batch_size=90)
    trained(module, second, techniques, steps=60, batch_size=90, before=first)
    x = torch.tensor(np.stack([e.inputs["x"] for e in first]))
    truth = torch.tensor([int(e.targets["label"]) for e in first])
    return float((module(x)["logits"].argmax(-1) == truth).float().mean())


def test_less_is_forgotten():
    plain = forgetful(())
    for technique in (Replay(share=1.0), EWC(strength=300.0), LwF(weight=2.0)):
        assert forgetful((technique,)) > plain + 0.05, technique


@pytest.mark.parametrize(
    ("name", "needed", "also"),
    [
        ("replay", "before: $data", ""),
        ("ewc", "before: $data", ", base: $first"),
        ("ewc", "base: $first", ", before: $data"),
        ("lwf", "base: $first", ""),
    ],
)
def test_check_tells_which_input_the_step_lacks(tmp_path, name, needed, also):
    steps = "data: {do: prepare, source: synthetic, task: text_classification}\n  first: {do: finetune}\n"
    path, (need, _, given) = tmp_path / "x.yaml", needed.partition(": ")
    path.write_text(f"name: x\nsteps:\n  {steps}  second: {{do: finetune, techniques: [{name}]{also}}}\n")
    with pytest.raises(RecipeError, match=f"{name} wants the step's input `{need}`"):
        recipe.load(path)
    path.write_text(f"name: x\nsteps:\n  {steps}  second: {{do: finetune, techniques: [{name}]{also}, {needed}}}\n")
    assert recipe.load(path).steps[-1].inputs[need] == given[1:]
