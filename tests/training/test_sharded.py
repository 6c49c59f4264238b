"""Ranks that hold a share of the weights each do what one process does, and write what one process goes on with."""

import pytest
from rank_toys import come_to, together

SAME = ["accumulate", "few", "watched", "deep"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def ranks(folder):
    """What each rank said of all cases; one process made half of `deep 1` before, and goes on with half of `deep 2`."""
    come_to("deep 1!", folder)
    return together(folder, *SAME, "deep 1", "deep 2!", "averaged", "turns", "columns", sharded=True)


@pytest.mark.parametrize("case", SAME)
def test_sharded_ranks_have_the_losses_of_one_process(case, ranks, folder):
    alone = come_to(case, folder)
    for rank in ranks:
        assert rank[case]["loss"] == pytest.approx(alone["loss"], rel=2e-6, abs=2e-6)
        assert rank[case]["weights"] == pytest.approx(alone["weights"], rel=1e-4, abs=1e-5)
        assert rank[case]["looks"] == [pytest.approx(look, rel=1e-4, abs=1e-5) for look in alone["looks"]]
    assert ranks[0][case]["sha256"] == ranks[1][case]["sha256"]


def test_a_checkpoint_of_one_process_goes_on_in_shares_and_the_other_way_round(ranks, folder):
    whole = come_to("deep", folder)
    alone = come_to("deep 2", folder)
    for resumed in (ranks[0]["deep 1"], alone):
        assert resumed["resumed_at"] == 4
        assert resumed["loss"] == pytest.approx(whole["loss"], rel=2e-6)
        assert resumed["weights"] == pytest.approx(whole["weights"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("averaged", "EMA may look at weights or gradients at `start`, and with --shard each rank holds a share"),
        ("turns", "trains in several turns"),
        ("columns", "adafactor keeps sums over rows and columns"),
    ],
)
def test_what_cannot_be_shared_is_refused(case, what, ranks):
    for rank in ranks:
        assert what in rank[case]["error"]
