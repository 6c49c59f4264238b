"""What backbones and methods promise: structure without chance, answers that survive the disk, and something learnt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu import bundle
from danlu.blocks.tensors import evaluating, state, to_torch
from danlu.contracts import Method
from danlu.core.errors import DanluError
from danlu.testing.general import require_light_import
from danlu.testing.partners import BATCH, ENOUGH, ROWS, STEPS, Trial, go_together, learnt, plainest_first, trial_for
from danlu.testing.subject import ConformanceError, Subject, check, require
from danlu.training.settings import FROM_SCRATCH

_ALONE = 1e-4
"""How far raw outputs of an example alone may lie from its outputs in a batch, relative to the largest."""
_ODD: dict[str, list[Any]] = {
    "text": ["", " ", "\x00", "ŷ̴̢ 🜂 zqxv", "字" * 3000, "word " * 3000],
    "image": [np.zeros((1, 1), np.uint8), np.zeros((3, 400, 3), np.uint8), np.full((9, 5, 4), 255, np.uint8)],
}
"""Inputs that occur in real life, by modality: empty, unknown, very long or of an odd shape."""

# ---- backbones -------------------------------------------------------------------------------------------------------


def _counts(subject: Subject) -> bool:
    return bool(subject.plugin.gives.get("learning") == "counting")


@check("backbones")
def check_the_structure_is_no_accident(subject: Subject) -> None:
    """Building twice gives the same names, shapes and types; starting twice from one seed, the same weights."""
    trial, again = trial_for(subject), trial_for(subject)
    folder = subject.plugin.folder()
    first, second = (state(subject.plugin.build(trial.task.head(), trial.processor, folder)) for _ in range(2))
    kinds = [{name: (tensor.shape, tensor.dtype) for name, tensor in built.items()} for built in (first, second)]
    require(kinds[0] == kinds[1], "build() gives other names, shapes or types of weights the second time")
    started = state(trial.module)
    require(started.keys() == first.keys(), "start() gives a module with other names of weights than build()")
    for name, tensor in state(again.module).items():
        require(torch.equal(tensor, started[name]), f"{name} is drawn from elsewhere than torch's generator")
    unknown = [prefix for prefix in trial.fresh if not any(name.startswith(prefix) for name in started)]
    require(not unknown, f"start() names as random what is no weight: {', '.join(unknown)}")


@check("backbones")
def check_the_processor_survives_the_disk(subject: Subject) -> None:
    """What was learnt or loaded gives the same arrays after saving and loading, and every time."""
    trial = trial_for(subject)
    folder = subject.new("processor")
    folder.mkdir()
    trial.backbone.save(folder, trial.module, trial.processor)
    loaded = trial.backbone.processor(folder)
    for x in trial.material:
        one = trial.processor.inputs(x)
        for other in (trial.processor.inputs(x), loaded.inputs(x)):
            same = one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
            require(same, "the processor gives other arrays the second time, or after it was saved and loaded")
    require(dict(loaded.pad) == dict(trial.processor.pad), "the padding is another after loading")


@check("backbones")
def check_the_processor_needs_no_torch(subject: Subject) -> None:
    """Its class lies outside plug-ins and imports no torch, so that an ONNX form is served without."""
    kind = type(subject.plugin).processor_class
    require(".plugins." not in kind.__module__, f"{kind.__name__} lies in a plug-in; put it into a module of its own")
    require_light_import(kind)


@check("backbones")
def check_what_comes_next_is_not_seen(subject: Subject) -> None:
    """Asked for the next token, what it says does not depend on the tokens that come after."""
    for task in fitting_tasks(subject):
        if task.gives.get("head") != "next":
            continue
        trial = Trial.of(task, subject.plugin)
        ids = torch.arange(10, 20)[None] % max(trial.processor.size, 1)
        changed = ids.clone()
        changed[0, 5:] = (ids[0, 5:] + 3) % max(trial.processor.size, 1)
        at = torch.arange(5)[None]
        with torch.no_grad():
            model = trial.module.eval()
            one, other = (model(input_ids=x, at=at)["logits"] for x in (ids, changed))
        gap = (one - other).abs().max().item()
        require(gap <= _ALONE, f"what it says of the next token moves by {gap:.2g} when later tokens change")


@check("backbones")
def check_alone_is_as_in_a_batch(subject: Subject) -> None:
    """Raw outputs of an example do not depend on what else is in its batch: padding and normalisation are masked."""
    trial = trial_for(subject)
    gap = batch_gap(trial, trial.predictor())
    require(gap <= _ALONE, f"raw outputs alone and in a batch differ by {gap:.2g} of the largest: is padding masked?")


def batch_gap(trial: Trial, predictor: Any) -> float:
    """The greatest difference of raw outputs alone and in a batch, relative to the largest output."""
    kinds: dict[tuple[str, ...], list[Any]] = {}
    for example in (e for x in trial.inputs[:8] for e in trial.task.encode(x, trial.processor)):
        kinds.setdefault(tuple(sorted(example.inputs)), []).append(example)
    gap, largest = 0.0, 1e-9
    for example, batched in ((e, b) for some in kinds.values() for e, b in zip(some, predictor.ask(some), strict=True)):
        (alone,) = predictor.ask([example])
        for name, array in alone.items():
            width = tuple(slice(0, n) for n in np.shape(array))
            gap = max(gap, float(np.abs(np.asarray(batched[name])[width] - array).max(initial=0.0)))
            largest = max(largest, float(np.abs(array).max(initial=0.0)))
    return gap / largest


@check("backbones")
def check_odd_inputs_hurt_nobody(subject: Subject) -> None:
    """The empty, the unknown, the very long input is answered or refused, and its neighbours' answers stay."""
    trial = trial_for(subject)
    predictor, good = trial.predictor(), trial.inputs[:2]
    expected = predictor(good)
    for odd in _ODD.get(trial.task.gives.get("modality", ""), []):
        first, strange, last = predictor.try_all([good[0], odd, good[1]])
        if isinstance(strange, Exception):
            require(isinstance(strange, DanluError), f"an odd input ({_shown(odd)}) raises {strange!r}")
        for found, wanted in ((first, expected[0]), (last, expected[1])):
            require(not isinstance(found, Exception), f"an odd input ({_shown(odd)}) breaks its neighbour: {found!r}")
            far = trial.task.distance(found, wanted)
            require(far < 1e-3, f"an odd input ({_shown(odd)}) moves its neighbour's answer by {far:.2g}")


