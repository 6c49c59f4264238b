"""What compressors and runtimes promise: a smaller or another form of a model that gives the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from danlu.blocks.tensors import state
from danlu.contracts import Compressor, Form
from danlu.core import plugin
from danlu.core.errors import DanluError, RecipeError
from danlu.testing.general import refused
from danlu.testing.models import batch_gap, require_same_after_loading
from danlu.testing.partners import Trial, task_for, trial_for
from danlu.testing.subject import ConformanceError, Subject, check, require

_ALONE = 1e-4
_HEARD = 6

# ---- compressors -----------------------------------------------------------------------------------------------------


@check("compressors")
def check_it_works_on_something(subject: Subject) -> None:
    """It compresses modules (`wrap` and `compress`), exported forms (`compress_form`), or both."""
    kind = type(subject.plugin)
    wraps = kind.wrap is not Compressor.wrap
    require(wraps == _on_modules(kind), "of wrap() and compress() it has one: the first is what is replayed on load")
    require(wraps or _on_forms(kind), "it has neither compress() nor compress_form()")


@check("compressors")
def check_a_module_gets_smaller(subject: Subject) -> None:
    """A compressed module is smaller, answers within the tolerance, and answers the same after saving and loading."""
    if not _on_modules(type(subject.plugin)):
        return
    trial = _trained(subject)
    wanted, before = trial.predictor()(trial.inputs), _size(trial.module)
    trial.module = subject.plugin.compress(trial.module, trial.calls())
    after = _size(trial.module)
    require(after < before, f"the module had {before:,} bytes of weights, now it has {after:,}")
    _require_near(trial, wanted, trial.predictor(), subject.plugin.tolerance)
    require_same_after_loading(trial, subject.new("small"), (subject.plugin,))


@check("compressors")
def check_an_exported_form_gets_smaller(subject: Subject) -> None:
    """A compressed export is smaller, answers within the tolerance, and an answer does not depend on its batch."""
    if not _on_forms(type(subject.plugin)):
        return
    trial = _trained(subject)
    wanted = trial.predictor()(trial.inputs)
    runtime, exported, small = _runtime(subject), subject.new("exported"), subject.new("small")
    exported.mkdir()
    small.mkdir()
    runtime.export(trial.module, trial.calls(), exported)
    subject.plugin.compress_form(exported, trial.calls(), small)
    before, after = _bytes(exported), _bytes(small)
    require(after < before, f"the export had {before:,} bytes, now it has {after:,}")
    predictor = trial.predictor(runtime.load(small, _module_of(trial)))
    _require_near(trial, wanted, predictor, subject.plugin.tolerance)
    gap = batch_gap(trial, predictor)
    require(gap <= _ALONE, f"raw outputs alone and in a batch differ by {gap:.2g} of the largest")


@check("compressors")
def check_doing_nothing_is_an_error(subject: Subject) -> None:
    """Where there is nothing to compress, as in a model of a few counts, it says so and hands nothing on."""
    trial = Trial.of(task_for(subject), plugin.load("backbones", "majority")()).fit(steps=1, batch_size=24)
    if _on_modules(type(subject.plugin)):
        refused(lambda: subject.plugin.compress(trial.module, trial.calls()), "a module with nothing to compress")
    if _on_forms(type(subject.plugin)):
        exported, out = subject.new("exported"), subject.new("out")
        exported.mkdir()
        out.mkdir()
        _runtime(subject).export(trial.module, trial.calls(), exported)
        refused(
            lambda: subject.plugin.compress_form(exported, trial.calls(), out), "an export with nothing to compress"
        )


def _on_modules(kind: type[Compressor]) -> bool:
    return kind.compress is not Compressor.compress


def _on_forms(kind: type[Compressor]) -> bool:
    return kind.compress_form is not Compressor.compress_form


def _trained(subject: Subject) -> Trial:
    trial = trial_for(subject).fit()
    trial.module.eval()
    return trial


def _runtime(subject: Subject) -> Any:
    return subject.partners.get("runtimes") or plugin.load("runtimes", "onnx")()


def _size(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in state(module).values())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _require_near(trial: Trial, wanted: Sequence[Any], predictor: Any, tolerance: float) -> None:
    pairs = zip(wanted, predictor(trial.inputs), strict=True)
    far = float(np.quantile([trial.task.distance(a, b) for a, b in pairs], 0.99))
    require(far <= tolerance, f"one answer in a hundred lies {far:.2g} away or more, its tolerance is {tolerance:.2g}")


# ---- runtimes --------------------------------------------------------------------------------------------------------


def _module_of(trial: Trial) -> Callable[[], tuple[nn.Module, Any]]:
    return lambda: (trial.module, trial.backbone)


def _exported(subject: Subject, trial: Trial, calls: Sequence[Mapping[str, Any]]) -> tuple[Path, Form]:
    """The form and its folder; a runtime that refuses to export is one that replays the module."""
    folder = subject.new("form")
    folder.mkdir()
    if _exports(subject):
        subject.plugin.export(trial.module, list(calls), folder)
    return folder, subject.plugin.load(folder, _module_of(trial))


def _exports(subject: Subject) -> bool:
    try:
        subject.plugin.export(nn.Identity(), [], subject.new("nothing"))
    except RecipeError:
        return False
    except Exception:  # noqa: BLE001 - nothing can't be exported, and any way to say so will do
        return True
    return True


@check("runtimes")
def check_it_agrees_on_lengths_not_heard(subject: Subject) -> None:
    """A form answers as the module does, alone and in batches, on lengths that the export never heard."""
    trial = _trained(subject)
    unlike = {repr(x): x for x in trial.inputs}.values()  # a short one that stands often would be all that is heard
    longest_last = sorted(unlike, key=_length)
    heard = trial.predictor()
    with heard.listen() as calls:
        heard(longest_last[:_HEARD])
        heard(longest_last[:1])
    _, form = _exported(subject, trial, calls)
    others = [*longest_last[_HEARD:], *_longer(trial)]
    predictor = trial.predictor(form)
    allowed = subject.plugin.tolerance
    for inputs in (others, others[:1], others[-1:]):
        try:
            far = trial.distance(trial.predictor()(inputs), predictor(inputs))
        except DanluError as error:
            raise ConformanceError(f"it does not answer what it never heard: {error}") from error
        require(far <= allowed, f"an answer lies {far:.2g} from the module's, its tolerance is {allowed:.2g}")
    gap = batch_gap(trial, predictor)
    require(gap <= _ALONE, f"raw outputs alone and in a batch differ by {gap:.2g} of the largest")


def _length(x: Any) -> int:
    return len(x) if isinstance(x, str) else 0


def _longer(trial: Trial) -> list[Any]:
    """A text longer than any that was heard; for other modalities nothing."""
    texts = [x for x in trial.inputs if isinstance(x, str)]
    return [" ".join(texts)] if texts else []


@check("runtimes")
def check_an_export_can_be_repeated(subject: Subject) -> None:
    """The same weights give the same bytes, however the calls were ordered; and there are some."""
    if not _exports(subject):
        return
    trial = _trained(subject)
    calls = trial.calls()
    (once, _), (again, _) = (_exported(subject, trial, order) for order in (calls, calls[::-1]))
    names = sorted(path.name for path in once.iterdir())
    require(bool(names), "export() writes nothing")
    require(names == sorted(path.name for path in again.iterdir()), "the second export has other files")
    for name in names:
        same = (once / name).read_bytes() == (again / name).read_bytes()
        require(same, f"{name} is another at the second export of the same weights")


@check("runtimes")
def check_a_strange_folder_is_refused(subject: Subject) -> None:
    """A folder without an export is an error that says so."""
    if _exports(subject):
        trial, folder = _trained(subject), subject.new("strange")
        folder.mkdir()
        (folder / "readme.txt").write_text("nothing of yours")
        refused(lambda: subject.plugin.load(folder, _module_of(trial)), "a folder that holds no export")


@check("runtimes")
def check_a_form_has_gradients_or_says_so(subject: Subject) -> None:
    """`form.module` is the torch module, or a RecipeError that names the way out."""
    trial = _trained(subject)
    _, form = _exported(subject, trial, trial.calls())
    try:
        module: Any = form.module
    except RecipeError as error:
        require(bool(error.do), "the error of form.module does not say what to do instead")
        return
    except DanluError as error:
        raise ConformanceError(f"form.module raises {type(error).__name__}, not RecipeError") from error
    require(isinstance(module, nn.Module), f"form.module is a {type(module).__name__}")
