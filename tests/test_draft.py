import csv
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu import draft as drafts
from danlu import recipe
from danlu.core import assets
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.draft import draft, steps_for, write

WORDS = {
    "english": [
        "this",
        "is",
        "a",
        "story",
        "about",
        "the",
        "people",
        "that",
        "we",
        "know",
        "and",
        "it",
        "was",
        "not",
        "what",
        "they",
        "said",
    ],
    "french": [
        "le",
        "film",
        "que",
        "nous",
        "avons",
        "vu",
        "hier",
        "avec",
        "des",
        "amis",
        "est",
        "très",
        "beau",
        "mais",
        "un",
        "peu",
        "trop",
        "long",
        "pour",
        "moi",
    ],
    "chinese": [
        "这家",
        "酒店",
        "的",
        "服务",
        "很好",
        "房间",
        "干净",
        "下次",
        "还会",
        "再来",
        "电影",
        "故事",
        "演员",
        "精彩",
        "无聊",
        "推荐",
    ],
}


def table(path, language="english", *, text="comment", label="verdict", rows=120, delimiter=",", encoding="utf-8"):
    """A file of sentences with one of two labels; a column with an empty name is left out."""
    rng = random.Random(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow([name for name in ("id", text, label) if name])
        for k in range(rows):
            sentence = " ".join(rng.choices(WORDS[language], k=9)) + f" {k}"
            writer.writerow([k, *([sentence] if text else []), *([("bad", "good")[k % 2]] if label else [])])
    return path


@pytest.fixture
def minilm(monkeypatch):
    """Say that minilm is on this machine, or that it is not."""

    def say(here):
        monkeypatch.setattr(assets, "is_here", lambda asset: here)

    say(True)
    return say


def drafted(data, to=None):
    """The draft as it was written, its reasons in one text, and the recipe that was read back from it."""
    target = to or data.with_suffix(".yaml")
    made = draft(data, target)
    write(made, target)
    return made.text, "\n".join(made.reasons), recipe.load(target)


def chosen(read, step):
    return next(one.stage.settings for one in read.steps if one.name == step)


def columns(read):
    task = chosen(read, "data")["task"]
    return task.name, {name: task.settings[name] for name in ("text", "image", "label") if name in task.settings}


# ---- what is chosen, and why ---------------------------------------------------------------------------------------


def test_english_text_gets_the_small_encoder(minilm, tmp_path):
    text, reasons, read = drafted(table(tmp_path / "my.csv"))
    assert read.name == "my"
    assert columns(read) == ("text_classification", {"text": "comment", "label": "verdict"})
    assert [step.stage.name for step in read.steps] == [
        "prepare", "finetune", "compress", "evaluate", "verify", "publish",
    ]  # fmt: skip
    assert chosen(read, "tuned")["backbone"].settings["model"] == "asset:minilm"
    for told in ("120 rows, columns 'id', 'comment', 'verdict'", "text: column 'comment'", "label: column 'verdict'",
                 "language: en", "not used: column 'id'", "a small English encoder, since the text is English"):  # fmt: skip
        assert told in reasons
    assert "#   danlu run my.yaml" in text
    assert "They are few" in text


def test_without_the_encoder_it_says_how_to_get_it(minilm, tmp_path):
    minilm(False)
    text, reasons, read = drafted(table(tmp_path / "my.csv"))
    assert chosen(read, "tuned")["backbone"].name == "tfidf_lr"
    assert "minilm is not on this machine" in reasons
    assert "danlu assets get minilm" in " ".join(text.replace("# ", "").split())
    assert all(step.stage.name != "compress" for step in read.steps)


@pytest.mark.parametrize(
    ("language", "encoding", "why"),
    [
        ("chinese", "utf-8", "of the letters are Chinese"),
        ("chinese", "gb18030", "of the letters are Chinese"),
        ("french", "utf-8", "Latin letters, but only"),
        ("french", "latin-1", "Latin letters, but only"),
    ],
)
def test_other_languages_are_told_why_they_get_no_encoder(minilm, tmp_path, language, encoding, why):
    text, reasons, read = drafted(table(tmp_path / "my.csv", language, encoding=encoding))
    assert chosen(read, "tuned")["backbone"].name == "tfidf_lr"
    assert why in reasons
    assert "there is no encoder for this language" in " ".join(text.replace("# ", "").split())
    if encoding != "utf-8":
        assert "file: " in reasons.split("\n")[1], "what was guessed of the encoding is told"


def test_pictures_get_a_network_of_their_own(minilm, tmp_path):
    data = tmp_path / "pictures.csv"
    data.write_text("file,kind\n" + "".join(f"img/{k}.png,{('cat', 'dog')[k % 2]}\n" for k in range(60)))
    _, reasons, read = drafted(data)
    assert columns(read) == ("image_classification", {"image": "file", "label": "kind"})
    assert chosen(read, "tuned")["backbone"].name == "cnn"
    assert chosen(read, "tuned")["steps"] == 600
    assert chosen(read, "data")["source"].settings["pictures"] == ["file"]
    assert "holds pictures" in reasons


def test_a_first_line_that_looks_like_a_row_is_read_as_one(minilm, tmp_path):
    data = table(tmp_path / "my.csv")
    data.write_text("".join(data.read_text().splitlines(keepends=True)[1:]))
    text, reasons, read = drafted(data)
    assert "120 rows, columns 'c1', 'c2', 'c3'" in reasons
    assert "header: the first line of my.csv looks like a row, not like names of columns: 'bad' stands 59" in reasons
    assert "write `header: true` and the names" in " ".join(text.replace("#", "").split())
    assert columns(read) == ("text_classification", {"text": "c2", "label": "c3"})
    assert chosen(read, "data")["source"].settings["header"] is False


@pytest.mark.parametrize(("name", "delimiter"), [("my.csv", ";"), ("my.tsv", "\t"), ("my.txt", "|")])
def test_other_delimiters(minilm, tmp_path, name, delimiter):
    _, _, read = drafted(table(tmp_path / name, delimiter=delimiter))
    assert columns(read)[1] == {"text": "comment", "label": "verdict"}


@pytest.mark.parametrize(("rows", "steps"), [(10, 600), (5_000, 600), (20_000, 875), (1_000_000, 43_750)])
def test_training_is_counted_in_steps_and_never_less_than_600(rows, steps):
    assert steps_for(rows) == steps


def test_the_steps_stand_in_the_recipe_with_their_reason(minilm, tmp_path):
    text, reasons, read = drafted(table(tmp_path / "my.csv"))
    assert (chosen(read, "tuned")["steps"], chosen(read, "tuned")["epochs"]) == (600, None)
    assert "600 steps of 32 rows, 228.6 epochs, since fewer than 600 updates leave a model half-tuned" in reasons
    assert "600 steps of 32 rows" in text


def test_two_validation_rows_are_no_reason_to_stop(minilm, tmp_path):
    _, _, small = drafted(table(tmp_path / "small.csv", rows=200))
    assert chosen(small, "small")["budget"]["max_drop"] == {"accuracy": 0.1}
    _, _, large = drafted(table(tmp_path / "large.csv", rows=3000))
    assert chosen(large, "small")["budget"]["max_drop"] == {"accuracy": 0.01}


def test_a_large_file_is_looked_at_all_over(minilm, tmp_path, monkeypatch):
    """Sorted by label, its first rows alone would show one label only."""
    monkeypatch.setattr(drafts, "_MOST_ROWS", 50)
    data = table(tmp_path / "my.csv", rows=240)
    head, *rows = data.read_text().splitlines(keepends=True)
    data.write_text(head + "".join(sorted(rows, key=lambda row: row.rstrip().rpartition(",")[2])))
    _, reasons, read = drafted(data)
    assert "240 rows" in reasons
    assert "2 values" in reasons
    assert columns(read)[1]["label"] == "verdict"


# ---- what can't be drafted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "label", "missing"), [("comment", "", "the label"), ("", "verdict", "a text or a picture")]
)
def test_a_missing_column_is_told_with_what_was_seen(minilm, tmp_path, text, label, missing):
    data = table(tmp_path / "my.csv", text=text, label=label)
    with pytest.raises(DataError, match=f"no column looks like {missing}; what was seen") as told:
        draft(data, tmp_path / "my.yaml")
    assert "column 'id'" in str(told.value)
    assert "danlu run" in told.value.do


