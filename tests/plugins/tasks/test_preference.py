"""Preferences: what DPO and ORPO lose and move, what the reference is, and how answers are compared."""

import copy
import math

import pyarrow as pa
import pytest
import torch

from danlu.blocks import preferences
from danlu.blocks.tensors import to_torch
from danlu.core.errors import DataError
from danlu.plugins.backbones.llama import Llama
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.tasks.preference import Preference
from danlu.testing.partners import Trial
from danlu.training.job import Job
from danlu.training.run import Run
from danlu.training.settings import TrainSettings

TINY = {"template": "plain", "length": 64}


def conforming(folder):
    return {"preference": {**TINY, "objective": "orpo", "beta": 1.0}}


@pytest.fixture(scope="module")
def started():
    return Trial.of(Preference(**TINY), Llama(size="tiny", positions=96))


def fresh(started, task, method=None):
    """The same untrained model for another task or method."""
    module = copy.deepcopy(started.module)
    if method is not None:
        method = method.resolve([])
        method.wrap(module)
    settled = task.settle(pa.Table.from_pylist(list(started.rows)))
    return Trial(settled, started.backbone, started.processor, module, started.rows, [], method)


def likely(trial):
    """log p of the chosen and of the rejected answers, summed, of each row."""
    examples = [example for row in trial.rows[:4] for example in trial.task.examples(row, trial.processor)]
    batch = to_torch(trial.task.collate(examples, trial.processor))
    with torch.no_grad():
        said = trial.task.forward(trial.module.eval(), batch)["log_likelihood"]
    return torch.stack(preferences.summed(said, batch.targets["side"]))


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_the_losses_are_those_of_the_papers():
    ours = torch.log(torch.tensor([[0.5, 0.25, 0.2, 1.0], [0.9, 0.9, 0.3, 0.6]]))
    theirs = torch.log(torch.tensor([[0.25, 0.25, 0.4, 1.0], [0.9, 0.9, 0.3, 0.6]]))
    side = torch.tensor([[1, 1, -1, 0], [1, -1, -1, -1]])
    found = preferences.dpo(ours, theirs, side, 0.5).tolist()
    assert found == pytest.approx(
        [-math.log(1 / (1 + math.exp(-0.5 * (math.log(2) - math.log(0.5))))), math.log(2)], rel=1e-4
    )
    chosen, rejected = math.sqrt(0.5 * 0.25), 0.2
    odds = math.log(chosen / (1 - chosen)) - math.log(rejected / (1 - rejected))
    wanted = -math.log(chosen) + 0.3 * math.log(1 + math.exp(-odds))
    assert preferences.orpo(ours, side, 0.3)[0].item() == pytest.approx(wanted, rel=1e-4)
    assert torch.isfinite(preferences.orpo(torch.zeros(1, 2), torch.tensor([[1, -1]]), 1.0)).all()


def test_only_the_two_answers_are_told_and_neither_sees_the_other(started):
    row = started.rows[0]
    [example] = started.task.examples(row, started.processor)
    text, side = started.processor.text, example.targets["side"]
    told = example.inputs["tokens"]
    assert text(told[side == 1].tolist()) == row["chosen"]
    assert text(told[side == -1].tolist()) == row["rejected"]
    other = dict(row, rejected="sailors above us " * 2)
    [changed] = started.task.examples(other, started.processor)
    with torch.no_grad():
        outputs = [
            started.task.forward(started.module.eval(), to_torch(started.task.collate([one], started.processor)))[
                "log_likelihood"
            ][0]
            for one in (example, changed)
        ]
    first = int((side == 1).sum())
    torch.testing.assert_close(outputs[0][:first], outputs[1][:first], rtol=1e-4, atol=1e-5)


