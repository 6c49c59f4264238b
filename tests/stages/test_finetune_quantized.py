"""A base held in eight bits while adapters train: gone on with after a kill, published as the same small adapter."""

from typing import ClassVar

import pytest

from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.bundle import Forms
from danlu.contracts import Technique
from danlu.core.events import Events
from danlu.stages.finetune import Finetune


class Power(Technique):
    """Lets a test cut the power in a step."""

    cut_in: ClassVar[int | None] = None

    def after_step(self, run):
        if run.step == self.cut_in:
            raise InterruptedError("the power was cut")


@pytest.fixture
def trained(store, texts, tiny_bert):
    """A function that trains an adapter of some options, and goes on where it was cut; None when it is cut again."""

    def learn(key, **options):
        stage = Finetune(
            backbone={"pretrained": str(tiny_bert)}, method={"lora": {"rank": 4, **options}}, steps=40, batch_size=16,
            precision="fp32", lr=1e-3, keep="last", techniques=(Power(),), checkpoint_steps=3,
        )  # fmt: skip
        draft = store.draft(key, kind="model")
        try:
            stage.run({"dataset": texts[0]}, draft, Events.silent())
        except InterruptedError:
            draft.abandon()
            return None
        return draft.commit()

    return learn


def test_the_adapter_of_an_eight_bit_base_stands_on_the_plain_one(trained, texts):
    """The base's file is the same to the byte; answers are near those of an adapter that learnt beside it whole."""
    held, plain = trained("held", quantized="int8"), trained("plain")
    told = [bundle.describe(Forms.open(model.path).folder("trained")) for model in (held, plain)]
    files = [[file.file for file in one.weights] for one in told]
    assert files[0] == files[1]
    digests = [[one.files[name] for name in names] for one, names in zip(told, files, strict=True)]
    assert digests[0][0] == digests[1][0], "another base"
    assert digests[0][1] != digests[1][1], "it did nothing: the adapter is the one of a whole base"
    names = ("parameters", "trained_parameters", "trained_share")
    assert [held.numbers[name] for name in names] == [plain.numbers[name] for name in names]
    sizes = [Forms.open(model.path).folder("trained") / files[0][1] for model in (held, plain)]
    assert sizes[0].stat().st_size == sizes[1].stat().st_size

    task, inputs = DataSet.open(texts[0].path).task, DataSet.open(texts[0].path).judged("test")[0]
    answers = [bundle.load(Forms.open(model.path).folder("trained"))(inputs) for model in (held, plain)]
    assert 0 < max(task.distance(a, b) for a, b in zip(*answers, strict=True)) < 0.02


def test_a_training_that_was_cut_goes_on_with_the_same_result(trained, monkeypatch):
    whole = trained("whole", quantized="int8")
    monkeypatch.setattr(Power, "cut_in", 5)
    assert trained("cut", quantized="int8") is None
    monkeypatch.setattr(Power, "cut_in", None)
    resumed = trained("cut", quantized="int8")
    assert resumed.digest == whole.digest
    assert resumed.manifest["notes"] == ["resumed at step 3 of 40"]
