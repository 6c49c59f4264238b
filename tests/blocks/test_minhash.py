import random

import numpy as np
import pytest

from danlu.blocks.clusters import together, unite
from danlu.blocks.minhash import Near, Sketch, fitting_size, jaccard, near_clusters
from danlu.blocks.splits import loose

WORDS = ("film", "story", "actor", "slow", "brilliant", "scene", "music", "ending", "plot", "camera", "dull", "heart")


def edited(rows=300, seed=0):
    """Texts of 12 to 30 words, each followed by copies of which one to three words are others."""
    rng = random.Random(seed)
    texts = []
    while len(texts) < rows:
        text = [rng.choice(WORDS) + str(rng.randrange(1000)) for _ in range(rng.randint(12, 30))]
        texts.append(" ".join(text))
        for _ in range(rng.randrange(4)):
            copy = list(text)
            for _ in range(rng.randint(1, 3)):
                copy[rng.randrange(len(copy))] = rng.choice(WORDS)
            texts.append(" ".join(copy))
    return texts[:rows]


def shingles(text, size=5):
    text = loose(text).ljust(size, "\0")
    return {text[k : k + size] for k in range(len(text) - size + 1)}


def index(one, other):
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def pairs_by_force(texts, threshold):
    sets = [shingles(text) for text in texts]
    common = {(i, j): len(sets[i] & sets[j]) for i in range(len(texts)) for j in range(i + 1, len(texts))}
    return {(i, j) for (i, j), k in common.items() if k / (len(sets[i]) + len(sets[j]) - k) >= threshold}


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_nearly_all_pairs_that_brute_force_finds_and_no_cluster_without_one(threshold):
    texts = edited()
    wanted = pairs_by_force(texts, threshold)
    group = near_clusters(texts, threshold)
    assert len(wanted) > 30
    assert sum(group[i] == group[j] for i, j in wanted) >= 0.95 * len(wanted)
    linked = {row for pair in wanted for row in pair}
    assert {row for row in range(len(texts)) if (group == group[row]).sum() > 1} <= linked


def test_the_index_is_that_of_the_sets():
    texts = edited(60)
    sketch = Near().sketch(texts)
    one, other = np.arange(0, 59), np.arange(1, 60)
    found = jaccard(sketch, one, sketch, other)
    assert found == pytest.approx([index(texts[i], texts[i + 1]) for i in range(59)])
    assert jaccard(sketch, one, sketch, other, least=1.0)[found < 0.3].max() == 0


def test_a_cluster_is_named_by_its_first_text_whatever_the_case_width_and_spacing():
    texts = [
        "A wholly other text about cats",
        "The same THING said twice",
        "Ｔhe  same thing said twice\n",
        "",
        " ",
        "a",
    ]
    assert near_clusters(texts).tolist() == [0, 1, 1, 3, 3, 5]


def test_sketches_of_pieces_are_the_sketch_of_the_whole():
    texts = edited(100)
    near = Near()
    whole, parts = near.sketch(texts), Sketch.join([near.sketch(texts[:37]), near.sketch(texts[37:]), near.sketch([])])
    for name in ("starts", "shingles", "bands", "sums"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_the_threshold_has_its_chance_in_a_signature_of_at_most_128():
    for threshold in np.arange(0.3, 1.01, 0.1):
        bands, rows = Near(threshold).shape
        assert bands * rows <= 128
        assert 1 - (1 - threshold**rows) ** bands >= 0.97


def test_matches_name_a_near_text_of_the_others():
    others = edited(200, seed=1)
    changed = others[7].split()
    changed[3] = "another"
    near = Near()
    found = near.matches(near.sketch([" ".join(changed), "nothing like it in there", others[9]]), near.sketch(others))
    assert index(others[found[0]], others[7]) >= 0.5
    assert found[1] == -1
    assert index(others[found[2]], others[9]) >= 0.8
    assert near.matches(near.sketch([]), near.sketch(others)).tolist() == []
    assert near.matches(near.sketch(["a"]), near.sketch([])).tolist() == [-1]


def test_words_for_shingles():
    texts = ["one two three four five six seven eight nine", "one two three four five six seven eight nine ten", "two"]
    near = Near(0.8, "words", 2)
    assert near.clusters(near.sketch(texts)).tolist() == [0, 0, 2]
    swapped = Near(0.8, "words", 1)
    assert swapped.clusters(swapped.sketch(["a b c d", "d c b a"])).tolist() == [0, 0]


def test_chinese_needs_no_words():
    texts = [
        "这家酒店的房间很大,服务也非常周到,下次还会再来住",
        "这家酒店的房间很大,服务也非常周到,下次还会来住",
        "书很好看",
    ]
    assert fitting_size(texts) == 3
    assert near_clusters(texts).tolist() == [0, 0, 2]
    assert fitting_size(["this is English, and nothing else"]) == 5


def test_many_copies_of_a_few_texts_take_no_square_of_comparisons():
    texts = [f"the same sentence about number {k % 3} said over and over" * 3 for k in range(9_000)]
    group = near_clusters(texts)
    assert set(group.tolist()) <= {0, 1, 2}
    assert near_clusters(["x"] * 5 + ["y y y y y y y"] * 5).tolist() == [0] * 5 + [5] * 5


def test_no_texts():
    assert near_clusters([]).tolist() == []


def test_groups_unite_under_their_first_row():
    group = unite(np.arange(6), np.array([5, 2]), np.array([3, 3]))
    assert group.tolist() == [0, 1, 2, 2, 4, 2]
    assert unite(group, np.array([0]), np.array([5])).tolist() == [0, 1, 0, 0, 4, 0]


def test_groupings_that_must_all_hold():
    both = together([np.array([0, 0, 0, 3]), np.array([0, 1, 0, 0])])
    assert both.tolist() == [0, 1, 0, 3]
