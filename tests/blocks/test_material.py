"""What a backbone is given to learn its tokens from: all rows, or evenly spread ones of very many."""

from types import SimpleNamespace

import pytest

from danlu.blocks.material import material
from danlu.core.events import Events

TEXTS = [f"{k:04d} " + "x" * 95 for k in range(3000)]


class Rows:
    """As much of a data set as is asked of it."""

    info = {"rows": {"train": len(TEXTS)}}
    task = SimpleNamespace(material=lambda row: row["text"])

    def each(self, split):
        assert split == "train"
        return ({"text": text} for text in TEXTS)


def taken(enough, rows=Rows):
    heard = []
    backbone = SimpleNamespace(name="bert", enough=enough)
    return list(material(rows(), backbone, Events([heard.append]))), heard


@pytest.mark.parametrize("enough", [None, 300_000, 10**9])
def test_all_texts_where_they_are_not_too_many(enough):
    found, heard = taken(enough)
    assert found == TEXTS
    told = [event.data["done"] for event in heard if event.kind == "progress"]
    assert (told[:1], told[-1:]) == (([0], [3000]) if enough else ([], []))
    assert not [event for event in heard if event.kind == "note"]


def test_one_in_so_many_of_more_text_from_the_first_to_the_last():
    found, heard = taken(30_000)
    assert found == TEXTS[::10]
    [note] = [event.data["text"] for event in heard if event.kind == "note"]
    assert note == "bert learns its tokens from one in 10 of 3,000 training texts, evenly spread"


def test_pairs_and_conversations_count_with_all_their_texts():
    class Pairs(Rows):
        task = SimpleNamespace(material=lambda row: [(row["text"], row["text"]), {"also": row["text"]}])

    assert len(taken(300_000, Pairs)[0]) == 1000
