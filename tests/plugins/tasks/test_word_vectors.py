"""What word vectors are asked and answer, and the whole line from texts to a version that answers."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pyarrow as pa
import pytest

import danlu
from danlu.blocks import word_queries
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.glove import Glove
from danlu.plugins.tasks.word_vectors import WordVectors
from danlu.testing.partners import Trial
from topics import TOPICS, shuffled, texts

HOW = {"size": 16, "passes": 40}
TASK = WordVectors(text="text", nearest=5)


def rows(given: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in given]


@pytest.fixture(scope="module")
def trial():
    return Trial.of(TASK, Glove(**HOW), rows=rows(texts())).fit()


@pytest.fixture(scope="module")
def ask(trial):
    predictor = trial.predictor()
    return lambda x: predictor([x])[0]


def test_the_nearest_words_of_a_word_are_of_its_topic(ask):
    for topic in TOPICS:
        answer = ask(topic[0])
        assert answer["word"] == topic[0]
        assert {near["word"] for near in answer["nearest"]} == set(topic[1:])
        similar = [near["similarity"] for near in answer["nearest"]]
        assert similar == sorted(similar, reverse=True)


@pytest.mark.parametrize(
    "x", ["king - fish + river", {"a": "king", "b": "fish", "c": "river"}, " king − fish  + river"]
)
def test_a_sum_is_asked_in_several_ways_and_names_none_of_its_own_words(ask, trial, x):
    answer, unit = ask(x), trial.module.vectors / trial.module.vectors.norm(dim=-1, keepdim=True)
    place = trial.processor.place
    wanted = unit[place("king")] - unit[place("fish")] + unit[place("river")]
    cosines = dict(zip(trial.processor.names, (unit @ wanted / wanted.norm()).tolist(), strict=True))
    own = {"king", "fish", "river"}
    best = sorted(cosines.keys() - own, key=cosines.get, reverse=True)[:5]
    assert [near["word"] for near in answer["nearest"]] == best
    assert answer["nearest"][0]["similarity"] == pytest.approx(cosines[best[0]], abs=1e-5)
    assert word_queries._SUM.fullmatch(answer["sum"])


def test_a_text_is_the_mean_of_its_words_and_tells_what_it_does_not_know(ask, trial):
    answer, table = ask("The king, zzz and his queen!"), trial.module.vectors
    known = [table[trial.processor.place(word)] for word in ("the", "king", "and", "queen")]
    mean = sum(vector / vector.norm() for vector in known)
    assert answer["unknown"] == ["zzz", "his"]
    assert np.allclose(answer["vector"], (mean / mean.norm()).numpy(), atol=1e-5)


def test_one_word_is_a_text_where_it_is_said(ask, trial):
    vector = trial.module.vectors[trial.processor.place("king")]
    answer = ask({"text": "king"})
    assert answer["text"] == "king"
    assert answer["fit"] == 0.5
    assert np.allclose(answer["vector"], (vector / vector.norm()).numpy(), atol=1e-5)
    assert ask({"word": "king"}) == ask("king")


def test_a_text_without_a_known_word_has_no_direction(ask):
    for text in ("zzz yyy", "", "?! …"):
        answer = ask(text)
        assert (set(answer["vector"]), answer["fit"]) == ({0.0}, 0.5)


def test_words_of_one_topic_fit_and_mixed_ones_do_not(ask):
    alike, mixed = ask("king queen crown throne"), ask("king fish bread horse")
    assert alike["fit"] > 0.8
    assert mixed["fit"] < 0.5


def test_a_long_text_is_answered_in_pieces_as_in_one(ask, trial):
    words = " ".join(texts(60, seed=5))
    examples = TASK.encode(words, trial.processor)
    assert [len(example.inputs["text"]) for example in examples] == [128, 128, 128, 96]
    table = trial.module.vectors / trial.module.vectors.norm(dim=-1, keepdim=True)
    mean = sum(table[trial.processor.place(word)] for word in words.split())
    assert np.allclose(ask(words)["vector"], (mean / mean.norm()).numpy(), atol=1e-5)


def test_an_unknown_word_is_refused_with_the_nearest_spelling(ask):
    with pytest.raises(DataError, match="'quen' is not known; did you mean queen"):
        ask("quen")
    with pytest.raises(DataError, match="'kin' is not known; did you mean king"):
        ask("queen - kin + fish")


@pytest.mark.parametrize("x", [None, 3, ["king"], {"a": "king"}, {"text": 3}, {"word": "a", "text": "b"}, {}])
def test_what_is_no_question_is_refused(x):
    with pytest.raises(DataError, match="word vectors are not asked with"):
        TASK.from_json(x)


@pytest.mark.parametrize("x", ["king", "a king", "king - man + woman", {"text": "king"}, {"word": "well-known one"}])
def test_a_question_survives_a_request(x):
    value = json.loads(json.dumps(TASK.to_json(TASK.from_json(x))))
    jsonschema.validate(value, TASK.request_schema())
    again = TASK.from_json(value)
    assert (type(again), again) == (type(word_queries.read(x)), word_queries.read(x))


def test_answers_match_their_schema_and_have_a_distance(ask):
    answers = [ask(x) for x in ("king", "queen", "king - fish + river", "king fish", {"text": "king"})]
    for k, a in enumerate(answers):
        jsonschema.validate(json.loads(json.dumps(a)), TASK.answer_schema())
        assert [TASK.distance(a, b) for b in answers] == [float(j != k) for j in range(len(answers))]
    moved = {**answers[0], "nearest": [{**n, "similarity": n["similarity"] - 0.1} for n in answers[0]["nearest"]]}
    assert TASK.distance(answers[0], moved) == pytest.approx(0.05)
    turned = {**answers[3], "vector": [-number for number in answers[3]["vector"]]}
    assert TASK.distance(answers[3], turned) == pytest.approx(1.0, abs=1e-5)


def test_texts_of_fewer_than_two_known_words_teach_nothing(trial):
    assert TASK.examples({"text": "king"}, trial.processor) == []
    assert TASK.examples({"text": "king zzz"}, trial.processor) == []
    assert [e.count for e in TASK.examples({"text": "king zzz the"}, trial.processor)] == [2.0]


def test_the_column_is_found_or_asked_for():
    table = pa.table({"id": list(range(40)), "line": texts(40)})
    assert WordVectors().settle(table).text == "line"
    assert WordVectors().settle(table.append_column("kind", pa.array(["a", "b"] * 20))).text == "line"
    with pytest.raises(DataError, match="there is no column 'words'"):
        WordVectors(text="words").settle(table)
    with pytest.raises(DataError, match="holds int64, not text"):
        WordVectors(text="id").settle(table)
    with pytest.raises(RecipeError, match="not settled yet"):
        WordVectors().columns()


def recipe(folder, given: list[str]) -> dict:
    (folder / "lines.txt").write_text("\n".join(given) + "\n")
    return {
        "name": "topics",
        "steps": {
            "data": {
                "do": "prepare",
                "source": {"text": str(folder / "lines.txt")},
                "task": "word_vectors",
                "operators": ["drop_duplicates"],
            },
            "taught": {"do": "finetune", "backbone": {"glove": HOW}},
            "score": {"do": "evaluate"},
            "same": {"do": "verify"},
            "ship": {"do": "publish", "alias": "production", "require": {"cooccurrence_rank": ">= 0.65"}},
        },
    }


def test_the_whole_line(tmp_path):
    run = danlu.run(recipe(tmp_path, texts()), store=tmp_path / "store", trackers=[])
    scores = run["score"].json("scores.json")
    assert scores["primary"] == "cooccurrence_rank"
    assert scores["metrics"]["cooccurrence_rank"]["low"] > 0.65
    forms = run["same"].json("parity.json")["forms"]
    assert {name: told["passed"] for name, told in forms.items()} == {"trained": True, "http": True}
    (answer,) = danlu.load("topics", store=tmp_path / "store").predict(["king"])
    assert {near["word"] for near in answer["nearest"][:5]} == set(TOPICS[0][1:])


def test_the_same_words_in_random_order_are_worth_nothing(tmp_path):
    plan = recipe(tmp_path, shuffled(texts(800)))
    plan["steps"] = {name: plan["steps"][name] for name in ("data", "taught", "score")}
    run = danlu.run(plan, store=tmp_path / "store", trackers=[])
    assert run["score"].json("scores.json")["metrics"]["cooccurrence_rank"]["value"] < 0.6


@pytest.mark.parametrize(
    ("given", "told"),
    [(["one line only"], "too few to split"), (["a b"] * 50, "too few"), ([], "no row|empty|nothing|no text")],
)
def test_a_corpus_of_one_line_or_none_is_refused(tmp_path, given, told):
    with pytest.raises(DataError, match=told):
        danlu.run(recipe(tmp_path, given), store=tmp_path / "store", trackers=[])
