"""Texts that are nearly the same, and the splits."""

import random

import pytest

from danlu.blocks import cut, pieces
from danlu.blocks.dataset import DataSet
from danlu.stages.prepare import Prepare

TASK = {"text_classification": {"text": "text", "label": "label"}}
SPLITS = ("train", "validation", "test")
_DRAW = random.Random(0)
_WORDS = ["".join(_DRAW.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(500)]
STORIES = [" ".join(_DRAW.choices(_WORDS, k=25)) for _ in range(120)]


def told(stories, endings="abc"):
    return [
        {"text": f"{story} {end}", "label": "ab"[n % 2], "story": n}
        for n, story in enumerate(stories)
        for end in endings
    ]


def patterned(n=200):
    return [{"text": f"text number {k}", "label": "ab"[k % 2], "story": k} for k in range(n)]


def where(artifact, column="story"):
    """Value of a column → the splits it is in."""
    found = {}
    for split in SPLITS:
        for row in DataSet.open(artifact.path).rows(split):
            found.setdefault(row[column], set()).add(split)
    return found


def notes(artifact):
    return [note for note in artifact.manifest["notes"] if "text" in note]


@pytest.mark.parametrize("split", [{}, {"by": "random"}, {"by": "fold"}, {"near": 0.8}])
def test_near_texts_stay_together(run, given, split):
    apart = run(Prepare(source=given(told(STORIES)), task=TASK, split={**split, "near": None}))
    assert any(len(splits) > 1 for splits in where(apart).values())
    close = run(Prepare(source=given(told(STORIES)), task=TASK, split=split))
    assert all(len(splits) == 1 for splits in where(close).values())
    assert {split for splits in where(close).values() for split in splits} == set(SPLITS)
    assert notes(close) == []


def test_texts_without_a_near_one_go_where_they_went(run, given):
    plain = run(Prepare(source=given(told(STORIES, "a")), task=TASK, split={"near": None}))
    assert where(run(Prepare(source=given(told(STORIES, "a")), task=TASK))) == where(plain)


def test_texts_of_one_pattern_are_cut_one_by_one_and_the_others_stay_together(run, given):
    mixed = [*told(STORIES), *patterned()]
    made = run(Prepare(source=given(mixed), task=TASK))
    [note] = notes(made)
    assert note.endswith("near ones among them may stand in two splits")
    assert " of 560 texts are of one pattern (" in note
    of = where(made, "text")
    assert all(len({next(iter(of[f"{story} {end}"])) for end in "abc"}) == 1 for story in STORIES)
    assert {next(iter(of[f"text number {k}"])) for k in range(200)} == set(SPLITS)


def test_texts_that_are_too_many_to_compare_are_told(run, given, monkeypatch):
    monkeypatch.setattr(cut, "MOST_MB", 0)
    made = run(Prepare(source=given(told(STORIES)), task=TASK))
    assert "were not searched for near-duplicates" in notes(made)[0]
    assert any(len(splits) > 1 for splits in where(made).values())


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_like_holds_old_rows_where_near_ones_are_added(run, given, by):
    before = run(Prepare(source=given(told(STORIES[:80], "ab")), task=TASK, split={"by": by}))
    more = told(STORIES, "abc")
    plain = run(Prepare(source=given(more), task=TASK, split={"by": by}))
    old = where(before, "text")
    assert any(where(plain, "text")[text] != splits for text, splits in old.items())
    after = run(Prepare(source=given(more), task=TASK, split={"by": by, "like": str(before.path)}))
    assert {text: where(after, "text")[text] for text in old} == old
    assert all(len(splits) == 1 for splits in where(after).values()), "what was added goes with what it is near"


def test_rows_added_to_a_random_cut_move_only_what_they_are_near(run, given):
    before = run(Prepare(source=given(told(STORIES[:100], "ab")), task=TASK, split={"by": "random"}))
    more = [*told(STORIES[:100], "ab"), *told(STORIES[:20], "c"), *told(STORIES, "c")[100:]]
    after = run(Prepare(source=given(more), task=TASK, split={"by": "random"}))
    old, new = where(before, "text"), where(after, "text")
    near = {f"{story} {end}" for story in STORIES[:20] for end in "ab"}
    assert all(new[text] == splits for text, splits in old.items() if text not in near)


def test_near_rows_of_the_sources_own_splits_leave_train(run, given):
    rows = told(STORIES, "a")
    own = {"train": [*rows[:100], {**rows[110], "text": rows[110]["text"] + " b"}], "test": rows[100:]}
    made = run(Prepare(source=given(own), task=TASK))
    assert where(made)[110] == {"test"}
    [step] = [step for step in made.json("dataset.json")["operators"] if step["name"] == "keep_apart"]
    assert step["rows_in"] - step["rows_out"] == 1


@pytest.mark.parametrize("memory", [2**27, 0])
def test_decontaminate_without_a_source_takes_from_train_what_is_near_the_rows_held_out(
    run, given, monkeypatch, memory
):
    monkeypatch.setattr(pieces.Pieces.__init__, "__kwdefaults__", {"memory": memory})
    monkeypatch.setattr(pieces, "PIECE", 3000)
    made = run(Prepare(source=given(told(STORIES)), task=TASK, split={"near": None}, operators=("decontaminate",)))
    [step] = made.json("dataset.json")["operators"]
    assert step["name"] == "decontaminate on train"
    assert step["by"] == {"nearly in the other set": step["rows_in"] - step["rows_out"]}
    splits = where(made).values()
    assert all("train" not in of or of == {"train"} for of in splits)
    assert {"validation", "test"} in splits, "rows that are measured on stay"
    plain = run(Prepare(source=given(told(STORIES)), task=TASK, split={"near": None}, operators=()))
    assert step["rows_in"] == plain.json("dataset.json")["rows"]["train"]
    assert where(plain, "text") | where(made, "text") == where(plain, "text")
