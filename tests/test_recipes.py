"""Every shipped recipe checks clean and is a document: what it is for, how long it takes, what to try next."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu import recipe
from danlu.core import plugin

ROOT = plugin.PACKAGE.parent.parent
STAGES = {
    "digits": "prepare finetune compress evaluate verify publish",
    "entities": "prepare finetune evaluate verify publish",
    "review_sentiment": "prepare finetune compress evaluate verify publish",
}
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def test_there_is_something_to_look_at() -> None:
    assert [path.stem for path in RECIPES] == sorted(STAGES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_it_checks_clean_and_says_what_it_is(path: Path) -> None:
    made = recipe.load(path)
    assert [step.stage.name for step in made.steps] == STAGES[path.stem].split()
    comment = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert len(comment) >= 5
    assert any("two cores" in line for line in comment)
    assert any(f"danlu run recipes/{path.name}" in line for line in comment)


def test_the_overrides_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("comment,label\nfine,good\n")
    overrides = ["name=my-reviews", "data.source={csv: my.csv}", "data.task.text_classification.text=comment"]
    made = recipe.load(ROOT / "recipes" / "review_sentiment.yaml", overrides)
    data = made.steps[0].stage.plain()["prepare"]
    assert made.name == "my-reviews"
    assert data["source"]["csv"]["path"] == str(tmp_path / "my.csv")
    assert data["task"]["text_classification"]["text"] == "comment"
