import pyarrow as pa
import pytest

from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Columns, Context
from danlu.core import assets
from danlu.plugins.operators.decontaminate import Decontaminate
from danlu.plugins.operators.fix_encoding import FixEncoding
from danlu.plugins.operators.label_conflicts import LabelConflicts
from danlu.plugins.operators.language import Language
from danlu.plugins.operators.length import Length
from danlu.plugins.operators.normalize import Normalize
from danlu.plugins.operators.quality import Quality
from danlu.plugins.operators.regex import Regex
from danlu.plugins.operators.strip_html import StripHtml
from danlu.plugins.sources.asset import Asset

CONTEXT = Context(Columns(("text",), ("label",)))
LONG = "the film tells a slow and quiet story about two brothers who meet again after a long war"


def conforming(folder):
    (folder / "held.csv").write_text("image,text,label\nno.png,something else,x\n", encoding="utf-8")
    return {"decontaminate": {"source": {"csv": str(folder / "held.csv")}}, "regex": {"pattern": "o"}}


def apply(operator, *texts, labels=None):
    table = pa.table({"text": pa.array(texts, pa.string()), "label": labels or ["x"] * len(texts)})
    after, counts = operator.apply(table, CONTEXT)
    return after.column("text").to_pylist(), counts


def test_conflicts_of_labels():
    texts, labels = ("a b", "A  b", "a B", "c", "d", "D"), ["x", "y", "x", "x", "x", "y"]
    assert apply(LabelConflicts(), *texts, labels=labels)[0] == ["c"]
    kept, counts = apply(LabelConflicts(action="majority"), *texts, labels=labels)
    assert kept == ["a b", "a B", "c"]
    assert counts.notes == ["2 inputs stand under more than one label, in 5 rows"]
    assert counts.why[1] == "the same input stands under 2 labels"
    assert apply(LabelConflicts(action="keep"), *texts, labels=labels)[0] == list(texts)


def test_what_is_in_another_set_goes(tmp_path):
    held = tmp_path / "held.csv"
    held.write_text(f"text,label\n{LONG},x\nshort one,y\n", encoding="utf-8")
    near = LONG.replace("slow", "calm")
    options = {"source": {"csv": str(held)}}
    kept, counts = apply(Decontaminate(**options), "SHORT  one", near, "another", None)
    assert kept == ["another", None]
    assert counts.by == {"in the other set": 1, "nearly in the other set": 1}
    assert counts.why == {0: "in the other set", 1: "nearly in the other set"}
    assert apply(Decontaminate(**options, near=False), near)[0] == [near]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<p>One</p><p>two &amp; <b>three</b></p>", "One\ntwo & three"),
        ("a<script>var x = '<p>no</p>'</script>b<style>p {}</style><!-- no -->c", "a\nb\nc"),
        ("1 < 2 and a <3 b", "1 < 2 and a <3 b"),
        ("caf&eacute; &#20320;", "café 你"),
        ("line<br>line", "line\nline"),
        ("plain\n\ntext", "plain\n\ntext"),
        (None, None),
    ],
)
def test_html(before, after):
    assert apply(StripHtml(), before)[0] == [after]


def test_encodings():
    assert apply(FixEncoding(), "CafÃ© â€œhiâ€\x9d", "“fine” Ａ", None)[0] == ["Café “hi”", "“fine” Ａ", None]


def test_lengths():
    assert apply(Length(least=2, most=4), "a", "ab", "abcd", "abcde", None)[0] == ["ab", "abcd"]
    assert apply(Length(of="words", least=2), "one", "one two", "很好")[0] == ["one two", "很好"]
    kept, counts = apply(Length(most=3, long="cut"), "abcdef", "ab", "")
    assert (kept, counts.changed, counts.by) == (["abc", "ab"], 1, {"too short": 1, "cut": 1})
    with pytest.raises(ValueError, match="less than least"):
        Length(least=5, most=4)


def test_patterns():
    assert apply(Regex(pattern=r"\d"), "a1", "b", None)[0] == ["b", None]
    assert apply(Regex(pattern=r"\d", action="keep"), "a1", "b", None)[0] == ["a1"]
    kept, counts = apply(Regex(pattern=r"(\d)", action="replace", replacement=r"<\1>"), "a1", "b")
    assert (kept, counts.changed) == (["a<1>", "b"], 1)
    with pytest.raises(ValueError, match="RE2 does not know this pattern"):
        Regex(pattern="(?=x)")


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("word_length", "a b c d e f g h i j k l"),
        ("symbols", "# one # two # three # four # five six seven eight nine ten"),
        ("bullets", "- one\n- two\n- three"),
        ("ellipses", "read more...\nread on..."),
        ("alphabetic", "1 2 3 4 5 6 7 8 nine ten"),
        ("stop_words", " ".join(f"word{k}" for k in range(60))),
        ("repeated_lines", "the same\nthe same\nthe same"),
        ("top_pair", "click here click here click here click here now then again"),
        ("top_three", "buy it now buy it now and buy it now or let the others have it for a song"),
        ("top_four", "buy it here now buy it here now buy it here now or let the others have it"),
        ("repeated_line_characters", "the same long line\nthe same long line\na\nb\nc\nd\ne"),
        ("repeated_paragraphs", "one\n\ntwo\n\none"),
        ("repeated_paragraph_characters", "a long paragraph\n\na long paragraph\n\nb\n\nc\n\nd\n\ne"),
        *(
            (f"repeated_grams_{size}", " ".join(["a", "bb", "ccc", "dddd", "eeeee", *"fghij"][:size] * 2))
            for size in range(6, 11)
        ),
        ("repeated_grams", "one two three four five six seven one two three four five six seven"),
    ],
)
def test_each_rule_of_quality(rule, text):
    kept, counts = apply(Quality(), text, LONG, "这家酒店的房间很大,服务也非常周到,下次还会再来住,就是早餐不太好。")
    assert text not in kept
    assert len(kept) == 2
    assert counts.by[rule] == 1
    assert rule not in Quality(**{rule: None}).broken(text)