def _shown(odd: Any) -> str:
    return f"shape {odd.shape}" if isinstance(odd, np.ndarray) else repr(odd[:12])


@check("backbones")
def check_every_task_that_fits_can_be_learnt(subject: Subject) -> None:
    """It overfits the sample of each task it can go with, and answers the same after saving and loading.

    It descends at the rate at which `finetune` trains random weights, or at five times that.
    One that counts need not get the sample right; its loss must fall on rows whose labels are not balanced.
    """
    for task in fitting_tasks(subject):
        begun = partial(Trial.of, task, subject.plugin, rows=_unbalanced(task) if _counts(subject) else None)
        trial = begun()
        before = _mean_loss(trial)
        if _counts(subject):
            trial.fit(steps=1, batch_size=ROWS)
        else:
            for lr in (FROM_SCRATCH, 5 * FROM_SCRATCH):
                trial, share = learnt(begun, _steps(task), lr=lr)
                if share >= ENOUGH:
                    break
        after = _mean_loss(trial)
        require(after < before, f"under {task.name} the loss does not fall: {before:.4f}, then {after:.4f}")
        if not _counts(subject):
            require(share >= ENOUGH, f"under {task.name} it learns {share:.0%} of the sample")
        require_same_after_loading(trial, subject.new(task.name), ())


def _steps(task: Any) -> int:
    """More for a task that asks for words: there are hundreds of them, and few labels."""
    head = task.gives.get("head", "input")
    if head == "sequence":
        return 2 * STEPS
    words = task.gives.get("modality") == "text" and head not in ("input", "vector")
    return 6 * STEPS if words else STEPS


def fitting_tasks(subject: Subject) -> list[Any]:
    """The partner task that was named, or the plainest of each kind of head that the backbone can go with."""
    if "tasks" in subject.partners:
        return [subject.partners["tasks"]]
    found: dict[tuple[Any, ...], Any] = {}
    for task in plainest_first():
        if go_together(task, subject.plugin):
            found.setdefault((task.gives.get("modality"), task.gives.get("head"), task.head().several), task)
    return list(found.values())


def require_same_after_loading(trial: Trial, folder: Path, parts: tuple[Any, ...]) -> None:
    """Raise ConformanceError unless the model answers the same once it was written to a folder and read from it."""
    wanted = trial.predictor()(trial.inputs)
    try:
        found = bundle.load(trial.save(folder, parts), batch_size=BATCH)(trial.inputs)
    except (DanluError, ValueError) as error:
        raise ConformanceError(f"it cannot be saved and loaded: {error}") from error
    far = trial.distance(wanted, found)
    require(far == 0, f"answers move by {far:.2g} when the model is saved and loaded")


def _unbalanced(task: Any) -> list[Any]:
    rows = task.sample(ROWS)
    return [row for k, row in enumerate(rows) if k % 2 == 0 or k % 6 == 1]


def _mean_loss(trial: Trial) -> float:
    examples = [e for row in trial.rows for e in trial.task.examples(row, trial.processor)]
    batch = to_torch(trial.task.collate(examples, trial.processor))
    with evaluating(trial.module), torch.no_grad():
        loss = trial.task.loss(trial.task.forward(trial.module, batch), batch)
    return float((loss.sum() / batch.count.sum()).item())


# ---- methods ---------------------------------------------------------------------------------------------------------


