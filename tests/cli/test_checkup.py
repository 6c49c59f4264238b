import re

import pytest

from danlu.cli import checkup as command
from word_list import WORDS


def sentence(k):
    return " ".join(WORDS[(k * 7 + j * (1 + k % 5)) % 16] for j in range(9)) + f" {k}"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DANLU_STORE", raising=False)


@pytest.fixture
def messy(tmp_path):
    rows = [(sentence(k), "good" if k % 2 else "bad") for k in range(60)]
    rows += [(sentence(3), "bad"), (sentence(5), "good"), ("write to jane.doe@example.org <br/> now", "good")]
    return write(tmp_path / "reviews.csv", rows)


def write(path, rows):
    path.write_text("".join(f"{text},{label}\n" for text, label in [("text", "label"), *rows]), encoding="utf-8")
    return path


def test_what_is_told_in_the_terminal(danlu, messy):
    said = danlu("data", "check", messy)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "reviews.csv  63 rows, 2 columns; input text, label label"
    assert "       2 rows say the same as an earlier one, byte for byte" in lines
    assert "       1 input stands under more than one label, in 2 rows" in lines
    assert "       personal data" not in said.out
    assert "       Personal data in 1 row of the column 'text'" in lines
    assert "jane" not in said.out + said.err
    assert "    - mask_pii" in lines
    assert (
        "data.operators='[mask_pii, strip_html, normalize, drop_empty, {label_conflicts: {action: majority}}"
        in said.out
    )
    assert lines[-1] == "reviews.csv-check.html"
    assert "\x1b" not in said.out


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_are_no_longer_than_the_terminal(danlu, messy, monkeypatch, width):
    monkeypatch.setattr("danlu.cli.output.console.width", width)
    lines = danlu("data", "check", messy).out.partition("What mends it")[0].splitlines()
    assert max(map(len, lines)) <= width


def test_the_page_needs_nothing_and_shows_no_personal_data(danlu, messy, tmp_path):
    page = tmp_path / "page.html"
    said = danlu("data", "check", messy, "--html", page, "--json")
    text = page.read_text("utf-8")
    assert said.json["html"] == str(page)
    assert not re.search(r"<script|src=\"(?!data:)|href=\"(?!#)|@import|url\(", text)
    assert "jane" not in text + said.out
    assert "&lt;br/&gt;" in text


def test_json_is_one_document_with_a_mend_for_each_finding(danlu, messy):
    told = danlu("data", "check", messy, "--json").json
    assert told["counts"] == {s: sum(f["severity"] == s for f in told["findings"]) for s in ("stop", "warn", "note")}
    found = {f["check"]: f for f in told["findings"]}
    assert found["duplicates"]["mend"]["yaml"].splitlines()[-1] == "  - drop_duplicates"
    assert found["duplicates"]["count"] == 2


def test_the_mends_pasted_make_a_recipe_that_is_right(danlu, messy, tmp_path):
    told = danlu("data", "check", messy, "--json").json
    pasted = "\n".join(f"    {line}" for line in told["recipe"]["yaml"].splitlines())
    recipe = tmp_path / "mended.yaml"
    recipe.write_text(
        "name: mended\nsteps:\n  data:\n    do: prepare\n    source: {csv: reviews.csv}\n"
        f"    task: {{text_classification: {{text: text, label: label}}}}\n{pasted}\n",
        encoding="utf-8",
    )
    assert danlu("check", recipe).code == 0
    assert danlu("check", recipe, told["recipe"]["override"].replace("'", "")).code == 0
    again = danlu("data", "check", recipe, "--json").json
    mended = {
        f["check"]: f["mended"] for f in again["findings"] if (f["severity"] == "warn" and f["mend"]) or f["mended"]
    }
    assert set(mended.values()) == {True}


@pytest.mark.parametrize(("gate", "code"), [("stop", 0), ("warn", 5)])
def test_the_gate(danlu, messy, gate, code):
    said = danlu("data", "check", messy, "--fail-if", gate)
    assert said.code == code
    assert "reviews.csv" in said.out