def test_hashes_and_ellipses_are_not_added_up():
    assert "symbols" not in Quality().broken(f"{LONG} # …")  # each 0.06 a word
    assert "symbols" in Quality().broken(f"{LONG} # #")
    assert "symbols" in Quality().broken(f"{LONG} … ...")


def test_repeated_runs_of_five_words_count_by_their_characters():
    run, short = (
        "extraordinary television transcendental documentaries everywhere",
        [f"{a}{b}" for a in "abcdef" for b in "ghijkl"],
    )
    text = " ".join([run, *short[:18], run, *short[18:]])
    assert "repeated_grams" in Quality().broken(text)  # 1 of 42 runs, and 62 of 196 characters
    _, counts = apply(Quality(), text)
    assert counts.by["repeated_grams"] == 1


def test_a_brace_that_closes_alone_is_none_of_c4s():
    assert Quality(page=True).broken("a smile :-}") == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("braces", "function() { }"),
        ("lorem_ipsum", "Lorem Ipsum dolor sit amet"),
        ("javascript", "please turn on JavaScript"),
        ("policy", "This site uses cookies."),
    ],
)
def test_each_rule_of_c4(rule, text):
    kept, counts = apply(Quality(page=True), text, LONG)
    assert (kept, counts.by) == ([LONG], {rule: 1})
    assert apply(Quality(), text)[0] == [text]
    assert apply(Quality(sentences=2), "One. Two!", "One", "好。不好！")[0] == ["One. Two!", "好。不好！"]
    assert apply(Quality(unended=0.5), "One.\nTwo.", "One\nTwo")[0] == ["One.\nTwo."]


def test_chinese_and_other_scripts_stay_where_rules_are_made_for_english():
    texts = [
        "挺无聊的一本书。内容很贴近生活，可能是因为太贴近生活了，反而没什么可看的了。",
        "酒店很好，酒店干净，服务员也非常热情，早餐的品种很多，下次去上海还会住这家酒店……",
        "房间 A 栋 B 楼 C 床 D 号 E 区 F 座 G 层 H 门 I 户 J 间 K 位 的酒店环境不错服务员热情早餐好吃而且离地铁很近出门方便",
        "この映画はとても面白かったです。音楽も良く、俳優の演技も素晴らしいので、また家族と一緒に見たいと思います。次の作品も楽しみにしています。",
        " ".join(
            ["этот", "фильм", "рассказывает", "историю", "двух", "братьев", "которые", "встретились"]
            + [f"слово{k}" for k in range(60)]
        ),
    ]
    assert apply(Quality(), *texts)[0] == texts
    spam = ["果然又是一篇说教的滥文章！" * 6, "好看好看好看好看好看好看好看好看好看好看好看好看", "酒店不错" * 12]
    assert apply(Quality(), *spam)[0] == []


def test_languages():
    french = "Nous avons beaucoup aimé ce film, surtout la musique et les acteurs."
    kept, counts = apply(
        Language(keep=("en", "zh")), LONG, french, "这家酒店的房间很大,服务也非常周到,下次还会再来住", "oui"
    )
    assert french not in kept
    assert len(kept) == 3
    assert counts.by == {"in fr": 1}


def test_scripts_and_widths():
    assert apply(Normalize(form="none", width="half"), "ＡＢ\u3000！①")[0] == ["AB !①"]
    assert apply(Normalize(chinese="simplified"), "漢語")[0] == ["汉语"]
    assert apply(Normalize(chinese="traditional"), "汉语")[0] == ["漢語"]


def test_texts_under_both_labels_in_the_chinese_reviews():
    if not assets.is_here(assets.find("chinese-reviews")):
        pytest.skip("the asset chinese-reviews is not here: danlu assets get chinese-reviews")
    table = pa.Table.from_batches(Asset(asset="chinese-reviews").rows())
    names = (
        Columns((table.column_names[0],), (table.column_names[1],))
        if "text" not in table.column_names
        else CONTEXT.columns
    )
    kept, counts = LabelConflicts().apply(table, Context(names))
    assert kept.num_rows < table.num_rows
    assert "stand under more than one label" in counts.notes[0]


def test_lengths_in_tokens_of_a_model(tiny_bert):
    model = {"of": "tokens", "tokenizer": str(tiny_bert)}
    count = TextProcessor.load(tiny_bert).length
    texts = ["a film", "a long film " * 20, None, "好电影"]
    assert len({count(text) for text in texts if text}) == 3
    kept, counts = apply(Length(**model, most=count("a long film " * 20) - 1), *texts)
    assert (kept, counts.by) == (["a film", "好电影"], {"too short": 1, "too long": 1})
    assert apply(Length(**model, least=count("a film") + 1), *texts)[1].by == {
        "too short": 2 + (count("好电影") <= count("a film"))
    }
    for wrong in ({"of": "tokens"}, {"tokenizer": "asset:minilm"}):
        with pytest.raises(ValueError, match="of: tokens and `tokenizer` go together"):
            Length(**wrong)
    with pytest.raises(ValueError, match="in characters"):
        Length(**model, most=3, long="cut")
