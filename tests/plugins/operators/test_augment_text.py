"""What all augmentation promises, seen on text; then each operator of text."""

import pyarrow as pa
import pytest

from augmenting import CONTEXT, pieces, table, vectors_folder, words_file
from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.eda import EDA
from danlu.plugins.operators.near_words import NearWords
from danlu.plugins.operators.synonym import Synonym
from danlu.plugins.operators.typos import Typos


def conforming(folder):
    return {"synonym": {"words": str(words_file(folder))}, "near_words": {"vectors": str(vectors_folder(folder))}}


OPERATORS = {"eda": EDA, "typos": Typos}


@pytest.mark.parametrize("kind", OPERATORS.values(), ids=OPERATORS)
class TestEvery:
    def test_copies_stand_behind_their_row_and_carry_its_other_columns(self, kind):
        before = table(20)
        after, counts = kind(copies=2).apply(before, CONTEXT)
        assert (counts.rows_in, counts.rows_out, counts.changed, len(counts.samples)) == (20, 60, 40, 10)
        assert after.schema == before.schema
        assert after.column("n").to_pylist() == [n for n in range(20) for _ in range(3)]
        assert after.column("label").to_pylist() == [before["label"][n].as_py() for n in range(20) for _ in range(3)]
        assert after.take(list(range(0, 60, 3))).equals(before.combine_chunks())
        old, new = before["text"].to_pylist(), after["text"].to_pylist()
        assert all(new[3 * n] not in (new[3 * n + 1], new[3 * n + 2]) for n in range(20)), "a copy is no copy"
        assert sum(new[3 * n + 1] != new[3 * n + 2] for n in range(20)) > 12, "the copies of a row are drawn alike"
        assert counts.samples[0] == ({"text": old[0]}, {"text": new[1]})
        assert sum(counts.by.values()) == 40
        assert set(counts.why) == set(range(20))

    def test_in_place(self, kind):
        before = table(20)
        after, counts = kind(copies=0).apply(before, CONTEXT)
        assert (counts.rows_out, counts.changed) == (20, 20)
        assert all(a != b for a, b in zip(after["text"].to_pylist(), before["text"].to_pylist(), strict=True))
        assert after.drop_columns(["text"]).equals(before.drop_columns(["text"]))

    def test_order_and_pieces_change_nothing_and_the_seed_does(self, kind):
        before = table(30)
        whole, _ = kind(share=0.5).apply(before, CONTEXT)
        assert pieces(kind(share=0.5), before, 7).equals(whole.combine_chunks())
        backward, _ = kind(share=0.5).apply(before.take(list(range(29, -1, -1))), CONTEXT)
        assert sorted(backward["text"].to_pylist()) == sorted(whole["text"].to_pylist())
        other, _ = kind(share=0.5).apply(before, Context(CONTEXT.columns, "train", 4))
        assert not other.equals(whole)

    def test_a_share_is_drawn_and_a_larger_one_holds_the_smaller(self, kind):
        before = table(400)
        few, many = (set(kind(share=share).apply(before, CONTEXT)[0]["text"].to_pylist()) for share in (0.25, 0.5))
        assert few < many
        assert 60 < len(few) - 400 < 140

    def test_only_rows_of_a_label(self, kind):
        after, counts = kind(labels=("rare",), copies=3).apply(table(40), CONTEXT)
        assert (counts.changed, after["label"].to_pylist().count("rare")) == (30, 40)
        assert after["label"].to_pylist().count("common") == 30
        assert kind(labels=("absent",)).apply(table(4), CONTEXT)[1].changed == 0

    def test_what_cannot_be_changed_is_told(self, kind):
        given = pa.table({"text": ["", None, "?"], "label": ["a", "a", "b"]})
        after, counts = kind().apply(given, CONTEXT)
        assert after.equals(given)
        assert counts.notes == ["3 of the changes asked for could not be made: too little to change"]

    def test_another_column_is_left_alone_and_told(self, kind):
        numbers = table(5)
        after, counts = kind(columns=("n",)).apply(numbers, CONTEXT)
        assert (after.equals(numbers), counts.notes) == (True, ["the column n holds no text and was left alone"])

    def test_no_such_column(self, kind):
        with pytest.raises(DataError, match="no column 'body'"):
            kind(columns=("body",)).apply(table(5), CONTEXT)


def test_labels_need_one_column_of_them():
    with pytest.raises(DataError, match="only where one column holds the labels"):
        EDA(labels=("a",)).apply(table(3), Context(Columns(("text",), ("label", "n")), "train"))
    lists = pa.table({"text": ["one two three", "four five six"], "label": [["a", "b"], ["c"]]})
    assert EDA(labels=("b",)).apply(lists, CONTEXT)[1].changed == 1


# ---- eda -----------------------------------------------------------------------------------------------------------


def changed(operator, text):
    after, _ = operator.apply(pa.table({"text": [text], "label": ["a"]}), CONTEXT)
    return after["text"].to_pylist()[1:]


