import pytest

from danlu.blocks.checkup.finding import Mend, graded, merged, shown
from danlu.core import plugin
from danlu.core.document import parse


@pytest.mark.parametrize(("mend", "written", "bare"), [
    (Mend("drop_duplicates"), "drop_duplicates", "drop_duplicates"),
    (Mend("length", {"most": 10}), "{length: {most: 10}}", "length: {most: 10}"),
    (Mend("drop_empty", {"also": ["N/A", "no", "a: b"]}), '{drop_empty: {also: ["N/A", "no", "a: b"]}}', None),
    (Mend("decontaminate", {"source": {"csv": "a b.csv"}}), '{decontaminate: {source: {csv: "a b.csv"}}}', None),
])  # fmt: skip
def test_a_mend_is_yaml(mend, written, bare):
    assert mend.written == written
    assert mend.bare == (bare or written[1:-1])
    read = parse(f"- {mend.bare}", "here")[0]
    assert read == ({mend.operator: dict(mend.options)} if mend.options else mend.operator)


def test_mends_take_their_places_among_the_operators_there():
    present = [{"normalize": {"form": "NFC"}}, {"mine": {}}, {"drop_empty": {"also": ["x"]}}]
    whole = merged(present, [Mend("drop_empty", {"also": ["-", "x"]}), Mend("mask_pii"), Mend("normalize")])
    assert [one.written for one in whole] == [
        "mask_pii", "{normalize: {form: NFC}}", '{drop_empty: {also: [x, "-"]}}', "mine",
    ]  # fmt: skip


def test_an_option_that_is_there_is_not_changed():
    assert merged([{"length": {"most": 5}}], [Mend("length", {"most": 9, "least": 2})])[0].options == {
        "most": 5,
        "least": 2,
    }


def test_every_operator_named_is_there():
    names = ["mask_pii", "fix_encoding", "strip_html", "normalize", "drop_empty", "length", "label_conflicts", "drop_duplicates", "near_duplicates", "decontaminate", "label_errors"]  # fmt: skip
    assert [plugin.find("operators", name).name for name in names] == names


def test_shown_is_one_short_line_without_personal_data():
    assert shown("a\n b\tjane@example.org") == "a b ████@███████.███"
    assert shown("x" * 5000) == "x" * 240 + "…"
    assert shown(None) == "–"
    assert shown([1, 2]) == "[1, 2]"


def test_personal_data_is_blacked_out_before_a_text_is_cut():
    text = "x" * 230 + " jane.doe@example.org"
    assert "jane" not in shown(text)


def test_graded():
    assert (graded(0.01, 0.01), graded(0.009, 0.01)) == ("warn", "note")
