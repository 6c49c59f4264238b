"""Pre-training on texts alone, and training that starts from another step's model."""

import json
import xml.etree.ElementTree as ET

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from danlu import bundle
from danlu.blocks import masking
from danlu.core.artifact import Store
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.stages.evaluate import Evaluate
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare
from danlu.stages.pretrain import Pretrain
from danlu.stages.verify import Verify
from stages.conftest import Given, run_stage

BERT = {"bert": {"size": "tiny", "positions": 32}}
FAST = {"precision": "fp32", "lr": 1e-3, "batch_size": 8}


def _prepared(store, task, rows):
    return run_stage(store, Prepare(source=Given(table=rows), task=task, split={"validation": 0.1, "test": 0.2}))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def corpus(store):
    rows = [{"text": f"{masking.SAMPLE[k % 4]} number {k}"} for k in range(120)]
    return _prepared(store, {"masked_lm": {"length": 16}}, rows)


@pytest.fixture(scope="module")
def model(store, corpus):
    return run_stage(
        store,
        Pretrain(backbone=BERT, steps=30, evaluate_every=10, samples=("ships from far [MASK] bring tea",), **FAST),
        dataset=corpus,
    )


def test_it_learns_from_texts_alone(model):
    looks = model.numbers["validation"]["looks"]
    assert [step for step, _ in looks] == [10, 20, 30]
    assert looks[-1][1] < looks[0][1]
    said = [json.loads(line) for line in (model.path / "samples.jsonl").read_text().splitlines()]
    assert [one["step"] for one in said] == [10, 20, 30]
    assert said[0]["answer"]["gaps"]


def test_its_curves_are_a_picture_and_its_figures_are_told(model):
    root = ET.fromstring((model.path / "curves.svg").read_text())
    assert sum(e.tag.endswith("polyline") for e in root.iter()) == 3
    assert 0 < model.numbers["mfu"] < 1.5
    assert model.numbers["tokens_per_s"] > 0


def test_the_texts_are_cut_once(store, model, corpus):
    folders = sorted((store.path / "tokens").iterdir())
    assert len(folders) == 2  # training and validation
    before = [folder.stat().st_mtime_ns for folder in folders]
    run_stage(store, Pretrain(backbone=BERT, steps=2, **FAST), dataset=corpus)
    assert [folder.stat().st_mtime_ns for folder in sorted((store.path / "tokens").iterdir())] == before


def test_it_is_measured_and_verified_like_any_model(store, corpus, model):
    scores = run_stage(store, Evaluate(), dataset=corpus, model=model)
    assert scores.numbers["perplexity"] > 1
    parity = run_stage(store, Verify(), dataset=corpus, model=model)
    assert parity.numbers["exact_distance_max"] <= 1e-4


def test_plain_transformers_fills_the_same_gaps(model):
    folder = model.path / "trained"
    [answer] = bundle.load(folder)(["ships from far [MASK] bring tea"])
    tokenizer, own = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder)
    ids = tokenizer("ships from far [MASK] bring tea", return_tensors="pt")
    with torch.no_grad():
        scores = own(**ids).logits[0, ids["input_ids"][0] == tokenizer.mask_token_id].softmax(-1)[0]
    best = scores.topk(5)
    assert tokenizer.convert_ids_to_tokens(best.indices) == [one["token"] for one in answer["gaps"][0]]
    told = [one["probability"] for one in answer["gaps"][0]]
    assert best.values.tolist() == pytest.approx(told, abs=1e-5)


def test_finetune_starts_from_its_weights_and_its_tokenizer(store, model):
    rows = [{"text": f"{masking.SAMPLE[k % 4]} {k}", "label": "ab"[k % 2]} for k in range(60)]
    labelled = _prepared(store, "text_classification", rows)
    tuned = run_stage(store, Finetune(backbone=None, steps=1, **{**FAST, "lr": 1e-9}), dataset=labelled, base=model)
    before, after = (load_file(a.path / "trained" / "model.safetensors") for a in (model, tuned))
    body = [name for name in after if name.startswith("bert.") and "pooler" not in name]
    assert len(body) > 20
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in body)
    files = [(a.path / "trained" / "tokenizer.json").read_bytes() for a in (model, tuned)]
    assert files[0] == files[1]
    fresh = run_stage(store, Finetune(backbone=BERT, steps=1, **FAST), dataset=labelled)
    other = load_file(fresh.path / "trained" / "model.safetensors")
    layer = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.allclose(other[layer], before[layer], atol=1e-2)


