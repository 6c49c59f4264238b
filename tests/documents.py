"""The pages of the documentation, and the blocks of code on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from danlu.core import plugin

ROOT = plugin.PACKAGE.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```", re.M | re.S)
_EXIT = re.compile(r"#.*\bexit code (\d+)")
_STABLE = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Block:
    """A block of code; `why` says why it is not run, where a comment `<!-- not run: … -->` stands above it."""

    kind: str
    body: str
    why: str = ""


@dataclass(frozen=True)
class Command:
    """A line after `$ `, and the lines shown below it."""

    line: str
    shown: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The words of the line's last command, without its comment."""
        return shlex.split(self.line.split(" && ")[-1], comments=True)

    @property
    def exit_code(self) -> int:
        """The one its comment names (`# exit code 5`), else 0."""
        said = _EXIT.search(self.line)
        return int(said.group(1)) if said else 0

    def stable(self) -> list[str]:
        """The shown words that are the same on every machine: of letters alone, on a line with no path and no `…`."""
        lines = (line for line in self.shown if "/" not in line and "…" not in line)
        return [word for line in lines for word in line.split() if _STABLE.fullmatch(word)]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *kinds: str) -> list[Block]:
    """The blocks of these kinds, in the page's order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["kind"], match["body"], match["why"] or "") for match in found if match["kind"] in kinds]


def commands(block: Block) -> list[Command]:
    """The commands of a block of the kind `console`, each with the output shown below it."""
    found: list[Command] = []
    for line in block.body.splitlines():
        if line.startswith("$ "):
            found.append(Command(line.removeprefix("$ ").strip()))
        elif found:
            found[-1].shown.append(line)
    return found


def every_command() -> Iterator[Command]:
    for page in PAGES:
        for block in blocks(page, "console"):
            yield from commands(block)


def commands_of_target(target: str) -> list[Command]:
    """Danlu's commands among those that a target of the Makefile runs. Fails when there is no such target."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)*)", text, re.MULTILINE)
    assert found, f"there is no target {target}"
    lines = (line.strip() for line in found.group(1).splitlines())
    return [Command(line.removeprefix("$(BIN)/")) for line in lines if line.startswith("$(BIN)/danlu ")]
