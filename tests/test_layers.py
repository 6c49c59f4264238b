"""The five rules of ARCHITECTURE.md, section 1, each with a planted violation that it catches."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from danlu.core import plugin

ROOT = plugin.PACKAGE
FILES = sorted(ROOT.rglob("*.py"))

LAYERS = {
    **dict.fromkeys(("core",), 0),
    **dict.fromkeys(
        ("contracts", "values", "rows", "fresh", "descent", "learning", "explaining", "bundle", "predictor", "blocks"),
        1,
    ),
    **dict.fromkeys(("training", "registry", "serving", "plugins", "testing"), 2),
    **dict.fromkeys(("stages",), 3),
    **dict.fromkeys(("recipe", "draft", "data_check", "data_label", "tuning"), 4),
    **dict.fromkeys(("cli", "api", "__init__", "__main__"), 5),
}
ENGINES = ("training", "registry", "serving")
TORCH_FREE = (
    "core",
    "cli",
    "recipe",
    "draft",
    "data_check",
    "data_label",
    "api",
    "contracts",
    "values",
    "rows",
    "descent",
    "learning",
    "explaining",
    "predictor",
    "bundle",
    "registry",
    "serving",
)

MODEL_LIBRARIES = {"gensim", "transformers", "peft", "sklearn", "onnxruntime", "onnx", "onnxscript", "tokenizers"}
NAMED_FOR_THEM = {
    "gensim": {"blocks/gensim.py"},
    "transformers": {"blocks/hf.py", "blocks/hf_gguf.py", "blocks/hf_seq2seq.py"},
    "peft": {"blocks/peft.py"},
    "sklearn": {"blocks/sklearn.py", "plugins/sources/digits.py"},
    "onnx": {"blocks/ort.py", "blocks/onnx_calibration.py", "blocks/onnx_export.py", "blocks/onnx_int8.py"},
    "onnxruntime": {"blocks/portable/pieces/frame.py", "blocks/ort.py", "blocks/onnx_calibration.py"},
    "onnxscript": {"blocks/onnx_export.py"},
    "tokenizers": {"blocks/portable/pieces/tokens.py", "blocks/tokens.py", "blocks/tokenizers.py"}
    | {f"plugins/tokenizers/{name}.py" for name in ("wordpiece", "bpe", "unigram", "character")},
}
"""Digits are data, not a model: scikit-learn carries them. Tokenizers is the processor that every text form needs."""


def module_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file names in an import or in `lazy(…)`, and whether at run time (not for types only)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {id(node) for guard in ast.walk(tree) if _is_typing(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base, id(node) not in typing
            yield from ((f"{base}.{alias.name}", id(node) not in typing) for alias in node.names)
        elif _is_lazy(node):
            yield node.args[0].value, False  # type: ignore[attr-defined]


def _is_lazy(node: ast.AST) -> bool:
    named = isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "lazy"
    return named and bool(node.args) and isinstance(node.args[0], ast.Constant)  # type: ignore[attr-defined]


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def layer(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "danlu":
        return None
    return LAYERS.get(parts[1]) if len(parts) > 1 else LAYERS["__init__"]


def upward(path: Path, root: Path = ROOT) -> list[str]:
    own = LAYERS[module_of(path, root).split(".")[0] or "__init__"]
    above = [(name, layer(name)) for name, _ in imports(path) if name != "danlu"]
    return [f"{path.name} imports {name}" for name, place in above if place is not None and place > own]


def across(path: Path, root: Path = ROOT) -> list[str]:
    own = module_of(path, root).split(".")
    found = []
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] != "danlu" or len(parts) < 2:
            continue
        other_plugin = parts[1] == "plugins" and len(parts) > 3
        if own[0] == "plugins" and (parts[1] in ENGINES or (other_plugin and parts[1:4] != own[:3])):
            found.append(f"{path.name} imports {name}")
        if own[0] in ENGINES and (parts[1] == "plugins" or (parts[1] in ENGINES and parts[1] != own[0])):
            found.append(f"{path.name} imports {name}")
    return found


def in_functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]
    return [f"{path.name}:{node.lineno}" for node in found]


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 100
    assert {module_of(path).split(".")[0] for path in FILES} <= set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_down_only(path: Path) -> None:
    assert upward(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_plugins_and_engines_meet_in_the_contracts(path: Path) -> None:
    assert across(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_model_library_stays_in_the_files_named_for_it(path: Path) -> None:
    used = {name.split(".")[0] for name, at_run_time in imports(path) if at_run_time} & MODEL_LIBRARIES
    where = path.relative_to(ROOT).as_posix()
    assert [library for library in used if where not in NAMED_FOR_THEM[library]] == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_import_hides_in_a_function(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() != "core/plugin.py":
        assert in_functions(path) == []


def test_what_must_start_at_once_imports_no_torch() -> None:
    modules = [
        f"danlu.{module_of(path)}"
        for path in FILES
        if module_of(path).split(".")[0] in TORCH_FREE and path.name != "__init__.py"
    ]
    assert len(modules) > 40
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += "print([m for m in ('torch', 'transformers', 'peft', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom danlu.cli.main import run\nrun(['list'])\n"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'sqlalchemy', 'sklearn') if m in sys.modules])"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # the index may have to be made first
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("place", "code", "rule"),
    [
        ("core/bad.py", "from danlu.contracts import Task", upward),
        ("blocks/bad.py", "from danlu.core.plugin import lazy\nx = lazy('danlu.training.loop')", upward),
        ("plugins/tasks/bad.py", "from danlu.plugins.tasks.text_classification import TextClassification", across),
        ("plugins/tasks/bad.py", "import danlu.training.loop", across),
        ("training/bad.py", "from danlu.plugins.metrics import accuracy", across),
        ("training/bad.py", "from danlu.registry.store import Registry", across),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, place: str, code: str, rule: object) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert rule(path, tmp_path)  # type: ignore[operator]


def test_a_planted_hidden_import_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def f():\n    import torch\n")
    assert in_functions(path) == ["bad.py:2"]