def _tuned(subject: Subject) -> Trial:
    return trial_for(subject, subject.plugin)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state(module).items()}


@check("methods")
def check_wrap_changes_structure_only(subject: Subject) -> None:
    """Wrapping again gives the same names and shapes, whatever the weights are, and leaves old weights alone."""
    plain = trial_for(subject)
    before = _weights(plain.module)
    wrapped = state(_tuned(subject).whole().module)
    method = subject.plugin.told(plain.task.head(), plain.processor)
    spoilt, fresh = plain.backbone.start(method.head(plain.task.head()), plain.processor)
    with torch.no_grad():
        for weight in spoilt.parameters():
            weight.fill_(float("nan"))
    again = state(method.resolve(fresh).wrap(spoilt))
    require(
        {n: t.shape for n, t in wrapped.items()} == {n: t.shape for n, t in again.items()},
        "wrap() builds another structure when the weights are others: it must not read them",
    )
    replaced = [n for n, t in before.items() if n in wrapped and not torch.equal(t, wrapped[n])]
    require(not replaced, f"wrap() changes the weight {', '.join(replaced[:3])}")
    changed = before.keys() != wrapped.keys()
    told = method.changes_structure()
    require(told or not changed, "wrap() changes the names of weights, and changes_structure() says that it does not")


@check("methods")
def check_a_method_learns_and_freezes(subject: Subject) -> None:
    """It learns the sample, moves only what it set to require a gradient, and answers the same after loading.

    What it took from frozen weights for the training is there again (`restore`).

    One that is meant to train nothing freezes all, and answers the same after loading.
    """
    trial = _tuned(subject)
    before = _weights(_tuned(subject).whole().module)
    named = trial.module.named_parameters(remove_duplicate=False)  # a tied weight moves under all its names
    trained = {name for name, weight in named if weight.requires_grad}
    if not subject.plugin.trains:
        require(not trained, f"it trains nothing, and {min(trained, default='')} requires a gradient")
        require_same_after_loading(trial.fit().whole(), subject.new("saved"), (trial.method,))
        return
    require(bool(trained), "nothing requires a gradient after wrap(), so nothing would be trained")
    trial.fit().whole()
    moved = {name for name, tensor in _weights(trial.module).items() if not torch.equal(tensor, before[name])}
    require(bool(moved), "no weight moved in training")
    require(moved <= trained, f"frozen weights moved: {', '.join(sorted(moved - trained)[:3])}")
    require(trial.right() >= ENOUGH, f"it learns {trial.right():.0%} of the sample")
    method = trial.method
    assert method is not None
    parts = (method,) if method.changes_structure() else ()
    folder = subject.new("saved")
    require_same_after_loading(trial, folder, parts)
    whole = (folder / "model.safetensors").exists()
    require(
        not (parts and whole), "half a model is saved as model.safetensors, which other libraries load without a word"
    )


@check("methods")
def check_merging_keeps_the_answers(subject: Subject) -> None:
    """The merged model has the plain model's names and answers within the method's tolerance; the first stays."""
    stays = subject.plugin.changes_structure() and type(subject.plugin).merge is Method.merge
    said = subject.plugin.gives.get("parts") == "stay"
    require(said == stays, "`gives` must say `parts: stay` of a method whose parts can't be merged, and of no other")
    if stays:
        return  # its parts are no weights of the plain model's, so they stay
    trial = _tuned(subject).fit().whole()
    wanted, before = trial.predictor()(trial.inputs), _weights(trial.module)
    assert trial.method is not None
    merged = trial.method.merge(trial.module)
    names = state(trial_for(subject).module).keys()
    require(state(merged).keys() == names, "the merged model has other names of weights than the plain one")
    after = _weights(trial.module)
    require(all(torch.equal(before[n], after[n]) for n in before), "merge() changes the model it was given")
    trial.module = merged
    far = trial.distance(wanted, trial.predictor()(trial.inputs))
    allowed = subject.plugin.tolerance
    require(far <= allowed, f"merging moves answers by {far:.2g}, its tolerance is {allowed:.2g}")


@check("methods")
def check_the_reference_stays(subject: Subject) -> None:
    """What `without` gives says the same at the end of training as at the start, in eval mode and without gradients."""
    trial = _tuned(subject)
    assert trial.method is not None
    reference = trial.method.without(trial.module)
    if reference is None:
        return
    call = {name: torch.from_numpy(array) for name, array in trial.calls()[0].items()}
    before = {name: value.clone() for name, value in reference(**call).items()}
    trial.fit()
    trial.module.train()
    after = reference(**call)
    require(trial.module.training, "asking the reference changes the mode of the model that is trained")
    for name, value in before.items():
        gap = (value - after[name]).abs().max().item()
        require(gap < 1e-6, f"the reference moved by {gap:.2g} while the model was trained")
        require(not after[name].requires_grad, "the reference's outputs carry gradients")
