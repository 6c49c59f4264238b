import csv
import io

import pytest

from danlu.blocks import labelling_sheet as sheets
from danlu.blocks.labelling_sheet import Filled, appended, read_sheet
from danlu.core.errors import DataError

TEXTS = ["很好，值得买", "=SUM(A1)", "a\r\nb", "  padded ", "'-1", "'quoted'"]


def rows(texts):
    return [
        {"row": k, "input": text, "guess": "-bad", "confidence": 0.5, "why": "w"} for k, text in enumerate(texts, 1)
    ]


def fill(path, labels, *, change=lambda cells: cells, encoding="utf-8-sig", separator=","):
    """Write a sheet of `TEXTS` as a spreadsheet does when a person filled in these labels."""
    lines = list(csv.reader(io.StringIO(sheets.sheet("text", "label", rows(TEXTS[: len(labels)])), newline="")))
    filled = [[*line[:-1], label] for line, label in zip(lines[1:], labels, strict=True)]
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([lines[0], *(change(line) for line in filled)])
    path.write_bytes(out.getvalue().encode(encoding))
    return path


def test_no_cell_can_be_run_as_a_formula():
    cells = list(csv.reader(io.StringIO(sheets.sheet("text", "label", rows(TEXTS)), newline="")))
    assert cells[0] == ["row", "digest", "text", "guess", "confidence", "why", "label"]
    assert not [cell for line in cells for cell in line if cell[:1] in ("=", "+", "-", "@", "\t")]
    assert all(line[1].startswith("x") for line in cells[1:])


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8-sig", ","), ("gb18030", ";"), ("utf-16", "\t")])
def test_what_comes_back_is_what_went_out(tmp_path, encoding, separator):
    path = fill(tmp_path / "s.csv", ["good"] * 6, encoding=encoding, separator=separator)
    filled = read_sheet(path, ["good", "bad"])
    assert [text.replace("\r\n", "\n") for text, _ in filled.rows] == [t.replace("\r\n", "\n") for t in TEXTS]
    assert (filled.column, filled.label, filled.counted) == ("text", "label", {"good": 6})


def test_a_spreadsheets_line_ends_are_no_change(tmp_path):
    path = fill(tmp_path / "s.csv", ["good"] * 3, change=lambda line: [cell.replace("\r\n", "\n") for cell in line])
    assert len(read_sheet(path, []).rows) == 3


def test_all_faults_are_told_with_their_rows(tmp_path):
    def change(line):
        return [*line[:2], "other", *line[3:]] if line[0] == "1" else line

    path = fill(tmp_path / "s.csv", ["good", "godo", "", " good "], change=change)
    with pytest.raises(DataError) as told:
        read_sheet(path, ["bad", "good"], partial=True)
    assert "2 rows can't be taken" in told.value.what
    assert "row 1: its text was changed" in told.value.what
    assert "row 2: 'godo' is no label; did you mean good?" in told.value.what


def test_a_sheet_filled_in_half(tmp_path):
    path = fill(tmp_path / "s.csv", ["good", "", ""])
    with pytest.raises(DataError, match=r"2 of 3 rows have no label yet\n.*--partial"):
        read_sheet(path, [])
    assert read_sheet(path, [], partial=True) == Filled("text", "label", [(TEXTS[0], "good")], 2)
    with pytest.raises(DataError, match="no row has a label"):
        read_sheet(fill(tmp_path / "e.csv", ["", ""]), [], partial=True)


def test_another_csv_is_no_sheet(tmp_path):
    (tmp_path / "x.csv").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="its columns are text, label, and those of a sheet begin row, digest"):
        read_sheet(tmp_path / "x.csv", [])


def test_rows_are_appended_once(tmp_path):
    path = tmp_path / "labelled.csv"
    first, added = appended(path, Filled("text", "label", [("a,b", "x"), ("好", "y"), ("好", "y")], 0))
    assert (first.decode("utf-8-sig"), added) == ('text,label\r\n"a,b",x\r\n好,y\r\n', 2)
    path.write_bytes(first.removesuffix(b"\r\n"))
    second, added = appended(path, Filled("text", "label", [("好", "y"), ("c", "x")], 0))
    assert (second.decode("utf-8-sig").splitlines(), added) == (["text,label", '"a,b",x', "好,y", "c,x"], 1)


def test_two_labels_for_one_input_are_refused(tmp_path):
    path = tmp_path / "labelled.csv"
    path.write_text("text,label\na,x\n")
    with pytest.raises(DataError, match="the same text is labelled 'x' and 'y': a"):
        appended(path, Filled("text", "label", [("a", "y")], 0))
    with pytest.raises(DataError, match="labelled 'y' and 'x': b"):
        appended(path, Filled("text", "label", [("b", "y"), ("b", "x")], 0))


@pytest.mark.parametrize(
    ("content", "told"), [(b"text,stars\na,x\n", "its columns are text, stars"), ("text,label\n好的很,x\n".encode("gb18030"), "it is written in ")]
)  # fmt: skip
def test_a_file_of_another_kind_is_not_appended_to(tmp_path, content, told):
    (tmp_path / "other.csv").write_bytes(content)
    with pytest.raises(DataError, match=told):
        appended(tmp_path / "other.csv", Filled("text", "label", [("a", "y")], 0))