@pytest.mark.parametrize(
    ("content", "match"),
    [("text,label\n", "a header but no rows"), ("", "empty"), ("a,a\n1,2\n", "'a' stands there 2")],
)
def test_a_file_that_is_no_table(tmp_path, content, match):
    (tmp_path / "my.csv").write_text(content)
    with pytest.raises(DataError, match=match):
        draft(tmp_path / "my.csv", tmp_path / "my.yaml")


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path):
    (tmp_path / "near.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"there is no such file|no such"):
        draft(tmp_path / "my.csv", tmp_path / "my.yaml")
    with pytest.raises(DataError, match="is not a table that this command reads"):
        draft(tmp_path / "my.xlsx", tmp_path / "my.yaml")


def test_nothing_is_overwritten(minilm, tmp_path):
    data = table(tmp_path / "my.csv")
    made = draft(data, tmp_path / "my.yaml")
    (tmp_path / "my.yaml").write_text("mine")
    with pytest.raises(RecipeError, match="there is a file already"):
        write(made, tmp_path / "my.yaml")
    with pytest.raises(RecipeError, match="there is a file already"):
        draft(data, tmp_path / "my.yaml")
    assert (tmp_path / "my.yaml").read_text() == "mine"


def test_a_folder_that_is_not_there(minilm, tmp_path):
    made = draft(table(tmp_path / "my.csv"), tmp_path / "no" / "my.yaml")
    with pytest.raises(MachineError, match="there is no such folder"):
        write(made, tmp_path / "no" / "my.yaml")


# ---- names and places ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ['the "real" text', "text: raw", "文本", "1st", "007", "yes", "null", "a\\b", "# comment", "{x}", "- x", "$data",
     "it's", " spaced ", "x\u2028y", "x\x1b[31my", "emoji 🙂", "e\u0301", "\ufeffx", "%1", "*all", "a, b", "[1]", "!t", "&a"],
)  # fmt: skip
def test_a_columns_name_comes_through_yaml(minilm, tmp_path, name):
    data = table(tmp_path / "my.csv", text=name, label=f"{name} label")
    text, _, read = drafted(data)
    assert columns(read)[1] == {"text": name.strip(), "label": f"{name} label".strip()}
    assert text.isascii() or all(c.isprintable() or c == "\n" for c in text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_name_comes_through_yaml(name):
    from danlu.core.document import parse

    text = f"task: {drafts._yaml({'t': {'text': name}})}\n"
    assert text.count("\n") == 1
    assert parse(text, "draft") == {"task": {"t": {"text": name}}}


@pytest.mark.parametrize(
    ("stem", "name"),
    [("My Reviews (2024)", "my-reviews-2024"), ("评论", "my-model"), ("2024", "2024"), ("_", "my-model"), ("a" * 99, "a" * 64)],
)  # fmt: skip
def test_the_models_name_follows_from_the_files(minilm, tmp_path, stem, name):
    _, _, read = drafted(table(tmp_path / f"{stem}.csv"))
    assert read.name == name


@pytest.mark.parametrize("name", ["a b.csv", "it's.csv", "~home.csv", "a:b.csv", "#1.csv", "评论.csv", "new\nline.csv"])
def test_a_files_name_comes_through_yaml(minilm, tmp_path, name):
    data = table(tmp_path / name)
    text, _, read = drafted(data)
    assert chosen(read, "data")["source"].settings["path"] == str(data)
    assert all(line.startswith("#") for line in text.splitlines()[:4])


def test_data_in_another_folder_is_named_relative_to_the_recipe(minilm, tmp_path, monkeypatch):
    data = table(tmp_path / "data" / "my.csv")
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    text, _, read = drafted(Path("data/my.csv"), to=Path("recipes/other.yaml"))
    assert 'csv: "../data/my.csv"' in text
    assert chosen(read, "data")["source"].settings["path"] == str(data)
    assert "danlu run other.yaml" in text


def test_links_do_not_lead_astray(minilm, tmp_path):
    data = table(tmp_path / "deep" / "down" / "my.csv")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "down")
    _, _, read = drafted(tmp_path / "link" / "my.csv", to=tmp_path / "my.yaml")
    assert Path(chosen(read, "data")["source"].settings["path"]).samefile(data)
    (tmp_path / "elsewhere").mkdir()
    _, _, read = drafted(data, to=tmp_path / "link" / "again.yaml")
    assert Path(chosen(read, "data")["source"].settings["path"]).samefile(data)


