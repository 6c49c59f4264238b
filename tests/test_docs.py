"""The documents tell the truth: links, the reference, both READMEs, recipe snippets, and commands named in a sentence.

What stands in a block of its own is run: see `test_docs_run`.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from danlu import recipe
from danlu.cli.main import app
from danlu.core import document
from documents import BLOCK, PAGES, ROOT, blocks, commands_of_target, every_command, name

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
SPAN = re.compile(r"`danlu ([a-z]+ [^`]+)`|^Example: +danlu ([^\n]+?)(?:, then danlu .*)?$", re.MULTILINE)
MENTIONS = sorted(
    {
        first or second
        for page in PAGES
        for first, second in SPAN.findall(page.read_text(encoding="utf-8"))
        if "…" not in first + second
    }
)
TARGETS = sorted({command.words[1] for command in every_command() if command.words[0] == "make"})
STEPS = "name: snippet\nsteps:\n"
ABOVE = {
    "data": "  data: {do: prepare, source: {synthetic: {kind: text}}, task: text_classification}\n",
    "tuned": "  tuned: {do: finetune, backbone: tfidf_lr}\n",
}


def test_there_is_something_to_look_at() -> None:
    assert len(PAGES) >= 16
    assert len(TARGETS) >= 4
    assert len(MENTIONS) >= 20


@pytest.mark.parametrize("page", PAGES, ids=name)
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
    blocks = [[(kind, re.sub(r"#.*", "", body)) for _, kind, body in BLOCK.findall(text)] for text in texts]
    figures = [re.findall(r"\d\.\d{3}|\d+\.\d+", text) for text in texts]
    bullets = [len(re.findall(r"^- ", text, re.MULTILINE)) for text in texts]
    assert headings[0] == headings[1]
    assert blocks[0] == blocks[1]
    assert figures[0] == figures[1]
    assert bullets[0] == bullets[1]


@pytest.mark.parametrize("command", MENTIONS)
def test_every_command_in_a_sentence_is_one(command: str) -> None:
    words = shlex.split(command)
    group = typer.main.get_command(app)
    found = group.commands[words[0]]
    with found.make_context(words[0], list(words[1:]), resilient_parsing=False) as context:
        assert context.command is found


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_one(target: str) -> None:
    commands_of_target(target)


def _snippets() -> list[tuple[str, str]]:
    return [(page.name, block.body) for page in PAGES for block in blocks(page, "yaml")]


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
