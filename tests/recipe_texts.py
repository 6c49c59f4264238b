"""A recipe over the toy plug-ins, and what is told of a wrong one."""

import textwrap

import pytest

from danlu import recipe
from danlu.core.errors import RecipeFaults

WHOLE = """
name: garden
seed: 3
steps:
  data: {do: toy_sow, words: words.txt, operators: [toy_upper]}
  tuned: {do: toy_grow, method: {toy_lora: {rank: 4}}}
  score: {do: toy_pick}
"""


@pytest.fixture
def write(toys, tmp_path):
    (tmp_path / "words.txt").write_text("oats peas beans")

    def write(text, name="r.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def load(write):
    return lambda text, *overrides: recipe.load(write(text), overrides)


def faults(call, *args):
    with pytest.raises(RecipeFaults, match=r"faults? in the recipe") as caught:
        call(*args)
    return {fault.where: (fault.what, fault.do) for fault in caught.value.faults}
