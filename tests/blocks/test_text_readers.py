"""The readers of texts that are more than a text and a label, each on a made-up file of the real layout."""

import json

import pytest

from danlu.blocks.readers import READERS
from danlu.core import assets


def read(name, folder, split=""):
    return READERS[name].read(folder, split).to_pylist()


def test_conll2003_reads_sentences_of_its_own_splits(tmp_path):
    (tmp_path / "train.txt").write_text(
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n-DOCSTART- -X- -X- O\n\nPeter NNP B-NP B-PER\n"
    )
    (tmp_path / "valid.txt").write_text("-DOCSTART- -X- -X- O\n\nOslo NNP B-NP B-LOC\n\n")
    (tmp_path / "test.txt").write_text("-DOCSTART- -X- -X- O\n\nNo DT B-NP O\n\n")
    assert read("conll2003", tmp_path, "train") == [
        {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"], "pos": ["NNP", "VBZ"]},
        {"tokens": ["Peter"], "tags": ["B-PER"], "pos": ["NNP"]},
    ]
    assert [row["tokens"] for row in read("conll2003", tmp_path, "validation")] == [["Oslo"]]
    assert len(read("conll2003", tmp_path)) == 4


def test_peoples_daily_tags_characters_and_pairs_the_parts_of_names(tmp_path):
    line = "主席/n  江/nr  泽民/nr  李/nr  鹏/nr  在/p  北京/ns  石景山/ns  、/w  中共中央/nt\n\n陈/nr  方/nr  安生/nr\n和/或/w"
    (tmp_path / "199801.txt").write_text(line)
    first, second, third = read("peoples_daily", tmp_path)
    assert (
        first["text"] == "主席江泽民李鹏在北京石景山、中共中央" == "".join(first["tokens"]) == "".join(first["words"])
    )
    person, place = ["B-PER", "I-PER", "I-PER", "B-PER", "I-PER"], ["B-LOC", "I-LOC", "B-LOC", "I-LOC", "I-LOC"]
    assert first["tags"] == ["O", "O", *person, "O", *place, "O", "B-ORG", "I-ORG", "I-ORG", "I-ORG"]
    assert first["pos"] == ["n", "nr", "nr", "nr", "nr", "p", "ns", "ns", "w", "nt"]
    assert second["tags"] == ["B-PER", "I-PER", "I-PER", "I-PER"]
    assert third["words"] == ["和/或"]


def test_chinese_poetry_is_in_the_order_of_its_numbers(tmp_path):
    def put(dynasty, number, lines):
        poem = {"author": "某", "title": f"{dynasty}{number}", "paragraphs": lines, "id": "x"}
        (tmp_path / f"poet.{dynasty}.{number}.json").write_text(json.dumps([poem], ensure_ascii=False))

    put("song", 0, [])
    put("tang", 10000, ["一。"])
    put("tang", 2000, ["床前明月光，", "疑是地上霜。"])
    assert read("chinese_poetry", tmp_path) == [
        {"title": "tang2000", "author": "某", "dynasty": "tang", "text": "床前明月光，\n疑是地上霜。"},
        {"title": "tang10000", "author": "某", "dynasty": "tang", "text": "一。"},
        {"title": "song0", "author": "某", "dynasty": "song", "text": ""},
    ]


def test_shakespeare_is_cut_into_scenes_without_markup(tmp_path):
    (tmp_path / "tragedies").mkdir()
    (tmp_path / "tragedies" / "x.md").write_text(
        "# Hamlet\n\n## PROLOGUE\n\n**Chorus**  \nHush.\n\n## ACT I  \n\n### SCENE I. Elsinore.\n\n_Enter a\nGhost_\n\n"
        "**HAMLET**  \n_\\[Aside]_  \nWho's there?  \nSpeak & stay.\n\n#### ACT II\n\n_Drums_\n\n# EPILOGUE\n\nEnd.\n"
    )
    assert read("shakespeare", tmp_path) == [
        {"play": "Hamlet", "act": "", "scene": "PROLOGUE", "text": "Chorus:\nHush."},
        {
            "play": "Hamlet",
            "act": "ACT I",
            "scene": "SCENE I. Elsinore.",
            "text": "Enter a\nGhost\n\nHAMLET:\n[Aside]\nWho's there?\nSpeak & stay.",
        },
        {"play": "Hamlet", "act": "ACT II", "scene": "", "text": "Drums"},
        {"play": "Hamlet", "act": "ACT II", "scene": "EPILOGUE", "text": "End."},
    ]


def test_libreoffice_pairs_paragraphs_by_file_and_id(tmp_path):
    def put(language, file, *paragraphs):
        path = tmp_path / language / "text" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(paragraphs))

    one = '<h1 id="hd_id1" dir="auto">Open a <b>file</b>\n &amp; save</h1>'
    put(
        "en-US", "a/x.html", one, '<p id="par_id2" class="c">Too short</p>', '<p id="par_id3">Not translated at all</p>'
    )
    put(
        "zh-CN",
        "a/x.html",
        '<h1 id="hd_id1">打开<b>文件</b></h1>',
        '<p id="par_id2">太短</p>',
        '<p id="par_id3">Not so</p>',
    )
    put("en-US", "b.html", one, '<p id="par_id3">Only in English here</p>', f'<p id="par_id4">{"word " * 61}</p>')
    put("zh-CN", "b.html", '<h1 id="hd_id1">打开文件</h1>', '<p id="par_id9">别的</p>', '<p id="par_id4">很长</p>')
    assert read("libreoffice_en_zh", tmp_path) == [{"source": "Open a file & save", "target": "打开文件"}]


