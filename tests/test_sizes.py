"""Files, tests too, of at most 400 lines, functions of at most 60 (95 % at most 40), and no call that could run what a file holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from danlu.core import plugin

REPOSITORY = plugin.PACKAGE.parent.parent
FILES = sorted(plugin.PACKAGE.rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))
MOST_LINES, MOST_IN_FUNCTION, MOST_IN_NEARLY_ALL = 400, 60, 40

FORBIDDEN = re.compile(
    r"\bpickle\b\.|import pickle|torch\.load\(|joblib\.load|trust_remote_code\s*=\s*True|shell\s*=\s*True|\beval\(|\bexec\("
    r"|allow_pickle\s*=\s*True|os\.system\("
)


def function_lengths(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(f"{path.name}:{f.name}", (f.end_lineno or f.lineno) - f.lineno + 1) for f in functions]


def forbidden(path: Path) -> list[str]:
    """Calls that could run what a file holds; strings (such as advice in an error) are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            text = ast.unparse(node.func) + "("
            words = [f"{keyword.arg}={ast.unparse(keyword.value)}" for keyword in node.keywords]
            for said in (text, *words):
                if FORBIDDEN.search(said) and ".eval(" not in said:  # `module.eval()` is torch's
                    found.append(f"{path.name}:{node.lineno} {said}")
        elif isinstance(node, ast.Import) and any(a.name in ("pickle", "dill", "cloudpickle") for a in node.names):
            found.append(f"{path.name}:{node.lineno} import")
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 100
    assert len(TESTS) > 100


def test_files_are_short() -> None:
    lengths = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in [*FILES, *TESTS]}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_functions_are_short() -> None:
    lengths = [length for path in FILES for length in function_lengths(path)]
    assert [told for told in lengths if told[1] > MOST_IN_FUNCTION] == []
    assert sum(n <= MOST_IN_NEARLY_ALL for _, n in lengths) >= 0.95 * len(lengths)


def test_nothing_runs_what_a_file_holds() -> None:
    assert [found for path in FILES for found in forbidden(path)] == []


def test_planted_faults_are_caught(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "import pickle\nimport subprocess, torch\nsubprocess.run('x', shell=True)\ntorch.load('f')\neval('1')\n"
    )
    assert len(forbidden(path)) == 4
    path.write_text("def f():\n" + "    x = 1\n" * 60)
    assert function_lengths(path) == [("bad.py:f", 61)]
