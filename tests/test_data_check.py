import gzip
import json

import pytest

from danlu import data_check
from danlu.core import assets
from danlu.core.errors import DataError, RecipeError

ROWS = [(f"the {word} came with one more {k}", "ab"[k % 2]) for k, word in enumerate(["amber", "basil", "cedar"] * 20)]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS), encoding="utf-8")
    return path


def found(document):
    return {finding["check"]: finding for finding in document["findings"]}


@pytest.mark.parametrize(("name", "source"), [
    ("a.csv", "csv"), ("a.tsv", "tsv"), ("a.json", "json"), ("a.jsonl", "jsonl"), ("a.parquet", "parquet"),
    ("a.arrow", "arrow"), ("a.txt", "text"), ("a.csv.gz", "csv"), ("A.CSV", "csv"),
])  # fmt: skip
def test_the_source_follows_from_the_name(tmp_path, name, source):
    (tmp_path / name).write_bytes(b"x")
    assert data_check.source_of(str(tmp_path / name)).name == source


def test_a_folder_is_read_by_what_most_of_its_files_are(tmp_path):
    for name in ("one/a.png", "one/b.png", "two/c.jpg", "labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert data_check.source_of(str(tmp_path)).name == "image_folder"


def test_a_pattern_and_an_asset(table):
    assert data_check.source_of(str(table.parent / "*.csv")).name == "csv"
    assert data_check.source_of("asset:movie-snippets").name == "asset"


def test_packed_files_are_read_like_others(table, tmp_path):
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    one, other = (data_check.check(str(path)) for path in (table, packed))
    assert [f["what"] for f in one["findings"]] == [f["what"] for f in other["findings"]]


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        data_check.source_of(str(tmp_path / "none.csv"))
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(DataError, match="no source reads"):
        data_check.source_of(str(tmp_path / "a.docx"))


def recipe(tmp_path, extra="", task="{text_classification: {text: text, label: label, max_length: 6}}"):
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"name: mine\nsteps:\n  rows:\n    do: prepare\n    source: {{csv: rows.csv}}\n    task: {task}\n"
        f"    operators: [drop_empty, {{near_duplicates: {{threshold: 0.7}}}}]\n{extra}",
        encoding="utf-8",
    )
    return path


def test_a_recipe_brings_its_operators_split_and_step(table, tmp_path):
    table.write_text(table.read_text() + "the amber came with one more 0,a\n" + "so <br> it is,a\n")
    told = data_check.check(str(recipe(tmp_path)), ["rows.split.test=0.05"])
    override = told["recipe"]["override"]
    assert override.startswith("rows.operators='[strip_html, ")
    assert override.index("drop_empty") < override.index("drop_duplicates") < override.index("near_duplicates: {thr")
    near = found(told)["near-duplicates"]
    assert (near["mended"], near["mend"]) == (True, None)


def test_a_recipe_without_prepare(tmp_path):
    path = tmp_path / "only.yaml"
    path.write_text("name: only\nsteps: {x: {do: publish}}\n")
    with pytest.raises(RecipeError, match=r"needs a|prepares no data"):
        data_check.check(str(path))


def test_a_column_that_is_not_there(table, tmp_path):
    path = recipe(tmp_path, task="{text_classification: {text: review, label: label}}")
    with pytest.raises(DataError, match="there is no column 'review'; the columns are: text, label"):
        data_check.check(str(path))


def test_the_document_is_plain(table):
    told = data_check.check(str(table))
    assert json.loads(json.dumps(told))["findings"]
    assert (told["rows"], told["looked_at"], told["input"], told["truth"]) == (60, 60, ["text"], ["label"])
    assert [column["role"] for column in told["columns"]] == ["input", "truth"]


def test_a_sample_keeps_the_numbers_of_its_rows(table):
    table.write_text(table.read_text().replace("one more 56", "one <br> more 56"))
    told = data_check.check(str(table), rows=15)
    assert (told["rows"], told["looked_at"]) == (60, 15)
    assert found(told)["odd characters"]["examples"][0]["row"] == 57


def test_leaks_between_the_splits_of_a_folder(tmp_path):
    for name, rows in (("train", ROWS[:50]), ("test", [*ROWS[50:], *ROWS[:3]])):
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    leak = found(data_check.check(str(tmp_path)))["leaks between splits"]
    assert "of 13 rows of the split test are among the training rows: 3 the same" in leak["what"]


@pytest.mark.proof
def test_chinese_reviews_are_half_copies_and_stand_under_both_labels():
    if not assets.is_here(assets.find("chinese-reviews")):
        pytest.skip("the asset chinese-reviews is not here: danlu assets get chinese-reviews")
    told = found(data_check.check("asset:chinese-reviews"))
    assert told["duplicates"]["share"] == pytest.approx(0.5, abs=0.01)
    assert told["duplicates"]["why"].startswith("Half of the data is a copy")
    both = told["the same input under several labels"]
    assert both["count"] >= 200
    assert all("negative" in one["told"] and "positive" in one["told"] for one in both["examples"])


@pytest.mark.demo
def test_tokens_are_counted_against_the_backbone(table, tmp_path):
    path = recipe(tmp_path, '  tuned: {do: finetune, backbone: {pretrained: "asset:minilm"}}\n')
    told = [f for f in data_check.check(str(path))["findings"] if f["check"] == "lengths"]
    assert any("tokens of asset:minilm" in f["what"] for f in told)
    assert any("longer than the 6 tokens" in f["what"] for f in told)


GOOD = "".join(f"one more {k},{'ab'[k % 2]}\n" for k in range(40)).encode()


@pytest.mark.parametrize(("content", "rows", "told"), [
    (GOOD + "好故事,a\n".encode() * 20 + "坏故事,b\n".encode("gb18030"), 60, "1 of 61 rows can't be read"),
    (GOOD + b"one,two,three\nlonely\n", 40, "2 of 42 rows can't be read"),
    (GOOD + b"," * 1_000_000 + b"\n", 40, "1 of 41 rows can't be read"),
])  # fmt: skip
def test_rows_that_can_not_be_read_are_counted(tmp_path, content, rows, told):
    (tmp_path / "my.csv").write_bytes(b"\xef\xbb\xbftext,label\n" + content)
    document = data_check.check(str(tmp_path / "my.csv"))
    assert document["rows"] == rows
    assert found(document)["reading"]["what"] == told


def test_a_column_of_lists_is_named_as_no_text(tmp_path):
    lines = [json.dumps({"text": ["a", str(k)], "label": "ab"[k % 2]}) + "\n" for k in range(20)]
    (tmp_path / "my.jsonl").write_text("".join(lines))
    finding = found(data_check.check(str(tmp_path / "my.jsonl")))["columns"]
    assert "not used: column 'text' holds lists or records" in str(finding)