def test_help_is_read_section_by_section(tmp_path):
    """A heading and what stands below it; often used headings, short and long sections and repeated ones are left out."""

    def put(file, *sections):
        path = tmp_path / "en-US" / "text" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(
            f'<h2 id="hd_id{k}">{title}</h2>' + "".join(f'<p id="par_id{k}{n}">{text}</p>' for n, text in enumerate(texts))
            for k, (title, *texts) in enumerate(sections)
        ))  # fmt: skip

    words = "one two three four five six seven eight nine ten"
    put("a/x.html", ("Open a <b>file</b>\n &amp; save", f"{words} <b>{words}</b>", "and this"), ("Too short", "a b c"))
    put("b.html", ("Again", f"{words} {words} and this"), ("", f"{words} {words}"), ("Long", "word " * 201))
    put("c.html", *((f"Kind {k % 2}" if k < 4 else "Syntax", f"{words} {words} number {k}") for k in range(10)))
    found = read("libreoffice_help", tmp_path)
    assert found[0] == {"text": f"{words} {words} and this", "title": "Open a file & save", "page": "a/x.html"}
    assert [row["title"] for row in found[1:]] == ["Kind 0", "Kind 1", "Kind 0", "Kind 1"]


def test_dialogues_are_pairs_of_neighbouring_lines(tmp_path):
    (tmp_path / "english").mkdir()
    (tmp_path / "english" / "ai.yml").write_text(
        "categories:\n- AI\nconversations:\n- - What is AI?\n  - A field.\n  - 42\n- broken - talk\n- - Alone\n"
    )
    common = {"language": "english", "topic": "ai"}
    assert read("dialogues", tmp_path) == [
        {**common, "turn": 0, "prompt": "What is AI?", "answer": "A field."},
        {**common, "turn": 1, "prompt": "A field.", "answer": "42"},
    ]


@pytest.mark.parametrize(("name", "count"), [("train", 14_041), ("validation", 3_250), ("test", 3_453)])
def test_conll2003_has_the_published_number_of_sentences(name, count):
    if not assets.is_here(assets.find("conll2003")):
        pytest.skip("the asset conll2003 is not here: danlu assets get conll2003")
    assert len(read("conll2003", assets.folder("conll2003"), name)) == count
