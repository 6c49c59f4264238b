"""What the table says of `--nproc` and `--shard` is what two ranks do with every technique and method of ours."""

import plugin_ranks
import pytest
from rank_toys import together

from danlu.core import moments, plugin
from tiny_models import write_tiny_bert, write_tiny_language_model

OPTIONS = {"lora": "quantized=int8", "dora": "quantized=int8"}

SOME = ("ema", "distill", "label_smoothing", "lwf", "lora", "prompt", "few_shot", "adagrad", "muon")
"""Those that are tried in each `make test`, with all techniques for `--nproc`; `make proof` tries all."""


def of(family):
    """Our own plug-ins that train something."""
    found = [entry for entry in plugin.entries(family) if entry.origin == "danlu"]
    return [entry for entry in found if entry.facts.get("nothing_when") != {}]


def refused(entry, *, sharded):
    """Whether the facts say that ranks can't share it."""
    told = [(entry.name, entry.facts.get("moments", ()))]
    alone = any(moments.in_ranks(told, 2))
    return alone or (sharded and (any(moments.in_shares(told)) or bool(entry.facts.get("unshared"))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_tiny_bert(folder / "bert")
    write_tiny_language_model(folder / "filler", "bert")
    return folder


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.proof)])
@pytest.mark.parametrize("sharded", [False, True])
def test_two_ranks_take_what_the_table_says_and_refuse_the_rest(sharded, every, folder):
    families = ("techniques", "methods", "optimizers") if sharded else ("techniques", "methods")
    entries = {f"{entry.family}/{entry.name}": entry for family in families for entry in of(family)}
    if not every:
        entries = {c: e for c, e in entries.items() if e.name in SOME or (e.family == "techniques" and not sharded)}
    quantized = [f"methods/{name} {option}" for name, option in OPTIONS.items()] if sharded else []
    told = together(folder, *entries, *quantized, sharded=sharded, program=plugin_ranks.__file__)
    assert None not in told
    for case, entry in entries.items():
        for rank in told:
            assert ("error" in rank[case]) == refused(entry, sharded=sharded), (case, rank[case])
        assert "error" in told[0][case] or told[0][case] == told[1][case], f"{case}: the ranks end apart"
    assert all(rank[case]["error"].endswith("null of the method") for rank in told for case in quantized)


def test_each_option_that_no_shares_go_with_is_tried():
    named = {entry.name: f"{option}=int8" for entry in of("methods") for option in entry.facts["whole_with"]}
    assert named == OPTIONS
    assert set(SOME) <= {e.name for family in ("techniques", "methods", "optimizers") for e in of(family)}
