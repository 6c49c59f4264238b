"""`zero_shot` by likelihood and by entailment, against transformers by hand; what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import danlu
from danlu import bundle
from danlu.core.errors import RecipeError, RecipeFaults
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.zero_shot import ZeroShot
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.partners import Trial
from tiny_models import write_tiny_language_model

TASK = TextClassification(text="text", label="label", labels=("bad", "good"), max_length=32)
SAID = {"bad": "cedar delta", "good": ("amber", "that came")}
ROWS = [{"text": f"the {word}", "label": label} for word, label in (("amber", "good"), ("cedar", "bad")) * 2]
TEXTS = ["amber basil", "cedar", "amber that came with it and then some more cedar"]
FREE = ("N/A", "[MASK]", "")


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> Path:
    return write_tiny_language_model(tmp_path_factory.mktemp("models") / "writer", "gpt2")


@pytest.fixture(scope="module")
def judge(tiny_bert, tmp_path_factory) -> Path:
    """A tiny BERT whose head for three labels counts as trained."""
    folder = tmp_path_factory.mktemp("models") / "judge"
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(("classifier", "bert.pooler")):
                weight += 0.5 * torch.randn_like(weight)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).write_bytes((tiny_bert / name).read_bytes())
    return folder


def started(folder: Path, **options) -> Trial:
    return Trial.of(TASK, Pretrained(model=str(folder), dropout=0.0), ZeroShot(descriptions=SAID, **options), rows=ROWS)


def ids_of(folder: Path, text: str) -> list[int]:
    return AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False, padding=False)["input_ids"]


def shares(scores) -> np.ndarray:
    powers = np.exp(np.array(scores) - np.max(scores))
    return powers / powers.sum()


def likelihoods(folder: Path, text: str) -> np.ndarray:
    """Of each label the mean over its descriptions of the mean log p of their tokens, after `[CLS] so <text> is :`."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    found = []
    for texts in (["cedar delta"], ["amber", "that came"]):
        each = []
        for said in texts:
            own = ids_of(folder, said)
            ids = torch.tensor([[2, *ids_of(folder, f"so {text} is:"), *own]])
            with torch.no_grad():
                scores = model(input_ids=ids).logits[0].log_softmax(-1)
            places = range(ids.shape[1] - len(own) - 1, ids.shape[1] - 1)
            each.append(np.mean([float(scores[at, token]) for at, token in zip(places, own, strict=True)]))
        found.append(np.mean(each))
    return np.array(found)


def test_by_likelihood(writer) -> None:
    trial = started(writer, by="likelihood", pattern="so {text} is: {label}", calibrate=False, scale=2.0)
    for text, answer in zip(TEXTS, trial.predictor()(TEXTS), strict=True):
        assert [*answer["scores"].values()] == pytest.approx(shares(2 * likelihoods(writer, text)), abs=1e-5)


def test_texts_without_content_calibrate(writer) -> None:
    trial = started(writer, by="likelihood", pattern="so {text} is: {label}")
    free = np.mean([shares(likelihoods(writer, text)) for text in FREE], axis=0)
    for text, answer in zip(TEXTS, trial.predictor()(TEXTS), strict=True):
        wanted = shares(likelihoods(writer, text) - np.log(free))
        assert [*answer["scores"].values()] == pytest.approx(wanted, abs=1e-5)
    plain = started(writer, by="likelihood", pattern="so {text} is: {label}", calibrate=False)
    assert trial.distance(plain.predictor()(TEXTS), trial.predictor()(TEXTS)) > 1e-3


def test_by_entailment(judge) -> None:
    trial = started(judge, by="entailment", pattern="it is {label}")
    model, cut = AutoModelForSequenceClassification.from_pretrained(judge).eval(), AutoTokenizer.from_pretrained(judge)
    for text, answer in zip(TEXTS, trial.predictor()(TEXTS), strict=True):
        scores = []
        for texts in (["cedar delta"], ["amber", "that came"]):
            pairs = [cut(text, f"it is {said}", return_tensors="pt", padding=False) for said in texts]
            with torch.no_grad():
                scores.append(np.mean([float(model(**pair).logits.log_softmax(-1)[0, 1]) for pair in pairs]))
        assert [*answer["scores"].values()] == pytest.approx(shares(scores), abs=1e-5)


def test_a_long_text_loses_its_end_and_keeps_the_label(writer, judge) -> None:
    for folder, how in ((writer, {"by": "likelihood"}), (judge, {"by": "entailment"})):
        trial = started(folder, **how)
        wide = replace(trial, task=TASK.model_copy(update={"max_length": 64}))
        [one, other] = wide.predictor()(["amber " * 60, "amber " * 500])
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


