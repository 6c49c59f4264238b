"""Every command in the header of a shipped recipe is one: its grammar, and the recipe with its overrides checked."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from danlu import recipe
from danlu.blocks import disturbed
from danlu.cli.main import app
from danlu.core import assets, document, plugin

ROOT = plugin.PACKAGE.parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ABRIDGED = re.compile(r"(?:^|: )\s*(?:\.\.\.|…)\s|\s(?:\.\.\.|…)\s*$", re.MULTILINE)
OWN_FILES = re.compile(r"\{(?P<source>csv|jsonl|text|image_folder): (?:\{path: )?(?P<path>[\w.-]+)")
ASSET = re.compile(r"\basset: ?([a-z][a-z0-9-]*)")


@dataclass(frozen=True)
class Line:
    """A command of a header, in words as a shell cuts it, and the recipe it stands in."""

    path: Path
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def options(self) -> dict[str, Any]:
        """What the command itself makes of its words; it fails where they are none of its."""
        command: Any = typer.main.get_command(app)
        name, *rest = self.words
        assert name == "danlu"
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, f"there is no command {rest[0]!r}"
            command, rest = command.commands[rest[0]], rest[1:]
        with command.make_context(command.name, rest) as context:
            return dict(context.params)

    @property
    def overrides(self) -> list[str]:
        """What it changes of the recipe it names."""
        options = self.options
        return [*(options.get("overrides") or ()), *(one for one in options.get("given") or () if "=" in one)]


def header(path: Path) -> str:
    """The comment at the top of a recipe, without its signs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:count])


def commands(text: str) -> list[str]:
    """Every `danlu …` of a header: to the end of its line, or to the two spaces before its explanation.

    As a shell reads it, a line goes on behind a backslash and within quotes.
    """
    found = []
    for start in re.finditer(r"(?<![\w./'-])danlu (?=[a-z])", text):
        said, quote, place = "", "", start.start()
        while place < len(text):
            sign, place = text[place], place + 1
            if not quote and sign == "\\" and text[place : place + 1] == "\n":
                place += len(re.match(r"\s*", text[place:])[0])  # type: ignore[index]
                continue
            if not quote and (sign in "\n`" or text[place - 1 : place + 1] == "  "):
                break
            if sign in "'\"" and quote in ("", sign):
                quote = "" if quote else sign
            said += sign
        found.append(said.strip().rstrip(".,;:"))
    return found


LINES = [Line(path, text) for path in RECIPES for text in commands(header(path))]


def test_there_is_something_to_look_at() -> None:
    assert len(LINES) > 70
    assert sum(bool(line.overrides) for line in LINES) > 30
    assert {line.path for line in LINES} == set(RECIPES)


def test_commands_are_read_as_a_shell_does() -> None:
    text = (
        "Two:     danlu run a.yaml b='{c: 1}' \\\n"
        "             d=2      and why\n"
        'or danlu predict x \'{"a":\n  "b  c"}\' --json-input\n'
        "`danlu compare RUN` and danlu/x, mydanlu x. danlu versions x.\n"
    )
    assert [shlex.split(one) for one in commands(text)] == [
        ["danlu", "run", "a.yaml", "b={c: 1}", "d=2"],
        ["danlu", "predict", "x", '{"a":\n  "b  c"}', "--json-input"],
        ["danlu", "compare", "RUN"],
        ["danlu", "versions", "x"],
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_no_command_is_abridged(path: Path) -> None:
    """One that begins or ends with `…` can't be pasted, and nobody checks it."""
    assert not ABRIDGED.findall(header(path))


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.path.stem}: {line.text[:60]}")
def test_a_command_of_a_header(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, options = line.words, line.options
    monkeypatch.chdir(tmp_path)
    for file in OWN_FILES.finditer(line.text):  # those that are the reader's own
        place = tmp_path / file["path"]
        place.mkdir(exist_ok=True) if file["source"] in ("text", "image_folder") else place.write_text("")
    if words[1] in ("run", "compare") and words[2] != "RUN":
        assert words[2] == f"recipes/{line.path.name}"
        made = recipe.load(line.path, line.overrides)
        steps = {step.name for step in made.steps}
        for option in ("steps", "against"):
            assert set((options.get(option) or "").split(",")) - {""} <= steps
        for change in options.get("under") or ():
            disturbed.choose(change, "--under")
    elif words[1] in ("predict", "explain"):
        names = {recipe.load(line.path).name, *re.findall(r" name=([\w-]+)", header(line.path))}
        assert words[2] in names
        if "--json-input" in words:
            json.loads(next(word for word in words if word.startswith("{")))
    elif words[1] == "assets":
        assert words[2] == "get"
        assert all(name in assets.catalogue() for name in words[3:])
    else:
        assert words[1] in ("compare", "serve"), "say here how such a command is checked"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_assets_of_a_recipe_are_fetched_by_its_header(path: Path) -> None:
    told = {name for line in LINES if line.path == path and " assets get " in line.text for name in line.words[3:]}
    used = set(ASSET.findall(json.dumps(document.parse(path.read_text("utf-8"), path.name)).replace('"', "")))
    assert used <= told
