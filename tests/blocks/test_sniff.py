import datetime

import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks.pictures import picture_column
from danlu.blocks.readers import READERS
from danlu.blocks.sniff import sniff
from danlu.core import assets

SENTENCES = [f"this is comment number {i} and it is fine" for i in range(120)]
CHINESE = [f"这家酒店的服务很好，第{i}次来" for i in range(120)]
TWO = ["good", "bad"] * 60


@pytest.mark.parametrize(
    ("columns", "text", "label", "image"),
    [
        (
            {"id": range(120), "comment": SENTENCES, "stars": [str(i % 5 + 1) for i in range(120)]},
            "comment",
            "stars",
            None,
        ),
        ({"text": SENTENCES, "label": TWO}, "text", "label", None),
        ({"x1": SENTENCES, "x2": TWO}, "x1", "x2", None),
        ({"label": TWO, "source": ["web", "app", "mail"] * 40, "text": SENTENCES}, "text", "label", None),
        ({"编号": range(120), "内容": CHINESE, "类别": TWO}, "内容", "类别", None),
        ({"title": [s[:25] for s in SENTENCES], "body": SENTENCES, "category": TWO}, "body", "category", None),
        ({"text": SENTENCES, "split": ["train", "test"] * 60, "kind": TWO}, "text", "kind", None),
        ({"text": SENTENCES, "percentage_of_income": [1, 2] * 60, "verdict": TWO}, "text", "verdict", None),
        (
            {"text": SENTENCES, "price": [f"{i}.5" for i in range(120)], "y": [i % 2 for i in range(120)]},
            "text",
            "y",
            None,
        ),
        ({"text": SENTENCES, "ok": [True, False] * 60}, "text", "ok", None),
        ({"file": [f"img/{i}.jpg" for i in range(120)], "y": TWO}, None, "y", "file"),
        ({"image": picture_column(np.zeros((120, 4, 4), np.uint8)), "label": TWO}, None, "label", "image"),
        ({"text": SENTENCES, "label": ["one"] * 120}, "text", None, None),
        ({"text": SENTENCES, "when": [datetime.date(2020, 1, 1 + i % 2) for i in range(120)]}, "text", None, None),
        ({"text": SENTENCES, "when": [f"2020-01-0{1 + i % 2}" for i in range(120)]}, "text", None, None),
        ({"a": [1.5, 2.5] * 60, "b": [None] * 120}, None, None, None),
    ],
)
def test_columns(columns, text, label, image):
    found = sniff(
        pa.table(
            {name: pa.array(list(values)) if isinstance(values, range) else values for name, values in columns.items()}
        )
    )
    assert (found.text, found.label, found.image) == (text, label, image), found.reasons
    mentioned = [name for name in columns if any(repr(name) in reason for reason in found.reasons)]
    assert mentioned == list(columns)


def test_reasons_are_sentences_a_person_understands():
    found = sniff(pa.table({"id": range(120), "comment": SENTENCES, "stars": [i % 5 + 1 for i in range(120)]}))
    assert found.reasons == [
        "text: column 'comment', with 9 words on average, 100% of the texts different, and its name says so",
        "language: en, since 38% of the words are English function words",
        "label: column 'stars', with 5 values (1, 2, 3, 4, 5), and its name says so",
        "not used: column 'id' has the name of an identifier or a split",
    ]


def test_a_file_sorted_by_label_is_looked_at_throughout():
    words = [f"some words about number {i}" for i in range(20_000)]
    found = sniff(pa.table({"text": words, "label": ["a"] * 10_000 + ["b"] * 10_000}))
    assert (found.text, found.label) == ("text", "label")


def test_labels_are_not_taken_for_texts_though_they_have_words():
    found = sniff(pa.table({"intent": ["cancel my order", "track my order"] * 60, "utterance": SENTENCES}))
    assert (found.text, found.label) == ("utterance", "intent")


@pytest.mark.parametrize("table", [pa.table({}), pa.table({"a": pa.array([], pa.string())})])
def test_nothing_to_sniff(table):
    found = sniff(table)
    assert (found.text, found.label, found.image) == (None, None, None)


@pytest.mark.demo
def test_movie_snippets():
    found = sniff(READERS["snippets"].read(assets.folder("movie-snippets"), ""))
    assert (found.text, found.label, found.language.code) == ("text", "label", "en")
