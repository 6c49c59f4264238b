"""Two ranks do what one process does, go on where the other stopped, and name the one that dies or hangs."""

import pytest
from rank_toys import come_to, together

SAME = ["plain", "accumulate", "varied", "few", "turns", "idle", "watched"]
BOUND = 2e-6
"""Greatest difference of a loss, as a share: what the order of a sum changes in fp32."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ranks(folder):
    """What each rank said of all cases; one process made half of `one` before, and goes on with half of `two`."""
    come_to("one!", folder)
    others = ["beside", "techniques", "dropped", "judged", "one", "two!", "counting", "private", "draws", "seeds"]
    return together(folder, *SAME, *others)


@pytest.mark.parametrize("case", SAME)
def test_two_ranks_have_the_losses_of_one_process(case, ranks, folder):
    alone = come_to(case, folder)
    assert ranks[0][case]["loss"] == pytest.approx(alone["loss"], rel=BOUND, abs=BOUND)
    assert ranks[0][case]["weights"] == pytest.approx(alone["weights"], rel=1e-4, abs=1e-5)
    assert ranks[0][case]["looks"] == [pytest.approx(look, rel=1e-5) for look in alone["looks"]]


@pytest.mark.parametrize("case", [*SAME, "beside", "techniques", "dropped", "judged", "one"])
def test_both_ranks_end_with_the_same_weights_to_the_bit(case, ranks):
    assert ranks[0][case] == ranks[1][case]


def test_each_rank_drops_out_of_its_own(ranks, folder):
    assert ranks[0]["dropped"]["loss"] != pytest.approx(come_to("dropped", folder)["loss"], rel=BOUND)


def test_what_was_begun_in_one_process_goes_on_in_two(ranks, folder):
    assert ranks[0]["one"]["resumed_at"] == 4
    assert ranks[0]["one"]["loss"] == pytest.approx(come_to("plain", folder)["loss"], rel=BOUND)


def test_what_was_begun_in_two_goes_on_in_two_bit_for_bit_and_in_one(ranks, folder, tmp_path):
    copied = tmp_path / "two"
    copied.mkdir()
    for checkpoint in (folder / "two").iterdir():
        if checkpoint.is_dir():
            (copied / checkpoint.name).mkdir()
            for file in checkpoint.iterdir():
                (copied / checkpoint.name / file.name).write_bytes(file.read_bytes())
    resumed = together(folder, "two")[0]["two"]
    whole = together(tmp_path / "fresh", "two")[0]["two"]
    assert (resumed["resumed_at"], whole["resumed_at"]) == (4, None)
    assert resumed["sha256"] == whole["sha256"]
    alone = come_to("two", tmp_path)
    assert alone["resumed_at"] == 4
    assert alone["loss"][:4] == whole["loss"][:4]


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("counting", "counts instead of descending a gradient, so 2 ranks can't share"),
        ("private", "DP2 replaces the draw of a step"),
        ("draws", "Draws replaces the draw of a step"),
        ("seeds", "rank 1 has another training or checkpoint than rank 0"),
    ],
)
def test_what_ranks_cannot_share_is_refused(case, what, ranks):
    for rank in ranks:
        assert what in rank[case]["error"]


@pytest.mark.parametrize(
    ("case", "what", "timeout"),
    [
        ("dies", "rank 1 has died", 60),
        ("hangs", "rank 1 hangs: the others waited 2 s for it", 2),
        ("fails", "rank 1 failed: this row is broken", 60),
    ],
)
def test_a_rank_that_is_lost_is_named(case, what, timeout, tmp_path):
    said = together(tmp_path, case, timeout=timeout, rest=0.1)
    assert what in said[0][case]["error"]
