import pytest

from danlu.blocks.entities import Span, answer, distance, spans, words


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
