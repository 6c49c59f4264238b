"""Hard negatives: near, and not what belongs; from training rows alone; and a training that uses them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import danlu
from danlu.blocks.bm25 import BM25
from danlu.blocks.dataset import DataSet
from danlu.blocks.mining import Rule, mine
from danlu.contracts import Context
from danlu.core.errors import DataError
from danlu.plugins.operators.hard_negatives import HardNegatives
from danlu.plugins.tasks.embedding import Embedding
from danlu.testing.bag import Bag
from danlu.testing.partners import Trial

WORDS = HardNegatives(encoder=None, relative_margin=0.0)
PAIRS = pa.table(
    {
        "question": ["how do i open a door", "how do i open a window", "what is a cedar", "what is a  CEDAR", None],
        "answer": [
            "i open a door by its knob",
            "i open a window by a push",
            "a cedar is a tree",
            "a tall tree",
            "nothing",
        ],
        "n": [0, 1, 2, 3, 4],
    }
)
LISTS = pa.table(
    {
        "query": ["open a door", "open a window"],
        "passages": [["knob of a door", "soup is hot"], ["push a window", "knob"]],
        "relevance": [[2.0, 0.0], [1.0, 0.0]],
    }
)


def conforming(folder):
    return {"hard_negatives": {"encoder": None}}


def rule(**options):
    return Rule(**({"number": 1, "range_min": 0, "range_max": 10, "relative_margin": 0.0, "absolute_margin": None,
                    "sampling": "top"} | options))  # fmt: skip


def chosen(scores, belong, **options):
    return mine(np.array(scores, np.float32), belong, rule(**options), np.random.default_rng(0))


def done(table, task, operator=WORDS):
    task = task.resolve(table)
    return operator.apply(table, Context(task.columns(), "train", 0))


# ---- which -----------------------------------------------------------------------------------------------------------


def test_the_nearest_that_does_not_belong_and_is_not_too_near():
    scores = [0.8, 0.9, 0.79, 0.5, 0.1]
    assert chosen(scores, {0}).places == [2]
    assert chosen(scores, {0, 2}).places == [3], "the nearest of what belongs is the measure, and none of it is mined"
    assert chosen(scores, {0}, relative_margin=0.1).places == [3]
    assert chosen(scores, {0}, absolute_margin=0.5).places == [4]
    assert (chosen(scores, {0}).near, chosen(scores, {0}, relative_margin=0.1).near) == (1, 2)


def test_ranks_are_counted_among_what_does_not_belong():
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    assert chosen(scores, {0}, range_min=2).places == [3]
    assert chosen(scores, {1}, number=2, range_max=2).places[:1] == [2], "the nearest is too near, and still has a rank"
    drawn = {tuple(sorted(mine(np.array(scores, np.float32), {0}, rule(number=2, sampling="random"),
                               np.random.default_rng(seed)).places)) for seed in range(20)}  # fmt: skip
    assert len(drawn) > 3


def test_what_is_missing_is_drawn_by_lot_and_never_from_what_is_too_near():
    found = chosen([0.9, 0.95, 0.5, 0.0, 0.0], {0}, number=3)
    assert sorted(found.places) == [2, 3, 4]
    assert (found.places[0], found.lot) == (2, 2)
    assert chosen([0.5, 0.9], {0}).places == []


def test_words_that_are_rare_count_more():
    said = BM25(["the cat sat", "the dog sat", "the the the"]).scores(["the cat", "sat sat", "字"])
    assert said[0].argmax() == 0
    assert said[1, 0] > said[1, 2] == 0
    assert not said[2].any()
    assert BM25(["一棵树", "一条狗"]).scores(["树"])[0].tolist()[1] == 0


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_a_pair_gets_a_column_and_stands_there_for_each_negative():
    after, counts = done(PAIRS, Embedding(query="question", passages="answer"))
    rows = {row["n"]: row for row in after.to_pylist()}
    assert rows[0]["negative"] == "i open a window by a push"
    assert rows[1]["negative"] == "i open a door by its knob"
    assert rows[4]["negative"] is None
    assert {rows[2]["negative"], rows[3]["negative"]}.isdisjoint({"a cedar is a tree", "a tall tree"})
    assert counts.by == {"mined": 3}
    two, counts = done(PAIRS.slice(0, 4), Embedding(query="question", passages="answer"), WORDS.model_copy(
        update={"number": 2}
    ))  # fmt: skip
    assert two.column("n").to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(len(set(pair)) == 2 for pair in zip(*[iter(two.column("negative").to_pylist())] * 2, strict=True))
    assert (counts.rows_in, counts.rows_out) == (4, 8)


def test_a_list_gets_them_at_its_front_and_nothing_is_there_twice():
    after, counts = done(LISTS, Embedding())
    first, second = after.to_pylist()
    assert first["passages"][1:] == ["knob of a door", "soup is hot"][: len(first["passages"]) - 1]
    assert first["relevance"][0] == 0
    assert len(set(second["passages"])) == len(second["passages"]) == len(second["relevance"])
    assert Embedding().resolve(after).hard == 1
    assert counts.changed == 2
    assert counts.samples


def test_what_there_is_nothing_to_mine_for():
    alone = pa.table({"query": ["a b", "c d"]})
    with pytest.raises(DataError, match=r"(?s)a row is a query alone, and nothing belongs to it.*leave hard_negatives"):
        done(alone, Embedding())
    there = PAIRS.slice(0, 2).append_column("negative", pa.array(["x", "y"]))
    with pytest.raises(DataError, match="a row has its `negative` already"):
        done(there, Embedding(query="question", passages="answer"))
    with pytest.raises(ValueError, match=r"between range_min \(9\) and range_max \(10\) there are not 2"):
        HardNegatives(number=2, range_min=9, range_max=10)


def test_an_encoder_says_what_is_near(tiny_bert):
    found = [
        done(PAIRS.slice(0, 4), Embedding(query="question", passages="answer"), one)[0].column("negative").to_pylist()
        for one in (HardNegatives(encoder=str(tiny_bert)), HardNegatives(encoder=str(tiny_bert)), WORDS)
    ]
    assert found[0] == found[1]
    assert None not in found[0]


# ---- training --------------------------------------------------------------------------------------------------------


def test_a_training_learns_from_them(tmp_path):
    """Right and wrong passages of a topic differ in a word that in-batch negatives alone hardly ask for."""
    topics = ["amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade"]
    lines = ["question,answer"]
    for k in range(60):
        topic = topics[k % 10]
        kind = ("grow", "cost")[k // 10 % 2]
        lines.append(f"where does {topic} {kind} {k},{topic} {kind}s at place {k}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    steps = {
        "data": {
            "do": "prepare",
            "source": {"csv": str(tmp_path / "pairs.csv")},
            "task": {"embedding": {"query": "question", "passages": "answer"}},
            "operators": [{"hard_negatives": {"encoder": None, "number": 2}}],
            "split": {"near": None},
        },
        "tuned": {"do": "finetune", "backbone": "danlu.testing.bag:Bag", "steps": 3, "lr": 0.01},
    }
    run = danlu.run({"name": "made", "steps": steps}, store=tmp_path / "store", trackers=[])
    data = DataSet.open(run["data"].path)
    rows = {split: data.rows(split) for split in ("train", "validation", "test")}
    train = {row["answer"] for row in rows["train"]}
    assert data.task.hard == 1
    assert len(rows["train"]) == 2 * len(train)
    assert {row["negative"] for row in rows["train"]} <= train, "a negative was taken from rows that are measured on"
    assert {row["negative"] for split in ("validation", "test") for row in rows[split]} == {None}
    near = sum(row["negative"].split()[0] in row["question"] for row in rows["train"])
    assert near > 0.6 * len(rows["train"]), "its negatives should be of the query's topic"

    few = rows["train"][:8]
    with_them, without = (
        Trial.of(data.task.model_copy(update={"hard": hard}), Bag(), rows=few).fit(steps=4).module.state_dict()
        for hard in (1, 0)
    )
    assert any(not np.array_equal(with_them[name], without[name]) for name in with_them), "they do nothing"