def test_nothing_to_train(store, corpus):
    with pytest.raises(RecipeError, match="there is nothing to train"):
        run_stage(store, Pretrain(backbone=None), dataset=corpus)


def test_a_base_without_weights(store, corpus, tmp_path):
    with pytest.raises(DataError, match=r"there is no forms.json|no model"):
        run_stage(store, Pretrain(backbone=None), dataset=corpus, base=corpus)


def test_the_same_recipe_gives_the_same_weights(store, corpus):
    whole, again = (
        run_stage(store, Pretrain(backbone=BERT, steps=4, seed=3, **FAST), dataset=corpus) for _ in range(2)
    )
    one, other = (load_file(a.path / "trained" / "model.safetensors") for a in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_that_writes_is_measured_beside_n_grams_of_its_own_tokens(store):
    rows = [{"text": f"{masking.SAMPLE[k % 4]} number {k}"} for k in range(60)]
    data = _prepared(store, {"causal_lm": {"length": 16}}, rows)
    gpt = {"gpt2": {"size": "tiny", "positions": 32}}
    model = run_stage(
        store, Pretrain(backbone=gpt, steps=20, evaluate_every=10, samples=("ships",), **FAST), dataset=data
    )
    artifact = run_stage(store, Evaluate(), dataset=data, model=model)
    scores = json.loads((artifact.path / "scores.json").read_text())
    assert list(scores["baselines"]) == ["ngram_1", "ngram_3"]
    own, other = (folder / "tokenizer.json" for folder in (model.path / "trained", artifact.path / "baselines/ngram_3"))
    assert (
        AutoTokenizer.from_pretrained(own.parent).get_vocab() == AutoTokenizer.from_pretrained(other.parent).get_vocab()
    )
    assert all(row["metrics"]["perplexity"]["low"] for row in scores["baselines"].values())
    assert [one["step"] for one in scores["trainings"][0]["samples"]] == [10, 20]
    html = (artifact.path / "report.html").read_text()
    assert "<h2>Training</h2>" in html
    assert "What it answered as it learnt." in html


def test_a_sample_that_a_kill_cut_short_is_left_out(store, tmp_path):
    draft = store.draft("f" * 64, kind="model", step="x", stage="pretrain", settings={}, inputs={})
    stage, answers = Pretrain(samples=("a [MASK]",)), [{"text": "a b"}]
    events = Events.silent()
    draft.work.joinpath("samples.jsonl").write_text('\n{"step": 1, "input": "a [MASK]", "answer": 1}\n{"step": 2, "inp')
    stage.looked(lambda samples: answers, 2, draft, events)
    stage.finish(draft)
    said = [json.loads(line) for line in (draft.path / "samples.jsonl").read_text().splitlines()]
    assert [(one["step"], one["answer"]) for one in said] == [(1, 1), (2, {"text": "a b"})]
    draft.work.joinpath("samples.jsonl").unlink()
    draft.work.joinpath("samples.jsonl").mkdir()  # a disk that refuses it
    stage.looked(lambda samples: answers, 3, draft, events)


def test_the_order_of_the_rows_is_part_of_what_was_cut(store):
    rows = [{"text": f"{masking.SAMPLE[k % 4]} number {k}"} for k in range(60)]
    one, other = (_prepared(store, {"masked_lm": {"length": 16}}, some) for some in (rows, rows[::-1]))
    before = {folder.name for folder in (store.path / "tokens").glob("*")}
    for data in (one, other):
        run_stage(store, Pretrain(backbone=BERT, steps=1, **FAST), dataset=data)
    made = {folder.name for folder in (store.path / "tokens").glob("*")} - before
    assert len(made) == (4 if one.digest != other.digest else 2)