@pytest.mark.parametrize("text", ["the film was much too long for me", "这部电影对我来说太长了一点"])
def test_each_kind_of_eda_does_what_it_says(text):
    for kind in ("swap", "delete", "insert"):
        [new] = changed(EDA(kinds=(kind,), rate=0.2), text)
        if kind == "swap":
            assert sorted(new) == sorted(text)
        else:
            assert (len(new) < len(text)) is (kind == "delete")
        assert set(new) <= set(text)
        assert (" " in new) is (" " in text)
    [new] = changed(EDA(kinds=("swap",)), "one, two\n three")
    assert sorted(new.split()) == ["one,", "three", "two"]


def test_eda_changes_as_many_words_as_the_rate_says():
    text = " ".join(f"w{k}" for k in range(50))
    [new] = changed(EDA(kinds=("delete",), rate=0.2), text)
    assert len(new.split()) == 40
    [new] = changed(EDA(kinds=("insert",), rate=0.2), text)
    assert len(new.split()) == 60
    assert changed(EDA(), "word") == []


# ---- typos ---------------------------------------------------------------------------------------------------------


def test_typos_come_from_the_tables():
    [new] = changed(Typos(kinds=("keyboard",), rate=1), "gas")
    assert (new[0] in "fhtybv", new[1] in "qwsz", new[2] in "adwezx") == (True, True, True)
    [new] = changed(Typos(kinds=("order",), rate=0.01), "abcdef")
    assert sorted(new) == list("abcdef")
    [new] = changed(Typos(kinds=("shape",), rate=1), "己未")
    assert (new[0] in "已巳", new[1]) == (True, "末")
    [new] = changed(Typos(kinds=("sound",), rate=1), "跑的快")
    assert new in ("跑地快", "跑得快")
    assert changed(Typos(kinds=("shape", "sound")), "no Chinese here") == []
    long = "a letter and another letter " * 20
    [new] = changed(Typos(kinds=("keyboard",), rate=0.1), long)
    letters = sum(c.isalpha() for c in long)
    assert sum(a != b for a, b in zip(long, new, strict=True)) == round(letters * 0.1)


# ---- synonym -------------------------------------------------------------------------------------------------------


def test_words_of_a_list_with_capitals_and_word_ends(tmp_path):
    operator = Synonym(words=str(words_file(tmp_path)), rate=1)
    [new] = changed(operator, "A FINE film. Goodness, refined! Good")
    assert new.split()[1] in ("GOOD", "NICE")
    assert new.split()[2] == "movie."
    assert "Goodness, refined!" in new
    assert new.split()[-1] in ("Fine", "Nice")


def test_chinese_words_by_longest_match(tmp_path):
    operator = Synonym(words=str(words_file(tmp_path)), rate=1)
    [new] = changed(operator, "我非常高兴地看电影")
    assert new in ("我十分开心地看影片", "我十分快乐地看影片")
    assert changed(operator, "这里没有") == []


def test_a_list_that_says_nothing_is_refused(tmp_path):
    path = tmp_path / "bad.txt"
    for content, match in (
        (b"# none\nalone\n", "no line names two words"),
        (b"\xff\xfe\x00", "can't be read"),
        (b"a," + b"x" * 99, "99 char"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=match):
            Synonym(words=str(path)).apply(table(2), CONTEXT)
    with pytest.raises(DataError, match="can't be read"):
        Synonym(words=str(tmp_path / "absent.txt")).apply(table(2), CONTEXT)


@pytest.fixture
def model_with_vectors(tmp_path):
    return vectors_folder(tmp_path)


def test_near_words_of_a_table_of_vectors(model_with_vectors):
    operator = NearWords(vectors=str(model_with_vectors), rate=1)
    assert changed(operator, "The film was awful, the Zzz too") in (
        ["The movie was terrible, the Zzz too"],
        ["The movie was horrible, the Zzz too"],
    )
    assert changed(operator, "good") == [], "bad is near, but below the threshold"
    assert changed(NearWords(vectors=str(model_with_vectors), least=0.5), "good") == ["bad"]


def test_a_folder_without_vectors_is_refused(tmp_path, model_with_vectors):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no tokenizer.json"):
        NearWords(vectors=str(tmp_path / "empty")).apply(table(2), CONTEXT)
    (model_with_vectors / "model.safetensors").unlink()
    with pytest.raises(DataError, match="no safetensors file"):
        NearWords(vectors=str(model_with_vectors)).apply(table(2), CONTEXT)


@pytest.mark.demo
def test_words_of_minilm():
    [new] = changed(NearWords(vectors="asset:minilm", rate=1), "a terrible film, said the actor")
    assert new != "a terrible film, said the actor"
    words = new.replace(",", "").split()
    assert words[1] in ("horrible", "awful", "dreadful", "horrific")
    assert words[2] in ("films", "movie")
