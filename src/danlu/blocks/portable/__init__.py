"""A model that answers without Danlu: pieces of plain Python that together make one short script.

A processor and a task that can be exported have `portable()` and give a `Piece` each; `script` joins them to a frame
that loads the graph and talks to the person. No piece imports Danlu, and what it imports besides the standard library
is named by its `needs`. So the exporter knows no task: a stranger's has a piece of its own.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PIECES = Path(__file__).with_name("pieces")
_STANDARD = sys.stdlib_module_names


@dataclass(frozen=True)
class Piece:
    """Part of an exported script.

    That of a processor defines the class `Inputs(folder, settings)`, whose call `(x, limit)` gives the named arrays of
    one input, without a batch axis. That of a task defines `answer(outputs, settings)`, the answer from the named
    outputs for one input, and `read(value)`, an input from the JSON value of a request.
    """

    sources: tuple[Path, ...]
    """Python files that define them; of ours see `piece`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What they are given, in JSON values. A task's `limit` is what an input may have at most of what has a length."""
    needs: tuple[str, ...] = ()
    """The distributions they import."""
    files: tuple[str, ...] = ()
    """The files of the model's folder that they read."""


def piece(name: str) -> Path:
    """One of the files that come with Danlu: label_sets, labels, pictures, read_base64, read_plain, tokens."""
    return _PIECES / f"{name}.py"


def script(docstring: str, pieces: Sequence[Piece]) -> str:
    """One Python file: all imports, then what the pieces define, then the frame that loads and asks the model."""
    texts = [path.read_text("utf-8") for one in pieces for path in one.sources] + [piece("frame").read_text("utf-8")]
    imports = sorted({line for text in texts for line in _imports(text)}, key=lambda line: (line[0] == "f", line))
    standard = [line for line in imports if line.split()[1].partition(".")[0] in _STANDARD]
    others = [line for line in imports if line not in standard]
    head = "\n".join([f'"""{docstring}"""', "", *standard, "", *others])
    return "\n\n\n".join([head, *(_body(text) for text in texts)]) + "\n"


def _imports(text: str) -> list[str]:
    return [ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]


def _body(text: str) -> str:
    """What stands below docstring and imports."""
    head = [n for n in ast.parse(text).body if isinstance(n, ast.Import | ast.ImportFrom | ast.Expr)]
    first = head[: 1 + sum(isinstance(n, ast.Import | ast.ImportFrom) for n in head)]
    return "\n".join(text.splitlines()[first[-1].end_lineno or 0 :]).strip()
