"""What the losses are, against torch's own and the papers' formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from danlu import recipe
from danlu.contracts import Example
from danlu.core.errors import RecipeError
from danlu.plugins.tasks.text_multilabel_classification import TextMultilabelClassification
from danlu.plugins.techniques.class_weights import ClassWeights
from danlu.plugins.techniques.label_smoothing import LabelSmoothing
from danlu.plugins.techniques.robust_loss import RobustLoss
from technique_toys import Flat, See, numbers, trained


def told(train, techniques, **options):
    """Outputs, targets and the loss of every example, of one batch."""
    found = []

    def note(run):
        found.append((run.outputs["logits"].detach(), run.batch.targets["label"], run.losses().detach()))

    trained(Flat(4), train, (*techniques, See(note)), steps=1, **options)
    return found[0]


@pytest.mark.parametrize("epsilon", [0.1, 0.4])
def test_smoothing_is_torchs(epsilon):
    logits, truth, loss = told(numbers((4,)), (LabelSmoothing(epsilon=epsilon),))
    wanted = functional.cross_entropy(logits, truth, label_smoothing=epsilon, reduction="none")
    torch.testing.assert_close(loss, wanted)


def test_several_labels_are_drawn_towards_a_half():
    task = TextMultilabelClassification(text="text", label=("a", "b", "c"), labels=("a", "b", "c"))
    rng = np.random.default_rng(0)
    train = [Example(e.inputs, {"label": rng.integers(0, 2, 3).astype(np.float32)}) for e in numbers((4,))]
    logits, truth, loss = told(train, (LabelSmoothing(epsilon=0.2),), task=task)
    wanted = functional.binary_cross_entropy_with_logits(logits, 0.8 * truth + 0.1, reduction="none").sum(-1)
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalized_cross_entropy(q):
    logits, truth, loss = told(numbers((4,)), (RobustLoss(q=q),))
    p = logits.softmax(-1).gather(-1, truth[:, None])[:, 0]
    torch.testing.assert_close(loss, (1 - p**q) / q)


def test_symmetric_cross_entropy():
    logits, truth, loss = told(numbers((4,)), (RobustLoss(kind="symmetric", alpha=0.5, beta=2.0),))
    p, one_hot = logits.softmax(-1), functional.one_hot(truth, 3)
    log_of_truth = torch.where(one_hot == 1, 0.0, -4.0)
    reverse = -(p * log_of_truth).sum(-1)
    torch.testing.assert_close(loss, 0.5 * functional.cross_entropy(logits, truth, reduction="none") + 2.0 * reverse)


@pytest.mark.parametrize("first", [LabelSmoothing(), RobustLoss()], ids=lambda t: t.name)
def test_weights_behind_it_weigh_it_whole(first):
    weights = torch.tensor([5.0, 1.0, 1.0])
    _, truth, alone = told(numbers((4,)), (first,))
    _, _, weighed = told(numbers((4,)), (first, ClassWeights(weights={"one": 5.0})))
    torch.testing.assert_close(weighed, alone * weights[truth])


def test_wrong_labels_are_learnt_less():
    """A quarter of the labels is wrong: the robust loss leaves more of the wrong ones unlearnt."""
    rng = np.random.default_rng(0)
    train, right = [], []
    for k in range(90):
        x = (np.eye(3)[k % 3] * 2).repeat(20) + rng.normal(0, 1.5, 60)
        right.append(k % 3)
        label = (k + 1) % 3 if rng.random() < 0.25 else k % 3
        train.append(Example({"x": x.astype(np.float32)}, {"label": np.int64(label)}))
    inputs = torch.tensor(np.stack([e.inputs["x"] for e in train]))

    def share_right(techniques):
        module = trained(Flat(60), train, techniques, steps=150, batch_size=90)
        return float((module(inputs)["logits"].argmax(-1) == torch.tensor(right)).float().mean())

    assert share_right((RobustLoss(q=0.9),)) > share_right(()) + 0.1


RECIPE = """
name: x
steps:
  data: {{do: prepare, source: synthetic, task: {task}}}
  tuned: {{do: finetune, backbone: {backbone}, techniques: {techniques}}}
"""


@pytest.mark.parametrize(
    ("task", "backbone", "techniques", "match"),
    [
        ("text_classification", "bert", "[robust_loss, focal_loss]", "robust_loss wants loss = robust"),
        ("text_classification", "bert", "[label_smoothing, robust_loss]", "robust_loss wants loss = robust"),
        ("text_multilabel_classification", "bert", "[robust_loss]", "robust_loss wants answer = label"),
        ("text_classification", "bert", "[fgm, pgd]", "gives adversary = "),
        ("text_classification", "bert", "[freelb, pgd]", "gives adversary = "),
        ("text_classification", "bert", "[ema, swa]", "gives average = "),
        ("image_classification", "cnn", "[fgm]", "fgm wants modality = text"),
        ("text_classification", "bert", "[cutmix]", "cutmix wants modality = image"),
        ("text_classification", "tfidf_lr", "[mixup]", "mixup wants learning = descent"),
    ],
)
def test_check_refuses_what_does_not_go_together(tmp_path, task, backbone, techniques, match):
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE.format(task=task, backbone=backbone, techniques=techniques))
    with pytest.raises(RecipeError, match=match):
        recipe.load(path)
    path.write_text(RECIPE.format(task="text_classification", backbone="bert", techniques="[mixup, r_drop, fgm, ema]"))
    assert recipe.load(path).name == "x"
