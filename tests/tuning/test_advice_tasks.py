"""Advice on tasks other than labels of texts: entities, questions, conversations, translations, search."""

from __future__ import annotations

import json

import pytest

import danlu

SENTENCE = "the cat and the dog would have been there when you came with them"
ROWS = {
    "token_classification": {"tokens": SENTENCE.split(), "tags": ["O", "B-PET", *["O"] * 12]},
    "extractive_qa": {
        "question": "who would have been there with the dog?", "context": f"{SENTENCE}.", "answer": "the cat",
    },
    "chat": {"prompt": "what would you have done with them?", "reply": SENTENCE},
    "seq2seq": {"source": SENTENCE, "target": "there came the cat and the dog"},
    "embedding": {"query": "who came with them?", "passage": SENTENCE},
}  # fmt: skip

OPTIONS = {"chat": {"template": "plain"}}


@pytest.fixture
def advice(tmp_path):
    """Advice on a recipe of a task, with a backbone and options of the training."""

    def advice(task, backbone, rows=120, **options):
        row = ROWS[task]
        last = list(row)[-1]
        made = [
            row if isinstance(row[last], list) or last == "answer" else row | {last: f"{row[last]} {k}"}
            for k in range(rows)
        ]
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in made))
        data = {"do": "prepare", "source": {"jsonl": str(path)}, "task": {task: OPTIONS.get(task, {})}}
        tuned = {"do": "finetune", "backbone": backbone, **options}
        return danlu.advise({"name": "m", "steps": {"data": data, "tuned": tuned}})

    return advice


def chosen(found):
    return {one["about"]: one["choice"] for one in found["advice"]}


def risks(found):
    return {one["what"]: one for one in found["risks"]}


def test_entities(advice, tiny_bert):
    found = advice("token_classification", {"pretrained": str(tiny_bert)})
    told = chosen(found)
    assert list(told) == ["backbone", "method", "length", "time", "memory"]
    assert (told["method"], told["length"]) == ("full", "600 steps")  # few rows a label are no matter of tags
    assert found["data"]["language"] == "en"  # read from the words of the sentences
    assert risks(found).keys() == set()  # no model counts here, and F1 of entities has no interval by rows


def test_questions(advice, tiny_bert):
    found = advice("extractive_qa", {"pretrained": str(tiny_bert)}, method="lora")
    assert chosen(found)["method"] == "lora"
    [why] = [one["why"] for one in found["advice"] if one["about"] == "method"]
    assert why.startswith("the recipe's own; all weights would take")
    assert "word_overlap" in risks(found)["no baseline beaten"]["why"]
    assert "points of exact match" in risks(found)["12 validation rows"]["why"]


def test_questions_that_words_answer_are_given_to_an_encoder(advice, monkeypatch):
    from danlu.core import assets

    monkeypatch.setattr(assets, "is_here", lambda asset: False)
    found = advice("extractive_qa", "word_overlap")
    assert chosen(found) == {"backbone": "pretrained minilm"}


def test_conversations(advice):
    found = advice("chat", "gpt2", steps=50)
    assert chosen(found)["backbone"] == "gpt2 tiny"
    assert list(chosen(found)) == ["backbone", "method", "time", "memory"]  # 600 steps are for small encoders
    assert "ngram" in risks(found)["no baseline beaten"]["why"]
    assert chosen(advice("chat", {"ngram": {"order": 2}})) == {"backbone": "ngram"}  # minilm can't go on with a text


def test_translations(advice):
    found = advice("seq2seq", {"t5": "tiny"})
    assert list(chosen(found)) == ["backbone", "method", "time", "memory"]
    assert chosen(found)["backbone"] == "t5 tiny"
    assert "nearest" in risks(found)["no baseline beaten"]["why"]
    assert chosen(advice("seq2seq", "nearest")) == {"backbone": "nearest"}


def test_search(advice, tiny_bert):
    found = advice("embedding", {"pretrained": str(tiny_bert)}, epochs=10)
    assert chosen(found)["method"] == "full"
    assert "points of recall at 1" in risks(found)["12 validation rows"]["why"]


def test_a_model_of_one_language_is_a_risk_for_texts_in_another(advice, monkeypatch):
    chinese = ["这", "家", "店", "很", "好"]
    monkeypatch.setitem(ROWS, "token_classification", {"tokens": chinese, "tags": ["B-PET", *["O"] * 4]})
    found = advice("token_classification", {"pretrained": "asset:minilm"})
    assert chosen(found) == {"backbone": "an encoder of Chinese"}
    assert found["advice"][0]["why"].startswith("minilm knows English only")


def test_what_does_not_fit_into_memory_is_a_risk(advice, tiny_bert, monkeypatch):
    from danlu.core import machine

    monkeypatch.setattr(machine, "available_memory", lambda: 1000)
    found = advice("token_classification", {"pretrained": str(tiny_bert)})
    assert chosen(found)["method"] == "lora"
    assert risks(found)["memory"]["do"].startswith("tuned.batch_size=4 tuned.accumulate=8")


def test_rows_that_only_an_operator_would_mend_leave_the_cost_unknown(advice, monkeypatch, tiny_bert):
    monkeypatch.setitem(ROWS, "chat", ROWS["chat"] | {"prompt": "what would you have done with them? " * 60})
    found = advice("chat", "gpt2")
    assert chosen(found) == {"backbone": "gpt2 tiny", "time": "not measured"}
    assert "tokens" in found["advice"][1]["why"]
