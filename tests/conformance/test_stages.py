import pytest

from conformance.suite import found
from danlu.core import plugin
from danlu.testing import checks
from danlu.testing.subject import Subject

OPTIONS = {
    "prepare": {"source": "synthetic", "task": "text_classification"},
    "publish": {"name": "a-model"},
    "ensemble": {"models": ["a", "b"]},
}


def test_all_are_found():
    assert len(found("stages")) == 9


@pytest.mark.parametrize("check", checks.checks_for("stages"), ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", found("stages"))
def test_conforms(name, check, tmp_path):
    check(Subject(plugin.load("stages", name)(**OPTIONS.get(name, {})), tmp_path))
