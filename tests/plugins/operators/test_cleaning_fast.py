"""What looks at the doubtful texts alone says what a look at every text says."""

import random
import re

import ftfy
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ftfy.badness import BADNESS_RE, is_bad

from danlu.blocks import wordings
from danlu.blocks.rewriting import each
from danlu.contracts import Columns, Context
from danlu.plugins.operators.fix_encoding import _SUSPECT, FixEncoding
from danlu.plugins.operators.quality import _RULES, Quality

PLAIN = [*map(chr, range(128)), *"–—‘’‚“”„‟…、。，！？「」好的了ー々カな"]
WORDS = re.split(
    " ",
    "the of and to a film was I'm don't rock’n’roll 1990s ... … # #tag * - 2) 好 的 不错 酒店 房间 ・ カ ， 。 Straße İstanbul ΣΑΣ naïve "
    "_x_ ' '' 'tis 𝒳 🙂 豈 ﬀ a-b {x} lorem ipsum \n \n- \t \x00 ",
)
CHINESE = [*"这家酒店的房间很大早餐也不错下次还会来", "film", "，", "服务员", "the", "カ", "豈"]


@pytest.mark.parametrize("seed", range(20))
def test_the_quick_look_finds_every_text_that_breaks_a_rule(seed):
    draw, texts = random.Random(seed), list[str]()
    for _ in range(300):
        few = draw.sample(draw.choice((WORDS, CHINESE)), draw.randint(1, len(CHINESE)))
        texts.append(draw.choice(("", " ", " ", "\n")).join(draw.choices(few, k=draw.choice((3, 12, 40, 80, 120)))))
    bounds = {"word_length": (2.0, 5.0), "top_pair": 0.3, "repeated_grams": 0.3, "alphabetic": 0.6} if seed % 2 else {}
    quality = Quality(page=bool(seed % 3), sentences=seed % 4 or None, unended=0.5 if seed % 5 else None, **bounds)
    _, counts = quality.apply(pa.table({"text": texts}), Context(Columns(("text",))))
    broken = [quality.broken(text) for text in texts]
    assert counts.why == {row: ", ".join(rules) for row, rules in enumerate(broken) if rules}
    assert set(counts.by) <= set(_RULES)


def test_only_doubtful_texts_are_read_closely():
    texts = [
        f"the film number {k} was a warm and funny story that we liked to see again with our friends"
        for k in range(200)
    ]
    doubtful = Quality()._doubtful([*texts, "buy now " * 30])
    assert {rule for rule, rows in doubtful.items() if len(rows)} == {
        "top_pair", "top_three", "top_four", "stop_words", "repeated_grams", *(f"repeated_grams_{k}" for k in range(6, 11)),
    }  # fmt: skip
    assert all(rows.tolist() in ([], [200]) for rows in doubtful.values())


def test_lower_case_changes_no_kind_of_character():
    kinds = wordings._kinds()
    for code in range(1 << 16):
        lower = chr(code).lower()
        assert chr(code) in wordings._AMONG_OTHERS or kinds[ord(lower)] == kinds[code]


def test_ftfy_finds_no_mistake_in_plain_texts():
    draw = random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choices(PLAIN, k=40))
        assert ftfy.fix_encoding(text) == text


def test_every_text_in_which_ftfy_sees_a_mistake_is_suspect():
    odd = sorted({sign for sign in BADNESS_RE.pattern if not sign.isascii()})
    draw, beside = random.Random(0), [*"aZ9 .,?\n", "ab", "B "]
    texts = [*odd, *(f"{a}{sign}{b}" for sign in odd for a in beside for b in beside)]
    texts += ["".join(draw.choices(odd if draw.random() < 0.5 else [*odd, *beside], k=3)) for _ in range(5000)]
    texts += [" ".join(draw.choices([*odd, *beside], k=4)) for _ in range(5000)]
    suspect = pc.match_substring_regex(pa.array(texts), _SUSPECT).to_pylist()
    assert [text for text, found in zip(texts, suspect, strict=True) if is_bad(text) and not found] == []
    assert (
        pc.match_substring_regex(pa.array(["le café était fermé", "Ein Gruß", "好：café"]), _SUSPECT).to_pylist()
        == [False] * 3
    )


def test_texts_among_plain_ones_are_mended():
    table = pa.table({"text": ["plain", "Ã©tÃ©", None, "好的", "cafÃ©"]})
    mended, counts = FixEncoding().apply(table, Context(Columns(("text",))))
    assert mended.column("text").to_pylist() == ["plain", "été", None, "好的", "café"]
    assert counts.changed == 2


def test_what_cannot_change_is_not_looked_at():
    seen = []
    change = each(lambda text: seen.append(text) or text.upper(), where="[<]")
    assert change(pa.array(["a", "<b", None, "c<"])).to_pylist() == ["a", "<B", None, "C<"]
    assert seen == ["<b", "c<"]
