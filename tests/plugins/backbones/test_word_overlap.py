"""The baseline for questions about a text finds what stands near the question's words, and knows that it may not."""

from __future__ import annotations

import pytest

from danlu.blocks import judging
from danlu.plugins.backbones.word_overlap import WordOverlap
from danlu.plugins.tasks.extractive_qa import ExtractiveQA
from danlu.testing.partners import Trial

NAMES = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn")
THINGS = ("apples", "boats", "cats", "doors", "eggs", "figs")


def rows(count: int, first: int = 0):
    """Two people who each have something; what one of them has is asked for. One question in four asks of another."""
    made = []
    for k in range(first, first + count):
        (one, other, nobody), (mine, his) = (
            (NAMES[(k + j) % 6] for j in (0, 2, 3)),
            (THINGS[(k * 5 + j) % 6] for j in (0, 1)),
        )
        context = f"it is said that {one} has {mine} and moreover as all know that {other} has {his} number {k}"
        asked = nobody if k % 4 == 3 else one
        made.append({"question": f"what has {asked}", "context": context, "answer": "" if k % 4 == 3 else mine})
    return made


@pytest.fixture(scope="module")
def counted():
    return Trial.of(ExtractiveQA(), WordOverlap(), rows=rows(60)).fit(steps=1, batch_size=60)


def test_it_finds_what_stands_near_the_rare_words(counted) -> None:
    asked = [row for row in rows(40, first=100) if row["answer"]]
    answers = counted.predictor()([counted.task.ask(row) for row in asked])
    right = sum(answer["best"][0]["text"] == row["answer"] for answer, row in zip(answers, asked, strict=True))
    assert right / len(asked) > 0.8
    assert float(counted.module.near) > 0


def test_it_is_surer_of_no_answer_where_there_is_none(counted) -> None:
    asked = rows(40, first=100)
    shares = [answer["no_answer"] for answer in counted.predictor()([counted.task.ask(row) for row in asked])]
    with_, without = (
        [s for s, row in zip(shares, asked, strict=True) if bool(row["answer"]) is has] for has in (True, False)
    )
    assert sum(without) / len(without) > sum(with_) / len(with_)


def test_it_stands_beside_a_model_in_the_report() -> None:
    from danlu.stages.evaluate import _BASELINES

    found = judging.fitting("backbones", ExtractiveQA.gives, _BASELINES)
    assert [one.name for one in found] == ["word_overlap"]
