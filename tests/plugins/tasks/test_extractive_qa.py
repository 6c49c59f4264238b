"""Answers that stand in a text: rows, windows over long texts, no answer, the n best, other forms of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks import answer_spans
from danlu.core import plugin
from danlu.core.errors import DataError
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.extractive_qa import ExtractiveQA
from danlu.testing.partners import Trial

LONG = "so it was and so it is " * 12
FAR = [row | {"context": f"{LONG}{row['context']} {LONG}"} for row in ExtractiveQA().sample(8)]
NONE = [
    {"question": q, "context": f"{LONG[: 9 * k + 8]}again", "answer": ""} for k in range(6) for q in ("who", "where")
]
ROWS = [*ExtractiveQA().sample(24), *FAR, *NONE]


@pytest.fixture(scope="module")
def reader():
    """Reads windows of 24 tokens; some rows have no answer, and some are long."""
    task = ExtractiveQA(max_length=24, overlap=8)
    return Trial.of(task, plugin.load("backbones", "danlu.testing.reader:Reader")(), rows=ROWS).fit(steps=120)


def ask(trial, question, context, **more):
    [answer] = trial.predictor()([{"question": question, "context": context, **more}])
    return answer


def with_task(trial, **options):
    return replace(trial, task=trial.task.model_copy(update=options))


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_the_answer_and_its_place(reader):
    context = "mister basil heron went off to fjord grove"
    for question, text in (("who", "basil heron"), ("where", "fjord grove")):
        told = ask(reader, question, context)
        assert (told["text"], context[told["start"] : told["end"]]) == (text, text)
        assert told["score"] > 0.2 > told["no_answer"]


def test_no_answer(reader):
    assert reader.task.unanswerable
    told = ask(reader, "who", "so it was and again")
    assert (told["text"], told["start"], told["end"]) == ("", None, None)
    assert told["no_answer"] > 0.5
    assert len(told["best"]) == 1  # what it would have been
    assert ask(with_task(reader, unanswerable=False), "who", "so it was and again")["text"]


def test_the_best_answers_are_different_and_sorted(reader):
    told = ask(reader, "who", "mister basil heron went off to fjord grove", n_best=5)
    places = [(one["start"], one["end"]) for one in told["best"]]
    scores = [one["score"] for one in told["best"]]
    assert len(set(places)) == 5
    assert scores == sorted(scores, reverse=True)
    assert told["text"] == told["best"][0]["text"] == "basil heron"


def test_a_long_context_is_read_in_windows(reader):
    for before, after in ((LONG, ""), ("", LONG), (LONG, LONG)):
        context = f"{before}mister basil heron went {after}"
        examples = reader.task.encode({"question": "who", "context": context}, reader.processor)
        assert len(examples) > 3
        assert all(len(example.inputs["input_ids"]) <= 24 for example in examples)
        read = np.zeros(len(context), dtype=bool)
        for example in examples:
            for start, end in example.note.places[example.note.places[:, 1] > 0]:
                read[start:end] = True
        assert read[[k for k, sign in enumerate(context) if sign != " "]].all()  # nothing is left unread
        told = ask(reader, "who", context)
        assert context[told["start"] : told["end"]] == "basil heron"


def test_windows_without_the_answer_are_taught_to_say_so(reader):
    row = {"question": "who", "context": f"{LONG}mister basil heron went", "answer": "basil heron"}
    examples = reader.task.examples(row, reader.processor)
    places = [(int(example.targets["first"]), int(example.targets["last"])) for example in examples]
    assert places[0] == (0, 0)
    first, last = next(place for place in places if place != (0, 0))
    assert last == first + 1
    assert all(example.targets["open"][0] and not example.targets["open"][1] for example in examples)  # the question


def test_a_long_question_is_cut_and_leaves_room(reader):
    told = ask(reader, f"who {LONG}", "mister basil heron went off to fjord grove")
    assert told["best"]


def test_the_same_answers_from_onnx(reader, tmp_path):
    asked = [{"question": "who", "context": f"{LONG[: 23 * k]}mister basil heron went"} for k in range(4)]
    predictor = reader.predictor()
    with predictor.listen() as calls:
        expected = predictor(asked)
    Onnx().export(reader.module, calls, tmp_path)
    form = Onnx().load(tmp_path, lambda: (reader.module, reader.backbone))
    assert reader.distance(reader.predictor(form)(asked), expected) < 1e-4


# ---- the threshold ---------------------------------------------------------------------------------------------------


def test_the_threshold_is_where_f1_is_best():
    def answer(share, text):
        return {"text": text, "no_answer": share, "best": [{"text": text}]}

    answers = [answer(0.1, "a b"), answer(0.3, "wrong"), answer(0.6, "c d"), answer(0.7, "e"), answer(0.9, "f")]
    gold = [{"text": "a b"}, {"text": "x"}, {"text": "c d"}, {"text": ""}, {"text": ""}]
    task = ExtractiveQA(unanswerable=True)
    assert task.tune(answers, gold).threshold == pytest.approx(0.65)
    assert task.tune(answers[:2], [gold[0], gold[3]]).threshold == pytest.approx(0.2)
    assert task.tune(answers, [{"text": "f"}] * 5).threshold == pytest.approx(0.95)
    given = ExtractiveQA(unanswerable=True, threshold=0.4)
    assert given.tune(answers, gold).threshold == 0.4
    assert ExtractiveQA(unanswerable=False).tune(answers, gold).threshold is None


def test_the_threshold_decides(reader):
    asked, text = "mister basil heron went off to fjord grove", "basil heron"
    assert ask(with_task(reader, threshold=1e-30), "who", asked)["text"] == ""
    assert ask(with_task(reader, threshold=1.0), "who", asked)["text"] == text


# ---- rows ------------------------------------------------------------------------------------------------------------


def table(answers, contexts=("the cat sat on the mat", "a dog barked"), **more):
    return pa.table({"question": ["who sat", "who barked"], "context": list(contexts), "answer": answers, **more})


def test_squad_rows():
    rows = [
        {"text": ["the mat", "mat"], "answer_start": [15, 19]},
        {"text": [], "answer_start": []},
    ]
    task = ExtractiveQA().resolve(table(rows).rename_columns(["question", "context", "answers"]))
    assert (task.nested, task.unanswerable, task.longest) == (True, True, 7)
    row = {"question": "q", "context": "the cat sat on the mat", "answers": rows[0]}
    gold = task.gold(row)
    assert (gold["text"], gold["start"], gold["end"], gold["texts"]) == ("the mat", 15, 22, ["the mat", "mat"])
    assert task.row(task.ask(row), gold)["answers"] == rows[0]
    assert task.gold({**row, "answers": rows[1]})["text"] == ""


def test_the_place_nearest_to_the_one_that_is_said():
    task = ExtractiveQA().resolve(table(["the", "dog"], answer_start=[14, 2]))
    row = {"question": "q", "context": "the cat sat on the mat", "answer": "the", "answer_start": 14}
    assert task.gold(row)["start"] == 15  # one off, as after a rewriting of spaces
    assert task.gold({**row, "answer_start": 0})["start"] == 0
    assert ExtractiveQA().resolve(table(["the", "dog"])).gold(row)["start"] == 0


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (table(["the cow", "dog"]), r"row 1: 1 row has an answer that stands nowhere in the context, of 2, this one first \('the cow'\)"),
        (table(["The cat", "The dog"]), r"2 rows have an answer that stands nowhere in the context, of 2"),
        (table(["cat", "dog"], contexts=["the cat", "  "]), "row 2: 1 row has an empty 'context', of 2, this one first"),
        (table([{"text": ["cat"], "answer_start": [4]}, {"text": ["dog", "a"], "answer_start": [2]}]), "row 2: it has an answer that lacks a text, or a place for each: 2 texts, 1 places"),
        (table([{"text": ["cat"], "answer_start": [4]}, {"text": [None], "answer_start": [2]}]), "row 2: it has an answer that lacks"),
        (table(["", ""]), "no row has an answer, so there is nothing to learn"),
        (table([1, 2]), "the column 'answer' holds int64, not text"),
        (table(["cat", "dog"]).drop_columns(["context"]), "no column was found for the context"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_learnt_from(rows, told):
    with pytest.raises(DataError, match=told):
        ExtractiveQA().resolve(rows)


def test_an_answer_longer_than_a_window(reader):
    answer = "so it was and so it is " * 4
    row = {"question": "who", "context": f"{answer}mister", "answer": answer.strip()}
    with pytest.raises(DataError, match="of 91 characters is in no window as a whole"):
        reader.task.examples(row, reader.processor)
    with pytest.raises(DataError, match="a row has the answer 'cow', nowhere in the context"):
        reader.task.examples({**row, "answer": "cow"}, reader.processor)


@pytest.mark.parametrize(
    ("x", "told"),
    [
        ({"question": "who", "context": " \n"}, "the context is empty"),
        ({"question": "", "context": "a"}, "the question is empty"),
        ({"question": "who"}, "an input is a question and a text"),
        ({"question": "who", "context": 3}, "question and context must be texts"),
        ({"question": "who", "context": "a", "n_best": 0}, "n_best is a whole number from 1 to 100, not 0"),
    ],
)
def test_inputs_that_cannot_be_answered(reader, x, told):
    with pytest.raises(DataError, match=told):
        reader.predictor()([x])


def test_a_space_before_a_word_is_no_part_of_it():
    """Byte-level tokens hold the space before them; the longest answer would be too long by it."""
    context = "  off to  karst lagoon "
    whole = np.array([[-1, -1], [0, 5], [5, 8], [8, 15], [15, 22], [22, 23], [-1, -1]])
    trimmed = answer_spans._trimmed(whole, whole[:, 1] > 0, context)
    assert trimmed.tolist() == [[-1, -1], [2, 5], [6, 8], [10, 15], [16, 22], [23, 23], [-1, -1]]
