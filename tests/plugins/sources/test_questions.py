"""Questions composed from sentences in which names are marked."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from pydantic import ValidationError

from danlu.core.errors import DataError
from danlu.plugins.sources.questions import Questions

NAMES = ["Ann", "Bob Dole", "Cid", "Dora Ek"]
PLACES = ["Rome", "Paris", "Oslo"]


def conforming(folder):
    return {"questions": options(folder)}


def options(folder, rows=30, **more):
    lines = []
    for k in range(rows):
        words, tags = (
            [f"word{chr(97 + k % 26)}x".replace("word", "w"), "went", f"y{chr(97 + k // 26)}{chr(97 + k % 26)}"],
            ["O"] * 3,
        )
        if k % 3:
            name = NAMES[k % 4].split()
            words, tags = [*name, *words], ["B-PER", "I-PER"][: len(name)] + tags
        if k % 2:
            words, tags = [*words, "to", PLACES[k % 3]], [*tags, "O", "B-LOC"]
        lines.append(json.dumps({"tokens": words, "tags": tags}))
    (folder / "tagged.jsonl").write_text("\n".join(lines) + "\n")
    return {"source": {"jsonl": str(folder / "tagged.jsonl")}, **more}


def rows(folder, **more):
    return pa.Table.from_batches(Questions(**options(folder, **more)).rows()).to_pylist()


def test_the_answer_is_the_name_in_the_sentence_with_the_clues(tmp_path):
    made = rows(tmp_path, unanswerable=0.0, each=4)
    assert len(made) > 20
    for row in made:
        [text], [start] = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][start : start + len(text)] == text
        assert text in (NAMES if row["question"].startswith("Who") else PLACES)
        clues = row["question"].removesuffix("?").split(" together with ")[1].split(" and ")
        assert len(clues) == 2
        assert not {*clues} & {*text.split()}
    assert {row["question"].split()[0] for row in made} == {"Who", "Which"}


def test_some_questions_have_no_answer_though_the_context_has_such_a_name(tmp_path):
    made = rows(tmp_path, unanswerable=0.5, each=4)
    none = [row for row in made if not row["answers"]["text"]]
    assert 0.3 < len(none) / len(made) < 0.9
    for row in none:
        assert any(one in row["context"] for one in (NAMES if row["question"].startswith("Who") else PLACES))


def test_the_seed_decides_and_contexts_are_numbered(tmp_path):
    assert rows(tmp_path) == rows(tmp_path)
    assert rows(tmp_path) != rows(tmp_path, seed=1)
    numbers = [row["document"] for row in rows(tmp_path, sentences=5)]
    assert numbers == sorted(numbers)
    assert max(numbers) == 5


def test_wording_without_spaces(tmp_path):
    asked = {"between": "", "comma": "和", "template": "{asked}与{clues}？", "asked": {"PER": "谁"}, "unanswerable": 0}
    [row, *_] = rows(tmp_path, **asked)
    assert row["question"].startswith("谁与")
    assert " " not in row["context"]
    assert row["answers"]["text"][0] in row["context"]


def test_nothing_to_ask(tmp_path):
    with pytest.raises(DataError, match="no question can be made of 30 sentences"):
        rows(tmp_path, asked={"ORG": "Which company"})
    with pytest.raises(DataError, match="there is no column 'names'; the columns are: tokens, tags"):
        rows(tmp_path, tags="names")
    with pytest.raises(ValidationError, match="must hold"):
        Questions(source={"jsonl": "x"}, template="{asked}?")
