"""`few_shot` and `zero_shot`: what the descriptions say at the start, what few rows add, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import danlu
from danlu import bundle
from danlu.blocks import sentence
from danlu.blocks.label_contrast import Contrast, contrasts
from danlu.blocks.pooled import Pooled
from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Beginning
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.few_shot import FewShot
from danlu.plugins.methods.zero_shot import ZeroShot, likeliest
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor
from danlu.testing.partners import Trial

TASK = TextClassification(text="text", label="label", labels=("a", "b"))
SAID = {"a": "amber basil", "b": ("cedar delta", "delta")}
ROWS = [
    *({"text": f"{word} amber basil", "label": "a"} for word in ("the", "one", "that")),
    *({"text": f"cedar delta {word}", "label": "b"} for word in ("the", "one", "that")),
]


@pytest.fixture
def started(tiny_bert: Path):
    def start(method, rows=ROWS) -> Trial:
        return Trial.of(TASK, Pretrained(model=str(tiny_bert), dropout=0.0), method, rows=rows)

    return start


@pytest.fixture
def plain(tiny_bert: Path):
    backbone = Pretrained(model=str(tiny_bert))
    processor = backbone.processor(tiny_bert)
    torch.manual_seed(0)
    return backbone.start(TASK.head(), processor)[0], processor


def examples(rows, processor):
    return [TASK.examples(row, processor)[0] for row in rows]


def test_a_sentence_vector_is_the_mean_of_all_its_tokens(plain) -> None:
    module, processor = plain
    model = sentence.reading(module).eval()
    own = examples([ROWS[0], {"text": "cedar", "label": "b"}], processor)
    found = sentence.vectors_of(model, own, processor)
    for example, vector in zip(own, found, strict=True):
        ids = torch.from_numpy(example.inputs["input_ids"])[None]
        with torch.no_grad():
            hidden = super(Pooled, model.body).forward(input_ids=ids)[0]
        assert hidden.shape[1] == ids.shape[1], "the last layer gives the first token alone"
        mean = hidden[0].mean(0)
        assert torch.allclose(vector, mean / mean.norm(), atol=1e-5)


def test_zero_shot_says_what_is_described(started) -> None:
    trial = started(ZeroShot(descriptions=SAID, scale=30.0))
    assert not any(weight.requires_grad for weight in trial.module.parameters())
    before = {name: weight.clone() for name, weight in trial.module.state_dict().items()}
    trial.fit()
    assert all(torch.equal(before[name], weight) for name, weight in trial.module.state_dict().items())
    answers = trial.predictor()(["amber basil", "cedar delta"])
    assert [one["label"] for one in answers] == ["a", "b"]
    turned = started(ZeroShot(descriptions={"a": SAID["b"], "b": SAID["a"]}, scale=30.0))
    assert [one["label"] for one in turned.predictor()(["amber basil", "cedar delta"])] == ["b", "a"]


def test_validation_rows_give_the_scale() -> None:
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.6], [0.7, 0.1]])
    sure, unsure = torch.tensor([0, 1, 1, 0]), torch.tensor([1, 0, 1, 0])
    scales = [1.0, 5.0, 50.0]
    assert likeliest(cosines, sure, scales) == 50.0
    assert likeliest(cosines, unsure, scales) == 1.0


def test_zero_shot_is_as_sure_as_the_validation_rows_allow(plain) -> None:
    module, processor = plain
    method = ZeroShot(descriptions=SAID)
    model = method.wrap(module)
    rows = examples(ROWS, processor)
    lengths = []
    for validation in ((), rows, examples([row | {"label": "a"} for row in ROWS], processor)):
        method.begin(model, Beginning(TASK.head(), processor, [], validation))
        lengths.append(float(model.head.weight[0].norm()))
    assert lengths[0] == pytest.approx(20.0)
    assert lengths[1] > lengths[2]


def test_few_shot_begins_with_the_descriptions_and_learns_from_there(started) -> None:
    trial = started(FewShot(descriptions=SAID, scale=7.0))
    assert torch.allclose(trial.module.head.weight.norm(dim=1), torch.full((2,), 7.0))
    said = [one["label"] for one in trial.predictor()(["amber basil", "cedar delta"])]
    assert said == ["a", "b"]
    trial.fit(steps=10, lr=1e-3)
    assert trial.right() == 1.0


def test_contrast_draws_rows_of_a_label_together(started) -> None:
    def spread(weight: float) -> float:
        trial = started(FewShot(descriptions=SAID, contrast=weight)).fit(steps=4, lr=1e-3)
        vectors = sentence.vectors_of(trial.module, examples(ROWS, trial.processor), trial.processor)
        return float(contrasts(vectors, torch.tensor([0, 0, 0, 1, 1, 1]), 0.1).mean())

    assert spread(5.0) < spread(0.0) - 1e-3


def test_contrast_by_hand_and_without_a_partner() -> None:
    vectors = nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), dim=-1)
    found = contrasts(vectors, torch.tensor([0, 0, 1]), 0.5)
    powers = np.exp([0.6 / 0.5, 0.0])
    assert float(found[0]) == pytest.approx(-np.log(powers[0] / powers.sum()), rel=1e-5)
    assert float(found[2]) == 0.0
    assert torch.isfinite(found).all()


def test_steps_of_many_rows_see_every_label_alike() -> None:
    class Run:
        class job:
            train = [type("E", (), {"targets": {"label": np.int64(k % 10 == 0)}})() for k in range(100)]

    technique = Contrast(weight=1.0, temperature=0.1)
    drawn = technique.draw(list(range(16)), Run, np.random.default_rng(0))
    labels = [int(Run.job.train[place].targets["label"]) for place in drawn]
    assert (labels.count(0), labels.count(1)) == (8, 8)
    assert technique.draw(list(range(100)), Run, np.random.default_rng(0)) == list(range(100))


@pytest.mark.parametrize("method", [FewShot(descriptions=SAID), ZeroShot(descriptions=SAID)], ids=lambda m: m.name)
def test_saved_and_exported_it_answers_the_same(started, method, tmp_path) -> None:
    trial = started(method).fit(steps=2)
    texts = ["amber basil", "cedar", "amber basil cedar amber basil cedar"]
    predictor = Predictor(TorchForm(trial.module), TASK, trial.processor)
    with predictor.listen() as calls:
        wanted = predictor(texts)
    loaded = bundle.load(trial.save(tmp_path / "saved", (method,)))
    assert loaded(texts) == wanted
    (tmp_path / "onnx").mkdir()
    Onnx().export(trial.module, list(calls), tmp_path / "onnx")
    exported = Predictor(Onnx().load(tmp_path / "onnx", lambda: None), TASK, trial.processor)
    assert max(TASK.distance(a, b) for a, b in zip(exported(texts), wanted, strict=True)) < 1e-4


@pytest.mark.parametrize(
    ("descriptions", "told"),
    [
        ({"a": "amber"}, r"the label 'b' has no description, and others have"),
        ({"a": "amber", "b": ""}, r"the label 'b' has no description"),
        ({"a": "amber", "b": "cedar", "c": "x"}, r"'c' is described, and is no label; the labels are: a, b"),
    ],
)
@pytest.mark.parametrize("method", [FewShot, ZeroShot])
def test_descriptions_that_are_missing_or_of_no_label(started, method, descriptions, told) -> None:
    with pytest.raises(RecipeError, match=told):
        started(method(descriptions=descriptions))


def test_labels_of_one_row_and_of_none(started) -> None:
    with pytest.raises(DataError, match="the label 'b' has a single training row"):
        started(FewShot(descriptions=SAID), ROWS[:4])
    trial = started(FewShot(descriptions=SAID))
    given = Beginning(TASK.head(), trial.processor, examples(ROWS[:3], trial.processor))
    with pytest.raises(DataError, match="the label 'b' has no training row"):
        trial.method.begin(trial.module, given)
    assert started(FewShot(descriptions=SAID, contrast=0.0), ROWS[:4]).fit(steps=2, lr=1e-3)


def test_a_model_without_vectors_of_tokens() -> None:
    with pytest.raises(RecipeError, match="gives no vectors of tokens"):
        ZeroShot().wrap(nn.Linear(2, 2))


def test_as_recipe_lines(tiny_bert: Path, tmp_path) -> None:
    rows = [row | {"text": f"{row['text']} {k}"} for k in range(4) for row in ROWS]
    lines = "".join(f"{row['text']},{row['label']}\n" for row in rows)
    (tmp_path / "rows.csv").write_text("text,label\n" + lines)
    source = {"do": "prepare", "source": {"csv": str(tmp_path / "rows.csv")}, "task": "text_classification"}
    common = {"do": "finetune", "backbone": {"pretrained": str(tiny_bert)}}
    steps = {
        "data": source | {"split": {"near": None}},
        "none": common | {"steps": 7, "method": {"zero_shot": {"descriptions": SAID}}},
        "few": common | {"method": {"few_shot": {"descriptions": SAID}}},
    }
    done = danlu.run({"name": "few", "seed": 0, "steps": steps}, store=tmp_path / "store", trackers=[])
    assert done["none"].manifest["numbers"]["steps"] == 0
    assert done["none"].manifest["numbers"]["trained_share"] == 0
    (note,) = [one for one in done["none"].manifest["notes"] if one.startswith("the method trains nothing")]
    assert note.startswith("the method trains nothing, so without effect: ")
    assert "steps" in note
    assert done["few"].manifest["numbers"]["steps"] == FewShot.steps
    assert bundle.load(done["none"].path / "trained")(["amber"])[0]["scores"].keys() == {"a", "b"}


def test_techniques_beside_a_method_that_trains_nothing(tiny_bert: Path, started) -> None:
    trial = started(ZeroShot(descriptions=SAID))
    with pytest.raises(RecipeError, match="this method trains nothing"):
        trial.fit([Contrast(weight=1.0, temperature=0.1)])


def test_in_training_the_vectors_are_there(started) -> None:
    trial = started(FewShot(descriptions=SAID))
    batch = to_torch(TASK.collate(examples(ROWS[:2], trial.processor), trial.processor))
    trial.module.train()
    assert set(trial.module(**batch.inputs)) == {"logits", sentence.VECTORS}
    assert set(trial.module.eval()(**batch.inputs)) == {"logits"}
