"""Reward: the better answer gets the greater number, padded or not, and answers are ranked by it."""

import math

import numpy as np
import pytest
import torch

from danlu.blocks import preferences
from danlu.blocks.tensors import to_torch
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.tasks.reward import Reward
from danlu.testing.bag import Bag
from danlu.testing.partners import Trial

TINY = {"template": "plain", "length": 64}


def conforming(folder):
    return {"reward": {**TINY, "partners": {"backbones": Llama(size="tiny", positions=96)}}}


@pytest.fixture(scope="module")
def judge():
    return Trial.of(Reward(**TINY), Llama(size="tiny", positions=96)).fit(steps=30, lr=2e-3)


def test_the_loss_is_that_of_bradley_and_terry():
    found = preferences.bradley_terry(torch.tensor([2.0, 0.0]), torch.tensor([0.5, 0.0])).tolist()
    assert found == pytest.approx([math.log(1 + math.exp(-1.5)), math.log(2)])


def test_the_better_answer_gets_the_greater_score(judge):
    ask = judge.predictor()
    for row in judge.rows[:4]:
        talks = [
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[name]}]
            for name in ("chosen", "rejected")
        ]
        chosen, rejected = (answer["score"] for answer in ask(talks))
        assert chosen > rejected + 1
        [ranked] = ask([{"messages": row["prompt"], "answers": [row["rejected"], row["chosen"]]}])
        assert ranked["order"] == [1, 0]
        assert ranked["scores"][1] == pytest.approx(1 / (1 + math.exp(rejected - chosen)), rel=1e-4)


def test_a_pair_in_a_batch_is_judged_as_its_answers_alone(judge):
    rows = [judge.rows[0], dict(judge.rows[1], rejected="the moon never does and never will")]
    examples = [example for row in rows for example in judge.task.examples(row, judge.processor)]
    batch = to_torch(judge.task.collate(examples, judge.processor))
    with torch.no_grad():
        outputs = judge.task.forward(judge.module.eval(), batch)
    for k, row in enumerate(rows):
        alone = judge.predictor()([
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[name]}] for name in ("chosen", "rejected")
        ])  # fmt: skip
        said = [outputs[name][k, 0].item() for name in ("logits", "rejected")]
        assert [one["score"] for one in alone] == pytest.approx(said, abs=1e-4)


def test_what_cannot_be_judged(judge):
    question = {"role": "user", "content": "name a colour"}
    for x, what in (
        ([question], "nobody answers in the conversation"),
        ([question, {"role": "assistant", "content": "green"}, question], "ends with no answer that could be judged"),
        ("name a colour", "a conversation is a list of messages"),
        ({"messages": "a"}, "an input is a conversation with answers"),
    ):
        with pytest.raises(DataError, match=what):
            judge.task.from_json(x)
    with pytest.raises(DataError, match=r"conversation and answer have \d+ tokens, and the model takes 96"):
        judge.predictor()([{"messages": "name a colour", "answers": ["green " * 200]}])
    assert np.isfinite(judge.predictor()([[question, {"role": "assistant", "content": "green"}]])[0]["score"])


def test_a_backbone_without_tokens_is_refused():
    trial = Trial.of(Reward(**TINY), Bag())
    with pytest.raises(
        RecipeError, match="the backbone reads no tokens, and reward writes conversations out as tokens"
    ):
        trial.task.examples(trial.rows[0], trial.processor)
