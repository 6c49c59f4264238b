"""Each check on a table in which its fault was planted."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks import checkup
from danlu.blocks.checkup import (
    characters,
    columns,
    duplicates,
    giveaways,
    labels,
    languages,
    leaks,
    lengths,
    mislabelled,
    privacy,
    reading,
)
from danlu.blocks.sniff import sniff
from danlu.contracts import Columns
from danlu.core.errors import DataError
from danlu.core.events import Events
from word_list import WORDS


def sentences(count, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=14)) + f" {k}" for k in range(count)]


def subject(texts, labels=None, *, others=None, **known):
    filled = {
        "text": texts,
        "label": labels if labels is not None else ["a", "b"] * (len(texts) // 2),
        **(others or {}),
    }
    table = pa.table(filled)
    given = {"columns": Columns(("text",), ("label",)), "sniffed": sniff(table)} | known
    return checkup.Subject(table=table, total=len(texts), places=np.arange(len(texts)), **given)


def only(findings):
    assert len(findings) == 1, [finding.what for finding in findings]
    return findings[0]


# ---- duplicates ------------------------------------------------------------------------------------------------------


def test_duplicates_are_counted_without_case_width_and_spacing():
    texts = [*sentences(20), "Good  Movie", "good movie", "ｇｏｏｄ movie", "", "", "other"]
    found = only(duplicates.check(subject(texts)))
    assert found.count == 2
    assert "0 of them byte for byte" in found.what
    assert [mend.operator for mend in found.mends] == ["normalize", "drop_duplicates"]
    assert (found.examples[0].row, found.examples[0].told) == (21, "3 times")


def test_no_duplicates_no_finding():
    assert duplicates.check(subject(sentences(20))) == []


def test_near_duplicates_count_what_is_not_the_same():
    texts = sentences(40)
    texts += [texts[3], texts[5] + "!", "so " + texts[7]]
    found = only(duplicates.near(subject([*texts, "last"])))
    assert found.count == 2
    assert "nearly the same as row 6" in [one.told for one in found.examples]


# ---- leaks -----------------------------------------------------------------------------------------------------------


def test_a_leak_of_one_percent_is_found_whole():
    """Half of it the same in other case and spacing, half with something added at both ends."""
    rng = random.Random(1)
    train, fresh = sentences(5000), sentences(990, seed=5)
    leaked = rng.sample(train, 50)
    near = [f"so {text}." for text in leaked[25:]]
    test = [*fresh[:950], *(f" {text.upper()}  " for text in leaked[:25]), *near]
    found = only(leaks.check(subject(train, against=pa.table({"text": test}), against_source={"csv": "t.csv"})))
    assert (found.count, found.severity) == (50, "stop")
    assert "25 the same, 25 nearly" in found.what
    assert found.mends[0].written == '{decontaminate: {source: {csv: "t.csv"}}}'
    split = np.array(["train"] * len(train) + ["test"] * len(test), dtype=object)
    found = only(leaks.check(subject([*train, *test], split=split)))
    assert (found.count, found.severity) == (50, "stop")
    assert "50 of 1,000 rows of the split test" in found.what


def test_no_leak_no_finding_and_no_split_is_told():
    other = pa.table({"text": sentences(50, seed=9)})
    assert leaks.check(subject(sentences(50), against=other)) == []
    assert "--against" in leaks.check(subject(sentences(50)))


def test_another_file_needs_the_columns():
    with pytest.raises(DataError, match="it has no column 'text'; its columns are: comment"):
        leaks.check(subject(sentences(4), against=pa.table({"comment": ["x"]})))


# ---- labels ----------------------------------------------------------------------------------------------------------


def test_the_same_input_under_two_labels():
    texts = [*sentences(20), "fine film", "Fine film", "fine film", "other"]
    given = ["a", "b"] * 10 + ["a", "b", "a", "b"]
    found = only(labels.conflicts(subject(texts, given)))
    assert (found.count, found.mends[0].written) == (3, "{label_conflicts: {action: majority}}")
    assert found.examples[0].told == "a ×2, b ×1"


def test_every_conflict_is_listed_up_to_a_bound_that_is_told():
    def found(count):
        texts = [text for k in range(count) for text in (f"film {k}", f"film {k}")] + ["film 7"]
        return only(labels.conflicts(subject(texts, [*["a", "b"] * count, "a"])))

    all_of_them = found(30)
    assert len(all_of_them.examples) == 30
    assert all_of_them.examples[0].text == "film 7"
    assert "listed" not in all_of_them.what
    many = found(1001)
    assert len(many.examples) == 1000
    assert many.what.endswith("; the 1,000 that have most rows are listed")


@pytest.mark.parametrize(("given", "severity", "what"), [
    (["a"] * 100, "stop", "all rows have the label 'a'"),
    ([None] * 100, "stop", "no row has a label"),
    (["a", "b"] * 50, "note", "2 labels, evenness 1.00"),
    (["a"] * 96 + ["b"] * 4, "warn", "the most frequent has 24 times the rows"),
])  # fmt: skip
def test_balance(given, severity, what):
    found = labels.check(subject(sentences(100), pa.array(given, pa.string())))[0]
    assert found.severity == severity
    assert what in found.what


def test_labels_that_a_split_leaves_too_few_of():
    given = ["a"] * 480 + ["b"] * 480 + ["c"] * 40
    found = labels.check(subject(sentences(1000), given))
    assert any("1 of 3 labels would have fewer than 5 rows in a split of 10%: 'c' (40)" in one.what for one in found)


def test_labels_spelled_in_two_ways():
    found = labels.check(subject(sentences(100), ["good", "bad"] * 49 + ["Good ", "bad"]))
    assert any("'good' = 'Good'" in one.what for one in found)


def test_likely_wrong_labels_are_ranked_with_the_reason():
    rng = random.Random(0)
    texts = [f"{rng.choice(WORDS)} {'lovely' if k % 2 else 'awful'} {rng.choice(WORDS)} {k}" for k in range(200)]
    given = ["good" if k % 2 else "bad" for k in range(200)]
    given[50] = "good"
    found = only(mislabelled.check(subject(texts, given)))
    assert found.examples[0].row == 51
    assert "labelled good, the model says bad" in found.examples[0].told
    assert found.mends[0].written == "label_errors"


def test_too_few_rows_teach_no_model():
    assert "teach no model" in mislabelled.check(subject(sentences(10)))


def test_a_column_that_gives_the_label_away():
    given = random.Random(0).choices(["a", "b"], k=200)
    ids = [f"{500 + k}" if label == "a" else f"{k}" for k, label in enumerate(given)]
    honest = [str(value) for value in np.random.default_rng(0).permutation(200)]
    desks = ["one" if label == "a" else "two" for label in given]
    found = giveaways.check(subject(sentences(200), given, others={"id": ids, "honest": honest, "desk": desks}))
    assert [one.severity for one in found] == ["warn", "warn"]
    assert ["'id'" in found[0].what, "'desk'" in found[1].what] == [True, True]


def test_rows_sorted_by_label():
    found = only(giveaways.check(subject(sentences(200), ["a"] * 100 + ["b"] * 100)))
    assert (found.severity, "sorted by label" in found.what) == ("note", True)


# ---- text ------------------------------------------------------------------------------------------------------------


def test_personal_data_is_counted_by_kind_and_never_shown():
    texts = [*sentences(18), "Write to jane.doe@example.org, please", "call +1 415 555 0123 today"]
    found = privacy.check(subject(texts, others={"who": ["x"] * 19 + ["bob@example.org"]}))
    assert [(one.count, dict(one.bars)) for one in found] == [(2, {"email": 1, "phone": 1}), (1, {"email": 1})]
    assert found[0].mends[0].written == "{mask_pii: {columns: [text, who]}}"
    told = json.dumps([str(one) for one in found])
    assert not any(secret in told for secret in ("jane", "doe", "0123", "bob"))
    assert "█" in found[0].examples[0].text


@pytest.mark.parametrize(("text", "what", "operator"), [
    ("CafÃ© de la gare", "wrong encoding", "fix_encoding"),
    ("itâ€™s fine", "wrong encoding", "fix_encoding"),
    ("锟斤拷锟斤拷", "wrong encoding", "fix_encoding"),
    ("lost \ufffd here", "replacement character", None),
    ("bell \x07 here", "control characters", "normalize"),
    ("zero\u200bwidth", "without width", "normalize"),
    ("turned \u202e round", "without width", "normalize"),
    ("private \ue000 use", "private-use", None),
    ("a <br/> b", "HTML", "strip_html"),
    ("fish &amp; chips", "HTML", "strip_html"),
    ("ＡＢＣ and abc", "full-width", "normalize"),
])  # fmt: skip
def test_odd_characters(text, what, operator):
    found = [one for one in characters.check(subject([*sentences(9), text])) if what in one.what]
    assert only(found).count == 1
    assert [mend.operator for mend in found[0].mends] == ([operator] if operator else [])
    assert found[0].examples[0].row == 10


def test_personal_data_beside_an_odd_character_is_blacked_out_whole():
    for padding in range(30, 60):  # the text is shown from 60 characters before the tag: every cut of the number
        text = f"and now call me at +1 415 555 0123 {'.' * padding}<br> now"
        shown = only(characters.check(subject([*sentences(9), text]))).examples[0].text
        assert not set("0123456789") & set(shown.partition("<br>")[0].removesuffix(" "))


def test_what_can_not_be_seen_is_named():
    found = only(characters.check(subject([*sentences(9), "zero\u200bwidth"])))
    assert found.examples[0].told == "U+200B ZERO WIDTH SPACE"


def test_usual_text_is_not_odd():
    texts = [
        "Über 3 < 4, naïve façade – “well”",
        "你好，世界！",
        "AT&T; a<b",
        "Москва Ðура",
        "日本語のテキスト",
        "👩‍👩‍👧 ok",
    ]
    assert characters.check(subject(texts)) == []


def test_languages_by_script():
    texts = ["the cat and the dog that you see with this are not here"] * 30 + ["这本书很好看，我很喜欢"] * 2
    found = only(languages.check(subject(texts)))
    assert (found.count, found.severity) == (2, "warn")
    assert "most texts are English" in found.what
    assert found.bars == [("Latin letters", 30), ("Chinese", 2)]


def test_lengths_in_tokens_against_a_limit():
    limit = checkup.Limit("minilm", 10, lambda text: len(text.split()))
    cut = [one for one in lengths.check(subject(sentences(20), limit=limit)) if "longer than" in one.what]
    assert only(cut).what.startswith("100.0% of the texts are longer than the 10 tokens")


def test_lengths_in_words_say_so_and_tell_outliers():
    found = lengths.check(subject([*sentences(19), "x" * 5000]))
    assert "no recipe named a backbone" in found[0].why
    assert found[1].what.startswith("1 text has more than")
    assert found[1].mends[0].options["most"] >= 1000


# ---- columns and reading ---------------------------------------------------------------------------------------------


def test_missing_cells_and_words_for_missing():
    texts = pa.array([*sentences(16), None, " ", "N/A", "ok then"], pa.string())
    found = columns.check(subject(texts, others={"empty": pa.nulls(20, pa.string())}))
    assert [(one.count, one.severity) for one in found] == [(2, "warn"), (1, "warn"), (20, "note")]
    assert found[1].mends[0].written == '{drop_empty: {also: ["N/A"]}}'


def test_no_columns_is_a_stop_with_reasons():
    table = pa.table({"n": [[1], [2]]})
    none = checkup.Subject(table=table, total=2, places=np.arange(2), columns=Columns(()), sniffed=sniff(table))
    found = columns.check(none)
    assert [one.severity for one in found] == ["stop", "stop"]
    assert "holds lists or records" in found[0].examples[0].text


def test_what_the_reader_skipped_guessed_and_doubts():
    notes = ["3 of 10 rows can't be read, and were skipped:", "  f.csv, line 4: too long", "gb18030 was guessed"]
    found = reading.check(
        subject(sentences(4), notes=notes, doubts=[("the first line looks like a row", "header=false")])
    )
    assert [(one.severity, one.count) for one in found] == [("warn", 0), ("warn", 3), ("note", 0)]
    assert found[1].examples[0].text == "f.csv, line 4: too long"


# ---- together --------------------------------------------------------------------------------------------------------


def test_all_checks_bear_any_table():
    tables = [
        pa.table({"a": ["x"]}),
        pa.table({"a": pa.nulls(3)}),
        pa.table({"n": [1.5, float("nan"), None]}),
        pa.table({"l": [["a"], None]}),
        pa.table({"t": ["", None, " "], "d": pa.array([0, 1, 2], pa.date32())}),
    ]
    for table in tables:
        for asked in (
            Columns(()),
            Columns((table.column_names[0],)),
            Columns((table.column_names[0],), (table.column_names[-1],)),
        ):
            given = checkup.Subject(
                table=table, total=table.num_rows, places=np.arange(table.num_rows), columns=asked, sniffed=sniff(table)
            )
            assert [one.name for one in checkup.run(given, Events.silent())] == list(checkup.CHECKS)
            assert len(columns.overview(given)) == table.num_columns