def test_a_leak_is_a_stop(danlu, messy, tmp_path):
    test = write(tmp_path / "test.csv", [(sentence(9), "good"), ("quite another thing", "bad")])
    said = danlu("data", "check", messy, "--against", test, "--fail-if", "stop")
    assert said.code == 5
    assert "1 of 2 rows of the file given by --against" in said.out


def test_a_sample_is_told(danlu, messy):
    said = danlu("data", "check", messy, "--rows", 32)
    assert "32 of the rows were looked at" in said.out
    assert "were looked at" not in danlu("data", "check", messy, "--rows", "all").out


def test_the_page_goes_into_the_store_where_there_is_one(danlu, messy, tmp_path):
    (tmp_path / ".danlu").mkdir()
    said = danlu("data", "check", messy)
    assert said.out.splitlines()[-1] == str(tmp_path / ".danlu" / "checks" / "reviews.csv-check.html")
    assert (tmp_path / ".danlu" / "checks" / "reviews.csv-check.html").is_file()


def test_only_such_a_page_is_overwritten(danlu, messy, tmp_path):
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    said = danlu("data", "check", messy, "--html", mine)
    assert (said.code, mine.read_text()) == (2, "<p>mine</p>")
    assert "it is no such report" in said.err
    page = tmp_path / "page.html"
    assert [danlu("data", "check", messy, "--html", page).code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(("arguments", "code", "told"), [
    (["--rows", "0"], 2, "'0' is no number of rows"),
    (["--rows", "many"], 2, "'many' is no number of rows"),
    (["--fail-if", "note"], 2, "'note' is no gravity"),
    (["--html", "no/such/folder.html"], 4, "there is no such folder"),
    (["--html", "."], 2, "this is a folder"),
    (["data.seed=1"], 2, "changes a recipe"),
    (["--against", "nothere.csv"], 3, "nothere.csv"),
])  # fmt: skip
def test_wrong_options(danlu, messy, arguments, code, told):
    said = danlu("data", "check", messy, *arguments)
    assert said.code == code
    assert told in said.err


@pytest.mark.parametrize(("name", "content", "told"), [
    ("empty.csv", b"", "empty"),
    ("header.csv", b"text,label\n", "no rows"),
    ("noise.parquet", b"\x00\x01\x02" * 99, "Parquet"),
    ("thing.xyz", b"hello", "no source reads a file that ends in '.xyz'"),
    ("thing", b"hello", "the file's name has no ending"),
])  # fmt: skip
def test_what_is_no_table(danlu, tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    said = danlu("data", "check", tmp_path / name)
    assert said.code == 3
    assert told in said.err
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize(("name", "content"), [
    ("one.csv", "n\n1\n2\n"),
    ("numbers.csv", "a,b\n1.5,2.5\n3.5,4.5\n"),
    ("lists.json", '[{"text": ["a", "b"], "label": "x"}, {"text": ["c"], "label": "y"}]'),
    ("ragged.csv", "text,label\na good film,pos\na bad one,neg,more\nan odd one,neg\n"),
    ("steering.csv", "text,label\n\x1b[31mred \u202eand odd,pos\nplain text here,neg\n"),
])  # fmt: skip
def test_odd_tables_are_told_of(danlu, tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    said = danlu("data", "check", tmp_path / name)
    assert said.code == 0
    assert "\x1b" not in said.out + (tmp_path / f"{name}-check.html").read_text("utf-8")


def test_a_recipe_without_data(danlu, tmp_path):
    recipe = tmp_path / "none.yaml"
    recipe.write_text("name: none\nsteps: {}\n")
    assert danlu("data", "check", recipe).code == 2


def test_the_name_of_the_page_is_a_plain_name():
    assert command._page(None, "asset:movie-snippets", None).name == "movie-snippets-check.html"
    assert command._page(None, "data/*.csv", None).name == "csv-check.html"
