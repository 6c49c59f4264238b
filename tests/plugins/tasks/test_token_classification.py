"""Tags of words: windows over long texts, entities of a text, and what is wrong with rows."""

import numpy as np
import pyarrow as pa
import pytest

from danlu.bundle import Forms, FormSpec
from danlu.contracts import Columns, Context
from danlu.core import plugin
from danlu.core.errors import DataError
from danlu.plugins.metrics.entity_f1 import EntityF1
from danlu.plugins.operators.mask_pii import MaskPII
from danlu.plugins.tasks.token_classification import TokenClassification
from danlu.testing.partners import Trial


@pytest.fixture(scope="module")
def tagger():
    return Trial.of(
        TokenClassification(max_length=16, overlap=6), plugin.load("backbones", "danlu.testing.reader:Reader")()
    ).fit(steps=120)


def test_entities_of_a_text(tagger):
    [answer] = tagger.predictor()(["it was mister amber basil then"])
    assert [(one["label"], one["text"], one["start"]) for one in answer["entities"]] == [("PER", "amber basil", 14)]
    [listed] = tagger.predictor()([["it", "was", "in", "delta", "fjord", "then"]])
    assert [(one["label"], one["start"], one["end"]) for one in listed["entities"]] == [("LOC", 3, 5)]


def test_a_long_text_is_judged_in_windows(tagger):
    words = ["it", "was", "mister", "amber", "basil", "then"] * 12
    examples = tagger.task.encode(words, tagger.processor)
    assert len(examples) > 3
    assert all(len(example.inputs["input_ids"]) <= 16 for example in examples)
    judged = [word for example in examples for word, _ in example.note]
    assert sorted(judged) == list(range(len(words)))  # each once
    inner = [at for example in examples[1:-1] for _, at in example.note]
    assert min(inner) >= 3  # where it has most around it, not at an edge
    [row] = [{"tokens": words, "tags": (["O"] * 3 + ["B-PER", "I-PER", "O"]) * 12}]
    assert sum(example.count for example in tagger.task.examples(row, tagger.processor)) == len(words)


def test_only_the_first_piece_of_a_word_is_learnt(tagger):
    row = {"tokens": ["unheardofword", "amber"], "tags": ["O", "B-PER"]}
    [example] = tagger.task.examples(row, tagger.processor)
    assert (np.asarray(example.targets["tags"]) >= 0).sum() == 2 == example.count


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"tokens": [["a", "b"]], "tags": [["O"]]}, "it has 2 words and 1 tags"),
        ({"tokens": [["a"]], "tags": [["O"]]}, "there is only one tag: O"),
        ({"tokens": ["a"], "tags": ["O"]}, "no column of lists of text was found for the tokens"),
    ],
)
def test_rows_that_cannot_be_learnt_from(table, told):
    with pytest.raises(DataError, match=told):
        TokenClassification().resolve(pa.table(table))


def test_columns_that_are_named():
    table = pa.table({"w": [["a", "b"]], "n": [["O", "B-X"]], "k": [1]})
    assert TokenClassification(tokens="w", tags="n").resolve(table).labels == ("O", "B-X")
    with pytest.raises(DataError, match="the column 'k' holds int64, not lists of text"):
        TokenClassification(tokens="k").settle(table)
    with pytest.raises(DataError, match="there is no column 'z'"):
        TokenClassification(tokens="w", tags="z").settle(table)


def test_f1_counts_whole_entities():
    def of(*tags):
        return {"tags": list(tags)}

    gold = [of("B-PER", "I-PER", "O"), of("B-LOC", "O", "B-PER")]
    said = [of("B-PER", "O", "O"), of("B-LOC", "O", "B-PER")]
    metric = EntityF1()
    told = metric.value(metric.read(said, gold), np.ones(2))
    assert told["value"] == pytest.approx(2 / 3)
    assert told["types"]["LOC"]["f1"] == 1
    assert told["types"]["PER"]["recall"] == pytest.approx(1 / 2)
    assert metric.value(metric.read(gold, gold), np.array([0.0, 2.0]))["value"] == 1


def test_names_are_masked_by_a_model_of_ours(tagger, tmp_path):
    tagger.save(tmp_path / "trained")
    Forms.write(tmp_path, {"trained": FormSpec()}, default="trained")
    table = pa.table({"text": ["it was mister amber basil then", "it was in delta fjord then a@b.org", None]})
    context = Context(Columns(("text",)))
    masked, counts = MaskPII(names=str(tmp_path)).apply(table, context)
    assert masked.column("text").to_pylist() == [
        "it was mister [PERSON] then", "it was in delta fjord then [EMAIL]", None,
    ]  # fmt: skip
    assert counts.by == {"email": 1, "person": 1}
    assert "amber" not in str(counts.samples)
    dropped, counts = MaskPII(names=str(tmp_path), style="drop").apply(table, context)
    assert dropped.num_rows == 1
    assert "amber" not in str(counts.samples)
    with pytest.raises(DataError, match="the model knows the types LOC, PER, and none is said to be a name"):
        MaskPII(names=str(tmp_path), named={"X": "person"}).apply(table, context)
