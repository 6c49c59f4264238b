"""Every command and every Python snippet of the documents is run, page by page, in the page's order, as it is written.

Each page has a folder and a store of its own, with what its reader has: the shipped recipes, `my.csv`, `sentences.txt`,
and the published models the pages speak of. The two assets alone are small ones in the place of large (see `standins`),
or it would take many minutes and the network; the proof at the end runs the real ones. A block below a comment
`<!-- not run: why -->` is left out.
"""

from __future__ import annotations

import importlib
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from danlu.cli import main
from danlu.core.digests import cache_dir
from documents import PAGES, ROOT, Block, Command, blocks, commands, commands_of_target, name
from standins import write_assets, write_table

RUN = [page for page in PAGES if page.name != "README.zh.md" and blocks(page, "console", "python")]
"""The blocks of README.zh.md are those of README.md; `test_docs` holds them equal."""
SECOND_VERSION = "danlu run recipes/review_sentiment.yaml seed=1"
STAGING = "danlu promote review-sentiment@2 --alias staging"
PLUGIN = re.compile(r"^class (\w+)\(\w+\):", re.MULTILINE)
Run = Callable[[Command], str]


def furnish(folder: Path) -> None:
    """The files that the pages take for given."""
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    write_table(folder / "my.csv")
    (folder / "keys.txt").write_text("a-key-of-the-pages-of-forty-characters--\n", encoding="utf-8")
    (folder / "sentences.txt").write_text("one more day with the amber\nthe basil came too\n", encoding="utf-8")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    write_assets(folder)
    return folder


@pytest.fixture(scope="module")
def published(cache: Path, digits_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which `digits` was published, and `review-sentiment` twice."""
    folder = tmp_path_factory.mktemp("published")
    furnish(folder)
    shutil.copytree(digits_run.store.path, folder / ".danlu")
    for measured in cache_dir().glob("precision.json"):  # beside other programs it might be decided otherwise
        shutil.copy(measured, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DANLU_CACHE", str(cache))
        patch.delenv("DANLU_STORE", raising=False)
        patch.chdir(folder)
        for command in [*commands_of_target("quickstart"), Command(SECOND_VERSION), Command(STAGING)]:
            assert main.run(command.words[1:]) == 0, command.line
    return folder / ".danlu"


@pytest.fixture
def folder(
    tmp_path: Path, cache: Path, published: Path, strangers: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder a reader works in. What a page had made stays for the pages after it, which reuse it as a run does."""
    furnish(tmp_path)
    shutil.copytree(published, tmp_path / ".danlu")
    monkeypatch.setenv("DANLU_CACHE", str(cache))
    monkeypatch.delenv("DANLU_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for made in (tmp_path / ".danlu" / "artifacts").iterdir():
        if not (kept := published / "artifacts" / made.name).exists():
            shutil.copytree(made, kept)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; gives what it printed, after a look at its exit code and the output shown."""

    def run(command: Command) -> str:
        capfd.readouterr()
        code = main.run(command.words[1:])
        printed = "".join(capfd.readouterr())
        assert code == command.exit_code, f"{command.line}\n{printed}"
        missing = [word for word in command.stable() if word not in printed]
        assert missing == [], f"{command.line}\n{printed}"
        return printed

    return run


def serve(command: Command) -> None:
    """Start a server, on a free port in the place of the page's; it answers, and ends when it is told to."""
    started = [sys.executable, "-m", "danlu.cli.main", *command.words[1:], "--port", "0"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as server:
        told = ""
        while not (url := re.search(r"^(http\S+)  \(/docs", told, re.MULTILINE)) and (line := server.stdout.readline()):
            told += line
        assert url, f"{command.line}\n{told}"
        with urllib.request.urlopen(f"{url[1].replace('0.0.0.0', '127.0.0.1')}/readyz") as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def run_block(block: Block, run: Run) -> None:
    for command in commands(block):
        program, *rest = command.words
        if command.words[:2] == ["danlu", "serve"]:
            serve(command)
        elif program == "danlu":
            run(command)
        elif program == "make":  # what it sets up is there; what it runs of Danlu is run
            for inner in commands_of_target(rest[0]):
                run(inner)
        else:
            assert command.line.startswith("git clone "), f"nothing runs {command.line!r}"


def run_snippet(body: str, names: dict[str, Any], folder: Path) -> None:
    """A class is a plug-in in a file of its own; anything else is run after what the page ran before."""
    if found := PLUGIN.search(body):
        file = folder / f"{found[1].lower()}.py"
        file.write_text(body, encoding="utf-8")
        sys.modules.pop(file.stem, None)
        importlib.invalidate_caches()
        importlib.import_module(file.stem)
    else:
        exec(compile(body, "<snippet>", "exec"), names)


def test_there_is_something_to_run() -> None:
    assert len(RUN) >= 5
    assert sum(len(commands(block)) for page in RUN for block in blocks(page, "console")) >= 20
    assert sum(len(blocks(page, "python")) for page in RUN) >= 5


@pytest.mark.parametrize("page", RUN, ids=name)
def test_a_page(page: Path, folder: Path, run: Run) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page, "console", "python"):
        if block.why:
            continue
        if block.kind == "console":
            run_block(block, run)
        else:
            run_snippet(block.body, names, folder)


def test_the_model_that_was_published_answers(folder: Path, run: Run) -> None:
    """The stand-ins learn what they are taught, so that the pages' commands run on models, not on noise."""
    printed = run(Command("danlu predict review-sentiment@1 'one more day with the amber' 'the basil came too'"))
    assert re.findall("negative|positive", printed) == ["negative", "positive"]


# ---- what is not as the page says must be seen -----------------------------------------------------------------------


def test_a_wrong_page_is_seen(tmp_path: Path, folder: Path, run: Run) -> None:
    shown = "```console\n$ danlu versions digits\nversion alias\ndigits@7 /a/path of words\nnowhere\n```\n"
    page = tmp_path / "page.md"
    page.write_text(shown, encoding="utf-8")
    (block,) = blocks(page, "console")
    assert commands(block)[0].stable() == ["version", "alias", "nowhere"]
    with pytest.raises(AssertionError, match=r"'nowhere'"):
        run_block(block, run)
    with pytest.raises(AssertionError, match="danlu versions digitz"):
        run_block(Block("console", "$ danlu versions digitz\n"), run)
    run_block(Block("console", "$ danlu versions digitz   # exit code 2\n"), run)
    with pytest.raises(AssertionError, match="nothing runs 'rm x'"):
        run_block(Block("console", "$ rm x\n"), run)
    with pytest.raises(AssertionError, match="no target nowhere"):
        run_block(Block("console", "$ make nowhere\n"), run)
    page.write_text(f"<!-- not run: it never ends -->\n{shown}")
    assert blocks(page, "console")[0].why == "it never ends"


@pytest.mark.proof
@pytest.mark.demo
@pytest.mark.timeout(1800)
def test_the_real_quickstart(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for command in commands_of_target("quickstart"):
        told = subprocess.run(
            [sys.executable, "-m", "danlu.cli.main", *command.words[1:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stderr
    assert re.findall("negative|positive", told.stdout) == ["positive", "negative"]
