"""The weights of a bundle: where each belongs among the parts that built a model, and how a model is filled again.

Parts are wrapped around a model one after the other, and a weight's place is `(after, name)`: the name it has once
`after` parts are there. It is found by building the same structure anew and following every tensor through the parts by
identity, so a part needs no code for saving or loading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from danlu.blocks.tensors import state
from danlu.contracts import Method
from danlu.core.errors import DataError, MachineError

Tensors: TypeAlias = Mapping[str, torch.Tensor]
Hold: TypeAlias = Callable[[str, Callable[[], Tensors], nn.Module], Tensors]
"""The tensors to stand on, of a file, what reads it, and who will stand on them."""

Place: TypeAlias = tuple[int, str]


def places(module: nn.Module, parts: Sequence[Any]) -> dict[str, Place]:
    """The place of every tensor of the wrapped model, by its name in the end; wraps `module`.

    It is the lowest `after` since which the tensor has not changed: what a method freezes stays where it was, what it
    trains comes after it. So the frozen base of all adapters is the same file, byte for byte.
    """
    tensors = dict(state(module))
    alive = list(tensors.values())  # an identity may be used again once its owner is gone
    known = {id(tensor): (0, name) for name, tensor in reversed(tensors.items())}  # the first of tied names stays
    for after, part in enumerate(parts, 1):
        module = part.wrap(module)
        tensors = dict(state(module))
        alive += tensors.values()
        for name, tensor in reversed(tensors.items()):
            trained = isinstance(part, Method) and tensor.requires_grad
            if trained or id(tensor) not in known:
                known[id(tensor)] = (after, name)
    return {name: known[id(tensor)] for name, tensor in tensors.items()}


def write(folder: Path, module: nn.Module, found: Mapping[str, Place]) -> dict[str, int]:
    """Write the tensors of `module` by their places; gives the files and after how many parts each is filled in.

    A whole model in its backbone's own names is `model.safetensors`, which other libraries may load; anything else is
    called `part<k>.safetensors`, so that they fail instead of guessing. A tied weight is written once.
    """
    tensors = module.state_dict()
    if tensors.keys() != found.keys():
        names = _three(tensors.keys() ^ found.keys())
        raise ValueError(f"the parts named do not build this module: they differ in {names}")
    files: dict[int, dict[str, torch.Tensor]] = {}
    for name, (after, stored) in found.items():
        files.setdefault(after, {})[stored] = tensors[name].detach().cpu().contiguous()
    whole = files.keys() == {0}
    written = {}
    for after, content in sorted(files.items()):
        file = "model.safetensors" if whole else f"part{after}.safetensors"
        try:
            save_file(content, folder / file, {"format": "pt"})
        except SafetensorError as error:
            raise MachineError(f"could not write: {error}", where=str(folder / file), do="free some space") from error
        written[file] = after
    return written


def replay(
    module: nn.Module,
    parts: Sequence[Any],
    folder: Path,
    files: Mapping[str, int],
    hold: Hold | None = None,
) -> nn.Module:
    """Wrap the parts around a module and fill it from the files, each after its number of parts; in eval mode.

    With `hold` the module takes the tensors that it gives for a file in the place of its own.
    Raises DataError, naming three, unless every tensor of the files has a place and every one of the model is filled.
    """
    filled: set[int] = set()
    alive: list[Any] = []  # an identity may be used again once its owner is gone
    for after in range(len(parts) + 1):
        if after:
            module = parts[after - 1].wrap(module)
        tensors = state(module)
        alive += tensors.values()
        for file in (file for file, place in files.items() if place == after):
            held = hold(file, partial(_read, folder / file), module) if hold else None
            filled |= _fill(tensors, folder / file, held)
    empty = [name for name, tensor in state(module).items() if id(tensor) not in filled]
    if empty:
        raise DataError(f"its files have no weights for {_three(empty)}", where=str(folder), do="get the model again")
    return module.eval()


def _fill(tensors: Mapping[str, Any], path: Path, held: Tensors | None = None) -> set[int]:
    """Copy a file's tensors into their places, or let the places have those that are `held`."""
    filled = set()
    with _opened(path) as file, torch.no_grad():
        names = list(file.keys())
        strange = [name for name in names if name not in tensors]
        if strange:
            raise DataError(f"the model has no place for {_three(strange)}", where=str(path), do="get the model again")
        for name in names:
            place, tensor = tensors[name], held[name] if held else file.get_tensor(name)
            if (place.shape, place.dtype) != (tensor.shape, tensor.dtype):
                what = f"{name} is {_kind(tensor)}, the model wants {_kind(place)}"
                raise DataError(what, where=str(path), do="get the model again")
            if held:
                place.data = tensor
            else:
                place.copy_(tensor)
            filled.add(id(place))
    return filled


def _read(path: Path) -> Tensors:
    """A file's tensors, in memory of their own: aligned, and there when the file is gone; on a GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with _opened(path) as file:
        return {name: file.get_tensor(name).clone().to(device) for name in file.keys()}  # noqa: SIM118 - not a dict


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise DataError(f"the weights can't be read: {error}", where=str(path)) from error


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _three(names: Any) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def fill_alike(module: nn.Module, folder: Path, but: Sequence[str] = ()) -> list[str]:
    """Fill a module from the `model.safetensors` in a folder where names and shapes agree; the names that do not.

    The names in `but` are left as they are.

    Raises DataError when nothing agrees.
    """
    path = folder / "model.safetensors"
    own = module.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys() if name in own}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise DataError(f"the weights can't be read: {error}", where=str(path)) from error
    alike = {name: tensor for name, tensor in found.items() if tensor.shape == own[name].shape and name not in but}
    if not alike:
        raise DataError("none of its weights fits this model", where=str(path), do="choose another base")
    module.load_state_dict(alike, strict=False)
    tied = {tensor.data_ptr() for name, tensor in own.items() if name in alike}
    return [name for name, tensor in own.items() if name not in alike and tensor.data_ptr() not in tied]