@pytest.mark.parametrize("by", ["likelihood", "entailment"])
def test_nothing_moves_and_it_answers_the_same_after_loading(writer, judge, by, tmp_path) -> None:
    trial = started(writer if by == "likelihood" else judge, by=by)
    before = {name: weight.clone() for name, weight in trial.module.state_dict().items()}
    trial.fit()
    assert all(torch.equal(before[name], weight) for name, weight in trial.module.state_dict().items())
    wanted = trial.predictor()(TEXTS)
    assert bundle.load(trial.save(tmp_path / "saved", (trial.method,)))(TEXTS) == wanted


@pytest.mark.parametrize(
    ("which", "options", "told"),
    [
        ("writer", {"by": "likelihood", "pattern": "{text} {label}."}, r"must end with \{label\}"),
        ("judge", {"by": "likelihood"}, "the model was not trained to go on with a text: "),
        ("judge", {"by": "entailment", "answers": ("yes", "no")}, "none of the model's labels is `entailment`; they are: yes, no"),
        ("judge", {"by": "entailment", "answers": ("entailment", "not")}, "was not trained to tell entailment, not apart: classifier"),
        ("tiny", {"by": "entailment"}, "was not trained to tell contradiction, entailment, neutral apart"),
    ],
)  # fmt: skip
def test_what_is_refused(writer, judge, tiny_bert, which, options, told) -> None:
    with pytest.raises(RecipeError, match=told):
        started({"writer": writer, "judge": judge, "tiny": tiny_bert}[which], **options)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"zero_shot": {"by": "likelihood", "pattern": "is it {label}"}}, "must hold {text} once"),
        ({"zero_shot": {"by": "likelihood", "pattern": "{text}{text}{label}"}}, "must hold {text} once"),
        ({"zero_shot": {"by": "entailment", "pattern": "it is"}}, "must hold {label} once"),
        ({"zero_shot": {"by": "likelihood", "scale": 1e300}}, "must be a number > 0 and <= 10000"),
        ({"few_shot": {"scale": 1e300}}, "must be a number > 0 and <= 10000"),
        ({"verbalizer": {"pattern": "{text} it was"}}, "must hold {mask} once"),
        ({"verbalizer": {"pattern": "{mask} was it"}}, "must hold {text} once"),
    ],
)
def test_what_check_refuses_before_any_step_is_run(method, told) -> None:
    tuned = {"do": "finetune", "backbone": {"bert": "tiny"}, "method": method}
    steps = {"data": {"do": "prepare", "source": {"asset": "movie-snippets"}, "task": "text_classification"}}
    with pytest.raises(RecipeFaults) as caught:
        danlu.check({"name": "a", "steps": steps | {"tuned": tuned}})
    assert [fault.where.startswith("tuned.method.") for fault in caught.value.faults] == [True]
    assert told in caught.value.faults[0].what


def test_an_entailment_model_of_an_earlier_step(tmp_path) -> None:
    words, kinds = ("amber", "cedar", "delta"), ("contradiction", "entailment", "neutral")
    pairs = [
        f"it was {a} {k},{b},{kinds[(i + j) % 3]}"
        for k in range(6)
        for i, a in enumerate(words)
        for j, b in enumerate(words)
    ]
    (tmp_path / "pairs.csv").write_text("text,text_pair,label\n" + "".join(f"{one}\n" for one in pairs))
    rows = [f"it was {word} {k},{word}" for k in range(12) for word in words]
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"{row}\n" for row in rows))
    data = {"do": "prepare", "split": {"near": None}}
    pair_task = {"text_pair_classification": {"text": "text", "text_pair": "text_pair", "label": "label"}}
    steps = {
        "pairs": data | {"source": {"csv": str(tmp_path / "pairs.csv")}, "task": pair_task},
        "nli": {"do": "finetune", "dataset": "$pairs", "backbone": {"bert": {"positions": 32}}, "steps": 2},
        "data": data | {"source": {"csv": str(tmp_path / "rows.csv")}, "task": "text_classification"},
        "asked": {"do": "finetune", "dataset": "$data", "base": "$nli", "method": {"zero_shot": {"by": "entailment"}}},
    }
    done = danlu.run({"name": "nli", "seed": 0, "steps": steps}, store=tmp_path / "store", trackers=[])
    assert done["asked"].manifest["numbers"]["steps"] == 0
    known, asked = (bundle.load_module(done[step].path / "trained")[0].state_dict() for step in ("nli", "asked"))
    assert all(torch.equal(weight, asked[f"model.{name}"]) for name, weight in known.items())
    assert bundle.load(done["asked"].path / "trained")(["it was amber"])[0]["scores"].keys() == {*words}
