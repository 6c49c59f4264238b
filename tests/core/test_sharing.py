"""What a training would refuse is told of its recipe: all of it, each in its place, before anything runs."""

from __future__ import annotations

import pytest

from danlu import recipe
from danlu.core.errors import RecipeFaults
from danlu.core.sharing import ALONE, Ranks, in_several

STRANGERS = '''
from danlu.contracts import Technique


class {name}(Technique):
    """Takes the gradient in a way of its own."""

    def backward(self, loss, run):
        loss.sum().backward()
'''


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strangers")
    for name in ("own_way", "other_way"):
        (folder / f"{name}.py").write_text(STRANGERS.format(name=name.title().replace("_", "")))
    return [folder / "own_way.py", folder / "other_way.py"]


def written(**tuned):
    return {
        "name": "moods",
        "steps": {
            "data": {"do": "prepare", "source": "synthetic", "task": "text_classification"},
            "tuned": {"do": "finetune", "backbone": "bert"} | tuned,
        },
    }


def load(ranks, imports, tuned):
    return recipe.load(written(**tuned), imports=imports, ranks=ranks)


def faults(ranks=ALONE, imports=(), **tuned):
    """Where → what of each fault of the training."""
    with pytest.raises(RecipeFaults) as told:
        load(ranks, imports, tuned)
    assert all(fault.do for fault in told.value.faults)
    return {fault.where: fault.what for fault in told.value.faults}


def goes(ranks=ALONE, imports=(), **tuned):
    return len(load(ranks, imports, tuned).steps) == 2


def where(found):
    return sorted(place.removeprefix("tuned.") for place in found)


def test_what_takes_gradients_of_its_own_goes_with_no_other_and_not_with_fp16(strangers):
    told = faults(imports=strangers, techniques=["own_way", "other_way"])
    assert list(told.values()) == [
        "own_way and other_way both replace the backward pass, so one of them would do nothing"
    ]
    told = faults(imports=strangers, techniques=["own_way", "mixup"])
    assert list(told.values()) == ["mixup changes or mixes examples, and own_way takes the gradient of each as it is"]
    told = faults(imports=strangers, techniques=["own_way"], precision="fp16")
    assert list(told.values()) == ["own_way replaces the backward pass, whose loss fp16 has to scale"]
    assert goes(imports=strangers, techniques=["own_way", "ema"], precision="bf16")


def test_nothing_changes_gradients_of_a_model_that_counts(strangers):
    told = faults(imports=strangers, backbone="tfidf_lr", techniques=["own_way"])
    assert list(told.values()) == ["own_way changes losses or gradients, and this model has none: it counts"]
    assert list(faults(backbone="tfidf_lr", techniques=["ema"]).values()) == [
        "ema wants learning = descent, but tuned.backbone: tfidf_lr gives learning = counting"
    ]


@pytest.mark.parametrize("method", ["prompt", "p_tuning", {"last_layers": 0}, "zero_shot"])
def test_layers_join_only_where_they_are_trained(method):
    assert where(faults(method=method, techniques=["gradual_unfreezing"])) == ["techniques"]
    assert goes(method={"last_layers": 1}, techniques=["gradual_unfreezing"])


def test_all_that_two_processes_cannot_share_is_told_at_once():
    asked = {"folds": 3, "method": "few_shot", "techniques": ["ema", "gradual_unfreezing"]}
    told = faults(Ranks(2), **asked | {"method": "full"})
    assert told == {
        "tuned.folds": "folds are trained in one process",
        "tuned.techniques": "gradual_unfreezing replaces the draw of a step, which 2 ranks share",
    }
    assert faults(Ranks(2), method="few_shot") == {
        "tuned.method": "few_shot replaces the draw of a step, which 2 ranks share"
    }
    assert where(faults(Ranks(3), backbone="tfidf_lr")) == ["backbone"]
    assert goes(Ranks(1), techniques=["gradual_unfreezing"])
    assert goes(Ranks(2), method="zero_shot")


def test_all_that_cannot_be_held_in_shares_is_told_at_once():
    asked = {"method": {"lora": {"quantized": "int8"}}, "optimizer": "adafactor", "techniques": ["class_weights"]}
    told = faults(Ranks(2, sharded=True), **asked)
    assert where(told) == ["method.lora.quantized", "optimizer", "techniques"]
    assert told["tuned.optimizer"].startswith("adafactor keeps sums over rows and columns of weights, of which")
    assert goes(Ranks(2), **asked)
    assert goes(Ranks(2, sharded=True), method="lora", techniques=["label_smoothing"])


def test_what_is_there_already_is_not_trained():
    steps = recipe.load(written(folds=3)).steps
    assert in_several(steps, Ranks(2))
    assert not in_several(steps, Ranks(2), but={"tuned"})