def test_a_folder_is_no_place_for_a_recipe(minilm, tmp_path):
    with pytest.raises(RecipeError, match=r"it is a folder\n.*name the file to write: --to .*my\.yaml"):
        draft(table(tmp_path / "my.csv"), tmp_path)


@pytest.mark.parametrize(
    ("header", "task", "metrics"),
    [
        (["premise", "hypothesis", "label"], "text_pair_classification", "[accuracy, f1]"),
        (["sentence1", "sentence2", "score"], "text_regression", "[spearman, mae]"),
        (["id", "review", "rating"], "text_regression", "[spearman, mae]"),
    ],
)
def test_pairs_and_numbers_are_told_by_the_names_of_their_columns(tmp_path, header, task, metrics):
    rng = random.Random(0)
    cells = {"id": str, "label": lambda k: "yn"[k % 2], "score": lambda k: k / 7, "rating": lambda k: k / 9}
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for k in range(60):
            texts = (" ".join(rng.choices(WORDS["english"], k=6)) for _ in header)
            writer.writerow([cells.get(name, lambda _, text=text: text)(k) for name, text in zip(header, texts)])
    made = draft(tmp_path / "rows.csv", tmp_path / "made.yaml")
    write(made, tmp_path / "made.yaml")
    chosen = recipe.load(tmp_path / "made.yaml").steps[0].stage.plain()["prepare"]["task"][task]
    assert set(header) - {"id"} <= set(map(str, chosen.values()))
    assert f"metrics: {metrics}" in made.text
