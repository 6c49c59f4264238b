import numpy as np
import pytest

from danlu.blocks.entities import Span, answer, distance, spans, words
from danlu.plugins.metrics.entity_f1 import EntityF1


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("O B-PER I-PER O", [("PER", 1, 3)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("I-PER I-PER I-LOC", [("PER", 0, 2), ("LOC", 2, 3)]),  # IOB
        ("S-LOC B-PER E-PER S-PER", [("LOC", 0, 1), ("PER", 1, 3), ("PER", 3, 4)]),  # BIOES
        ("E-PER O E-PER", [("PER", 0, 1), ("PER", 2, 3)]),
        ("B-PER E-PER I-PER", [("PER", 0, 2), ("PER", 2, 3)]),
        ("B-LOC", [("LOC", 0, 1)]),
        ("O O", []),
        ("", []),
        ("noun verb", []),
    ],
)
def test_spans(tags, wanted):
    """As seqeval's get_entities gives them, with the word after the last as the end."""
    assert spans(tags.split()) == [Span(*one) for one in wanted]


def test_words_of_a_text_and_where_they_stand():
    text = "Ann's 3 cats, 在北京 ok"
    found, places = words(text)
    assert found == ["Ann", "'", "s", "3", "cats", ",", "在", "北", "京", "ok"]
    assert [text[a:b] for a, b in places] == found


def test_an_answer_says_where_its_entities_are():
    text = "met Ann Lee, today"
    told = answer(text, words(text)[0], ["O", "B-PER", "I-PER", "O", "O"], [1.0, 0.9, 0.7, 1.0, 1.0])
    assert told["entities"] == [{"label": "PER", "text": "Ann Lee", "start": 4, "end": 11, "confidence": 0.7}]
    listed = answer(["met", "Ann"], ["met", "Ann"], ["O", "B-PER"], [1.0, 0.8])
    assert listed["entities"] == [{"label": "PER", "text": "Ann", "start": 1, "end": 2, "confidence": 0.8}]


def test_distance_is_of_the_worst_word():
    one = {"tags": ["O", "B"], "confidence": [0.9, 0.8]}
    assert distance(one, one) == 0
    assert distance(one, {"tags": ["O", "B"], "confidence": [0.9, 0.5]}) == pytest.approx(0.3)
    assert distance(one, {"tags": ["O", "O"], "confidence": [0.9, 0.7]}) == pytest.approx(0.5)
    assert distance(one, {"tags": ["O"], "confidence": [0.9]}) == 1


# ---- against conlleval's rules, written anew -----------------------------------------------------------------------------


def ends(tag, kind, following, other):
    """Whether an entity ends at a word, by conlleval's table; `S` as in its versions for BIOES, and in seqeval."""
    if tag in "ES" or (tag in "BI" and following in "BSO"):
        return True
    return tag != "O" and kind != other


def begins(before, other, tag, kind):
    """Whether an entity begins at a word."""
    if tag in "BS" or (before in "ESO" and tag in "EI"):
        return True
    return tag != "O" and kind != other


def by_conlleval(tags):
    """The entities of a sentence: `(kind, first word, word after the last)`."""
    apart = [("O", "") if tag == "O" else tuple(tag.split("-")) for tag in tags]
    edges = [("O", ""), *apart, ("O", "")]
    found, start = [], 0
    for place in range(1, len(edges)):
        (before, other), (tag, kind) = edges[place - 1], edges[place]
        if ends(before, other, tag, kind):
            found.append((other, start, place - 1))
        if begins(before, other, tag, kind):
            start = place - 1
    return found


def draw(rng, marks, longest=12):
    """A sentence of tags, mostly no right BIO or BIOES, and every fifth one empty of entities."""
    if rng.random() < 0.2:
        return ["O"] * rng.integers(0, longest)
    kinds = ["PER", "LOC", "ORG"][: rng.integers(1, 4)]
    outside = rng.random()
    return [
        "O" if rng.random() < outside else f"{rng.choice(list(marks))}-{rng.choice(kinds)}"
        for _ in range(rng.integers(1, longest))
    ]


def micro_f1(pairs):
    given, true, right = 0, 0, 0
    for said, gold in pairs:
        ours, theirs = set(by_conlleval(said)), set(by_conlleval(gold))
        given, true, right = given + len(ours), true + len(theirs), right + len(ours & theirs)
    return right / given, right / true, 2 * right / (given + true)


@pytest.mark.parametrize("marks", ["BI", "I", "BIES"], ids=["BIO", "IOB", "BIOES"])
def test_random_tags_spell_conllevals_entities(marks):
    rng = np.random.default_rng(len(marks))
    told = 0
    for _ in range(400):
        tags = draw(rng, marks)
        assert spans(tags) == by_conlleval(tags), tags
        told += len(spans(tags))
    assert told > 500


def some_pairs(marks, count=300):
    """Tags said and true, which agree for the most part."""
    rng = np.random.default_rng(len(marks))
    pairs = []
    for _ in range(count):
        gold = draw(rng, marks)
        said = [tag if rng.random() < 0.8 else "O" if rng.random() < 0.5 else f"{marks[-1]}-LOC" for tag in gold]
        pairs.append((said, gold))
    return pairs


def scored(pairs):
    metric = EntityF1()
    answers = [[{"tags": side[k]} for side in pairs] for k in (0, 1)]
    return metric.value(metric.read(*answers), np.ones(len(pairs)))


@pytest.mark.parametrize("marks", ["BI", "BIES"], ids=["BIO", "BIOES"])
def test_the_score_of_random_tags_is_conllevals(marks):
    pairs = some_pairs(marks)
    score = scored(pairs)
    precision, recall, f1 = micro_f1(pairs)
    assert 0.3 < f1 < 0.9
    assert score["value"] == pytest.approx(f1)
    assert (score["precision"], score["recall"]) == pytest.approx((precision, recall))


@pytest.mark.parametrize("marks", ["BI", "BIES"], ids=["BIO", "BIOES"])
def test_the_score_of_random_tags_is_seqevals(marks):
    """Where seqeval is installed; it is no dependency."""
    seqeval = pytest.importorskip("seqeval.metrics")
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling")
    pairs = some_pairs(marks)
    said, gold = ([pair[k] for pair in pairs] for k in (0, 1))
    assert scored(pairs)["value"] == pytest.approx(seqeval.f1_score(gold, said))
    for tags in gold:
        assert [(kind, first, last + 1) for kind, first, last in entities.get_entities(tags)] == spans(tags)
