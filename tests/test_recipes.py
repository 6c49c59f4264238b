"""Every shipped recipe checks clean and is a document: what it is for, how long it takes, what to try next."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import danlu
from danlu import recipe
from danlu.blocks import masking
from danlu.core import plugin

ROOT = plugin.PACKAGE.parent.parent
STAGES = {
    "answer_fits": "prepare finetune compress evaluate verify publish",
    "assistant": "prepare finetune evaluate publish",
    "digits": "prepare finetune compress evaluate verify publish",
    "entities": "prepare finetune evaluate verify publish",
    "faq_search": "prepare finetune evaluate verify publish",
    "few_labels": "prepare finetune evaluate verify publish",
    "headings": "prepare finetune evaluate verify publish",
    "methods": " ".join(["prepare", *["finetune"] * 13]),
    "preferred_answers": "prepare finetune evaluate publish",
    "pretrain_chinese": "prepare pretrain prepare finetune evaluate" + 6 * " finetune" + " evaluate verify publish",
    "picture_words": "prepare pretrain evaluate",
    "pretrain_gpt": "prepare pretrain evaluate verify publish",
    "pretrain_pictures": "prepare pretrain evaluate prepare finetune evaluate finetune evaluate",
    "questions": "prepare finetune evaluate verify publish",
    "rare_label": "prepare finetune finetune finetune finetune prepare finetune evaluate evaluate evaluate evaluate evaluate",
    "review_words": "prepare finetune evaluate explain verify publish",
    "review_sentiment": "prepare finetune compress evaluate verify publish",
    "text_score": "prepare finetune compress evaluate verify publish",
    "typing_mistakes": "prepare prepare finetune finetune finetune evaluate",
    "translate": "prepare finetune evaluate verify publish",
}
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def test_there_is_something_to_look_at() -> None:
    assert [path.stem for path in RECIPES] == sorted(STAGES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_it_checks_clean_and_says_what_it_is(path: Path) -> None:
    made = recipe.load(path)
    assert [step.stage.name for step in made.steps] == STAGES[path.stem].split()
    comment = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert len(comment) >= 5
    assert any("two cores" in line for line in comment)
    assert any(f"danlu run recipes/{path.name}" in line for line in comment)


def test_the_quickstart_keeps_the_weights_by_what_it_asks_for_and_leaves_each_method_its_own_rate() -> None:
    made = recipe.load(ROOT / "recipes" / "review_sentiment.yaml")
    steps = {step.name: step.stage.settings for step in made.steps}
    assert [steps["tuned"]["watch"].name] == [*steps["ship"]["require"]]
    assert steps["tuned"]["lr"] is None, "its header and docs/methods.md offer other methods by one override"


def test_the_overrides_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("comment,label\nfine,good\n")
    overrides = ["name=my-reviews", "data.source={csv: my.csv}", "data.task.text_classification.text=comment"]
    made = recipe.load(ROOT / "recipes" / "review_sentiment.yaml", overrides)
    data = made.steps[0].stage.plain()["prepare"]
    assert made.name == "my-reviews"
    assert data["source"]["csv"]["path"] == str(tmp_path / "my.csv")
    assert data["task"]["text_classification"]["text"] == "comment"


# ---- runs, small enough for a test ---------------------------------------------------------------------------------------


def _rows(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_small_gpt_writes_and_is_published(tmp_path: Path) -> None:
    texts = _rows(tmp_path / "texts.jsonl", [{"text": f"{masking.SAMPLE[k % 4]} number {k}"} for k in range(150)])
    run = danlu.run(
        ROOT / "recipes" / "pretrain_gpt.yaml", f"data.source={{jsonl: {texts}}}", "data.task.causal_lm.length=16",
        "learnt.backbone={llama: {size: tiny, tokenizer: character, positions: 64}}", "learnt.steps=4",
        "learnt.evaluate_every=2", "score.baselines=[{ngram: {order: 3, tokenizer: character}}]",
        store=tmp_path / "store",
    )  # fmt: skip
    said = [json.loads(line) for line in (run["learnt"].path / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [one["step"] for one in said] == [2, 2, 4, 4]
    scores = run["score"].json("scores.json")
    assert list(scores["metrics"])[:2] == ["perplexity", "bits_per_character"]
    assert list(scores["baselines"]) == ["ngram_3"]
    model = danlu.load("shakespeare-gpt", store=tmp_path / "store")
    *pieces, (_, answer) = model.stream({"text": "To be", "most": 5})
    assert "".join(pieces) == answer["text"]


def test_no_review_that_is_tested_on_is_pretrained_on(tmp_path: Path) -> None:
    nouns, said = "书店酒房电饭菜车衣鞋", {"positive": "很好真不错", "negative": "很差太糟糕"}
    reviews = [
        {"text": f"这{nouns[k % 10]}的{nouns[k // 10 % 10]}{words}，第{k}次来。", "label": label}
        for k in range(120)
        for label, words in said.items()
    ]
    held = _rows(tmp_path / "reviews.jsonl", reviews)
    poems = _rows(tmp_path / "poems.jsonl", [{"text": f"明月照高樓，{k}里共清輝。"} for k in range(100, 200)])
    bert = "{bert: {size: tiny, tokenizer: character, positions: 64}}"
    run = danlu.run(
        ROOT / "recipes" / "pretrain_chinese.yaml",
        f"corpus.source={{mix: {{sources: {{poems: {{jsonl: {poems}}}, reviews: {{jsonl: {held}}}}}}}}}",
        f"reviews.source={{jsonl: {held}}}", "corpus.operators=[normalize, drop_duplicates]",
        "reviews.operators=[normalize, drop_duplicates]", "corpus.task.masked_lm.length=16",
        f"pretrained.backbone={bert}", "pretrained.steps=4", "pretrained.evaluate_every=2", f"fresh.backbone={bert}",
        *(f"{name}.steps=2" for name in ("fresh", "fresh1", "fresh2", "tuned", "tuned1", "tuned2")),
        *(f"fresh{k}.backbone={bert}" for k in (1, 2)), store=tmp_path / "store",
    )  # fmt: skip
    tested = set(pq.read_table(run["reviews"].path / "test.parquet")["text"].to_pylist())
    learnt_from = set(pq.read_table(run["corpus"].path / "train.parquet")["text"].to_pylist())
    assert len(tested) > 20
    assert not tested & learnt_from
    assert set(pq.read_table(run["reviews"].path / "train.parquet")["text"].to_pylist()) & learnt_from
    assert {"majority", "tfidf_lr"} <= run["score"].json("scores.json")["baselines"].keys()
    assert run.version == "chinese-reviews@1"


def test_a_small_translator_is_made_and_published(tmp_path: Path) -> None:
    nouns, verbs = (
        {"cat": "Katze", "boat": "Boot", "door": "Tür"},
        {"sees": "sieht", "moves": "bewegt", "takes": "nimmt"},
    )
    pairs = [
        {"source": f"the {a} {v} the {b} number {k}", "target": f"{nouns[a]} {verbs[v]} {nouns[b]} {k}"}
        for k in range(6) for a in nouns for v in verbs for b in nouns
    ]  # fmt: skip
    run = danlu.run(
        ROOT / "recipes" / "translate.yaml", f"data.source={{jsonl: {_rows(tmp_path / 'pairs.jsonl', pairs)}}}",
        "learnt.backbone={t5: {size: tiny, tokenizer: character}}", "learnt.steps=3", "learnt.batch_size=8",
        "score.baselines=[{nearest: {tokenizer: character}}]", "score.metrics=[rouge]", "same.metrics=[rouge]",
        "data.split={validation: 0.1, test: 0.1}", "data.task.seq2seq={most: 8, beams: 2}", store=tmp_path / "store",
    )  # fmt: skip
    scores = run["score"].json("scores.json")
    assert scores["baselines"]["nearest"]["metrics"]["rouge"]["value"] > 10
    assert run["same"].json("parity.json")["forms"]["http"]["passed"]
    [answer] = danlu.load("help-en-zh", store=tmp_path / "store").predict(["the cat sees the door"])
    assert answer["tokens"] <= 8


@pytest.mark.proof
def test_small_headings_are_written_and_published(tmp_path: Path) -> None:
    things, acts = ("cells", "rows", "notes", "charts", "pages"), ("Sorting", "Deleting", "Printing", "Moving")
    sections = [
        {"text": f"Select the {thing} and choose number {k}. Then go on with {act.lower()} them.", "title": f"{act} {thing}"}
        for act in acts for thing in things for k in range(4)
    ]  # fmt: skip
    run = danlu.run(
        ROOT / "recipes" / "headings.yaml", f"data.source={{jsonl: {_rows(tmp_path / 'sections.jsonl', sections)}}}",
        "learnt.backbone={t5: {size: tiny, tokenizer: character}}", "learnt.steps=3", "learnt.batch_size=8",
        "learnt.evaluate_every=3", "score.baselines=[{nearest: {tokenizer: character}}]", "data.split={validation: 0.1, test: 0.1}",
        "data.task.seq2seq.most=8", "data.task.seq2seq.beams=2", store=tmp_path / "store",
    )  # fmt: skip
    scores = run["score"].json("scores.json")
    assert scores["baselines"]["nearest"]["metrics"]["rouge"]["value"] > 10
    assert 0 <= scores["metrics"]["rouge"]["value"] <= 100
    assert run["same"].json("parity.json")["forms"]["http"]["passed"]
    [answer] = danlu.load("help-headings", store=tmp_path / "store").predict(["Select the cells and choose number 1."])
    assert answer["tokens"] <= 8


def test_a_small_assistant_is_taught_and_published(tmp_path: Path) -> None:
    nouns = ("cat", "boat", "door", "bird", "lamp")
    talks = [
        {"language": language, "prompt": f"where is the {noun} number {k}", "answer": f"the {noun} is here"}
        for language in ("english", "german") for noun in nouns for k in range(12)
    ]  # fmt: skip
    run = danlu.run(
        ROOT / "recipes" / "assistant.yaml", f"data.source={{jsonl: {_rows(tmp_path / 'talks.jsonl', talks)}}}",
        "data.task.chat.template=plain", "tuned.backbone={llama: {size: tiny, tokenizer: character, positions: 160}}",
        "tuned.method=full", "tuned.steps=3", "tuned.evaluate_every=2", "data.split={validation: 0.1, test: 0.1}",
        "score.baselines=[{ngram: {order: 3, tokenizer: character}}]", store=tmp_path / "store",
    )  # fmt: skip
    assert sum(run["data"].numbers[split] for split in ("train", "validation", "test")) == 60
    assert run["score"].json("scores.json")["baselines"]["ngram_3"]["metrics"]["perplexity"]["value"] > 1
    [answer] = danlu.load("assistant", store=tmp_path / "store").predict([[{"role": "user", "content": "where is it"}]])
    assert answer["tokens"] <= 80


@pytest.mark.parametrize("task", ["preference", "reward"])
def test_small_preferences_are_learnt_and_published(task: str, tmp_path: Path) -> None:
    pairs = [
        {"prompt": f"where is number {k}", "chosen": f"it is here {k % 7}", "rejected": "never there"}
        for k in range(60)
    ]
    run = danlu.run(
        ROOT / "recipes" / "preferred_answers.yaml", f"data.source={{jsonl: {_rows(tmp_path / 'pairs.jsonl', pairs)}}}",
        f"data.task={{{task}: {{template: plain, length: 128}}}}", "tuned.method=full", "tuned.steps=3", "tuned.evaluate_every=2",
        "tuned.backbone={llama: {size: tiny, tokenizer: character, positions: 160}}", "data.split={validation: 0.1, test: 0.1}",
        store=tmp_path / "store",
    )  # fmt: skip
    assert 0 <= run["score"].json("scores.json")["metrics"]["preference_accuracy"]["value"] <= 1
    asked = {"messages": "where is number 3", "answers": ["it is here 3", "never there"]}
    [answer] = danlu.load("preferred-answers", store=tmp_path / "store").predict([asked])
    assert sorted(answer["order"]) == [0, 1]