def test_the_answers_of_earlier_turns_are_read_and_not_learnt(started):
    talk = [
        {"role": r, "content": c}
        for r, c in (("user", "where are birds"), ("assistant", "above us"), ("user", "name a colour"))
    ]
    [example] = started.task.examples({"prompt": talk, "chosen": "green", "rejected": "never"}, started.processor)
    assert "above" not in started.processor.text(example.inputs["tokens"].tolist())
    assert started.processor.text(example.inputs["input_ids"].tolist()).count("above us") == 2


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [None, LoRA()])
def test_dpo_moves_the_chosen_above_the_reference(method, started):
    trial = fresh(started, Preference(**TINY, beta=0.5), method)
    before = likely(trial)
    examples = [example for row in trial.rows[:8] for example in trial.task.examples(row, trial.processor)]
    settings = TrainSettings(steps=12, lr=5e-3 if method else 1e-3, batch_size=8, precision="fp32")
    run = Run(Job(trial.module, trial.task, trial.processor, examples, settings=settings, method=trial.method), "fp32")
    [batch] = run.batches(examples)
    first, said = run.passed(batch), batch.beside["reference"]["log_likelihood"]
    assert first.detach().numpy() == pytest.approx(math.log(2), rel=1e-4)  # nothing moved yet
    assert list(batch.beside) == ["reference"]
    trial.fit(**{name: getattr(settings, name) for name in ("steps", "lr")})
    [again] = run.batches(examples)
    torch.testing.assert_close(again.beside["reference"]["log_likelihood"], said, rtol=1e-4, atol=1e-5)
    trial.module.train()
    assert run.passed(again).mean() < 0.5 * math.log(2)
    gained = (likely(trial) - before).mean(1)
    assert gained[0] - gained[1] > 2


def test_orpo_needs_no_other_model_and_learns_the_chosen(started):
    trial = fresh(started, Preference(**TINY, objective="orpo", beta=1.0))
    assert trial.task.beside == ()
    before = likely(trial)
    trial.fit(steps=30, lr=2e-3)
    gained = (likely(trial) - before).mean(1)
    assert gained[0] > 3
    assert gained[0] - gained[1] > 5


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_compared_written_and_scored(started):
    trial = fresh(started, Preference(**TINY, objective="orpo", temperature=0.0, most=8)).fit(steps=60, lr=2e-3)
    ask = trial.predictor()
    [answer] = ask([{"messages": "name a colour", "answers": ["seven never", "green indeed", "never"]}])
    assert answer["order"][0] == 1
    assert sum(answer["scores"]) == pytest.approx(1)
    [written] = ask(["name a colour"])
    assert written["text"].startswith("green")
    talk = [{"role": "user", "content": "name a colour"}, {"role": "assistant", "content": "green indeed"}]
    [scored] = ask([{"how_likely": talk}])
    [alone] = ask([{"messages": "name a colour", "answers": ["green indeed"]}])
    assert scored["nll"] >= 0
    assert alone["scores"] == [1.0]
    with pytest.raises(DataError, match=r"conversation and answer have \d+ tokens, and the model takes 96"):
        ask([{"messages": "name a colour", "answers": ["green " * 200]}])


# ---- what is refused -------------------------------------------------------------------------------------------------


def packed(started, folder, rows, **settings):
    task = Preference(**{**TINY, **settings}, prompt="prompt", chosen="chosen", rejected="rejected")
    return task.pack(lambda: rows, started.processor, folder, ("key", "train"), lambda done: None)


def test_pairs_that_say_nothing_or_are_too_long(started, tmp_path):
    good = started.rows[0]
    long = dict(good, rejected="never " * 30)
    with pytest.raises(DataError, match=r"1 of 2 train pairs have more than 40 tokens, the longest \(row 2\)"):
        packed(started, tmp_path, [good, long], length=40)
    kept = packed(started, tmp_path, [good, long], length=40, too_long="skip")
    assert len(kept) == 1
    assert kept.notes == ("1 of 2 train pairs have more than 40 tokens and were left out",)
    with pytest.raises(DataError, match=r"(?s)1 of 1 train pairs.*length=\d+$"):
        packed(started, tmp_path, [long], length=40, too_long="skip")
    for row, what in (
        (dict(good, rejected=good["chosen"]), "the chosen answer is the rejected one"),
        (dict(good, chosen=" "), "an answer is empty"),
        (dict(good, chosen=[{"role": "user", "content": "hi"}]), "is a text, or one message of the role"),
    ):
        with pytest.raises(DataError, match=f"train row 2: .*{what}"):
            packed(started, tmp_path, [good, row])
    for x, what in (
        ({"messages": "a", "answers": "b"}, "`answers` is a list of texts"),
        ({"messages": "a", "answers": [1]}, "`answers` is a list of texts"),
        ({"answers": ["a"], "most": 1}, "an input is a conversation with answers"),
    ):
        with pytest.raises(DataError, match=what):
            Preference().from_json(x)
