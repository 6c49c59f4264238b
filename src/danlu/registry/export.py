"""A version for elsewhere: a folder with one form of it and a short script that answers without Danlu.

The script is put together from what the processor and the task say of themselves (`blocks.portable`), so nothing here
knows a task. It needs ONNX Runtime, numpy and what the processor needs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from danlu import bundle
from danlu.blocks.portable import Piece, script
from danlu.core.errors import DataError, RecipeError
from danlu.core.files import disk_faults, make_dirs, publish_dir, temp_beside
from danlu.predictor import Predictor
from danlu.registry.versions import Version

_NEEDS = ("numpy", "onnxruntime")
_SAMPLES = 8
_DOC = "Answers of {name} (form {form}), without Danlu: `python answer.py INPUT…`, or `--check` against sample.json."
_README = """# {name}, form {form}

One form of the model {name}, and a script that answers with it. Danlu is not needed.

    pip install --no-deps -r requirements.txt
    python answer.py {example}
    python answer.py --check

The script imports what `requirements.txt` names and nothing besides, so what those packages would bring is left out.
`--check` answers the inputs in `sample.json` and compares with the registry's answers: at most 1e-5 away.

| file | what it is |
| --- | --- |
| `answer.py` | the whole program; `from answer import Model` gives `Model()(x)` |
| `model.onnx` | the model |
| `settings.json` | what the script needs to know: {settings} |
| `sample.json` | inputs made up for the task, with the answers of {name} |
{files}
Version digest: `{digest}`.
"""


def export(version: Version, opened: Path, target: Path, *, form: str = "") -> dict[str, Any]:
    """Write the folder `target`, whole or not at all; it may be there if it is empty. `opened` holds the version.

    Returns `{folder, form, bytes, needs}`. Raises RecipeError when the folder is not empty, when the form is not one
    ONNX graph, or when its task or its processor does not say how it works outside Danlu.
    """
    check_empty(target)
    forms = bundle.Forms.open(opened)
    chosen = form or forms.default
    forms.spec(chosen)
    folder = forms.folder(chosen)
    graph = _graph(folder, chosen, forms)
    predictor = bundle.load(folder)
    pieces = [_piece(one, version) for one in (predictor.processor, predictor.task)]
    make_dirs(target.absolute().parent)
    temp = temp_beside(target.absolute())
    with disk_faults(target):
        try:
            temp.mkdir()
            shutil.copyfile(graph, temp / "model.onnx")
            for file in pieces[0].files:
                shutil.copyfile(folder / file, temp / file)
            needs = _write(temp, version, chosen, predictor, pieces)
            if target.exists():
                target.rmdir()
            publish_dir(temp, target.absolute())
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    size = sum(path.stat().st_size for path in target.rglob("*"))
    return {"folder": str(target), "form": chosen, "bytes": size, "needs": needs}


def check_empty(target: Path) -> None:
    """Raise RecipeError unless there is nothing, or an empty folder."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise RecipeError("it is not an empty folder, and nothing is overwritten", where=str(target), do="name another")


def _graph(folder: Path, form: str, forms: bundle.Forms) -> Path:
    graphs = sorted(folder.glob("*.onnx"))
    if bundle.describe(folder).form.name == "onnx" and len(graphs) == 1:
        return graphs[0]
    others = [n for n in forms.names if bundle.describe(forms.folder(n)).form.name == "onnx"]
    do = (
        f"--form {others[0]}"
        if others and form not in others
        else "add a step {do: compress, by: [int8]} above publish"
    )
    raise RecipeError(f"the form {form} is not one ONNX graph, and no other runs without torch", do=do)


def _piece(one: object, version: Version) -> Piece:
    portable = getattr(one, "portable", None)
    if not callable(portable):
        what = f"{type(one).__name__} does not say how it works outside Danlu"
        do = "give it a method `portable` (danlu.blocks.portable), or take the version whole: --archive FILE.tar.gz"
        raise RecipeError(f"{what}, so {version.reference} can't be exported", do=do)
    told: Piece = portable()
    return told


def _write(folder: Path, version: Version, form: str, predictor: Predictor, pieces: Sequence[Piece]) -> list[str]:
    needs = [f"{name}=={metadata.version(name)}" for name in sorted({*_NEEDS, *(n for p in pieces for n in p.needs)})]
    settings = {"processor": pieces[0].settings, "task": pieces[1].settings}
    task = predictor.task
    inputs = [task.ask(row) for row in task.sample(_SAMPLES)]
    asked = [predictor([x])[0] for x in inputs]
    sample = [{"input": task.to_json(x), "answer": answer} for x, answer in zip(inputs, asked, strict=True)]
    told = {"name": version.reference, "form": form, "digest": version.digest}
    files = "".join(f"| `{name}` | of the processor, as it was trained with |\n" for name in pieces[0].files)
    example = f'"{inputs[0]}"' if isinstance(inputs[0], str) else "FILE"
    words = ", ".join(name for settings_ in settings.values() for name in settings_)
    texts = {
        "answer.py": script(_DOC.format(**told), pieces),
        "requirements.txt": "".join(f"{need}\n" for need in needs),
        "README.md": _README.format(**told, example=example, files=files, settings=words),
        "settings.json": _json(settings),
        "sample.json": _json(sample),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return needs


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as fault:
        raise DataError(f"the settings and answers of an exported model must be JSON: {fault}") from fault
