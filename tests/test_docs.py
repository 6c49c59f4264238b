"""The documents tell the truth: links, the reference, both READMEs, every recipe snippet, every command's grammar."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from danlu import recipe
from danlu.cli.main import app
from danlu.core import document, plugin

ROOT = plugin.PACKAGE.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line.removeprefix("$ ").split("   #")[0].split(" && ")[-1].split("  #")[0].strip()
        for page in PAGES
        for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if kind == "console"
        for line in text.splitlines()
        if line.startswith("$ ")
    }
)
STEPS = "name: snippet\nsteps:\n"
ABOVE = {
    "data": "  data: {do: prepare, source: {synthetic: {kind: text}}, task: text_classification}\n",
    "tuned": "  tuned: {do: finetune, backbone: tfidf_lr}\n",
}


def test_there_is_something_to_look_at() -> None:
    assert len(PAGES) >= 16
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_is_fresh() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fresh = module.reference()
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == fresh, "run `make docs`"


def test_both_readmes_have_the_same_parts() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")]
    headings = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in texts]
    blocks = [[(kind, re.sub(r"#.*", "", body)) for kind, body in BLOCK.findall(text)] for text in texts]
    figures = [re.findall(r"\d\.\d{3}|\d+\.\d+", text) for text in texts]
    bullets = [len(re.findall(r"^- ", text, re.MULTILINE)) for text in texts]
    assert headings[0] == headings[1]
    assert blocks[0] == blocks[1]
    assert figures[0] == figures[1]
    assert bullets[0] == bullets[1]


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("danlu ")])
def test_every_command_is_one(command: str) -> None:
    words = _words(command)[1:]
    group = typer.main.get_command(app)
    found = group.commands[words[0]]
    with found.make_context(words[0], list(words[1:]), resilient_parsing=False) as context:
        assert context.command is found


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_every_target_is_one(command: str) -> None:
    target = _words(command)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def _snippets() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "yaml":
                found.append((page.name, text))
    return found


@pytest.mark.parametrize(("page", "text"), _snippets(), ids=[f"{name}-{k}" for k, (name, _) in enumerate(_snippets())])
def test_every_recipe_snippet_loads(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("comment,stars\nfine,good\n")
    data = document.parse(text, page)
    if "steps" not in data and "source" not in data:
        (step,) = data
        above = "".join(line for name, line in ABOVE.items() if name != step)
        text = STEPS + (above if step != "data" else "") + "".join(f"  {line}\n" for line in text.splitlines())
    path = tmp_path / "snippet.yaml"
    path.write_text(text, encoding="utf-8")
    assert recipe.load(path).steps


def test_the_example_of_a_plugin_works(tmp_path: Path) -> None:
    texts = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    code = next(body for kind, body in texts if kind == "python" and "class BitFit" in body)
    (tmp_path / "bitfit.py").write_text(code)
    (entry,) = plugin.add_file(tmp_path / "bitfit.py")
    assert (entry.family, entry.name) == ("methods", "bitfit")
