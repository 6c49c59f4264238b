"""A check that cannot fail proves nothing: each has a plug-in that must fail it, and for the right reason."""

import pytest

from conformance.broken import BROKEN
from danlu.contracts import Plugin
from danlu.testing import checks
from danlu.testing.subject import _CHECKS, Subject

ALL = {check.__name__: check for family in _CHECKS.values() for check in family}


def test_every_check_has_a_broken_plugin():
    assert ALL.keys() == BROKEN.keys()
    assert len(ALL) == 69


def test_every_check_says_what_it_promises():
    assert not [name for name, check in ALL.items() if not check.__doc__]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_fails(name, tmp_path, strangers):
    make, fault = BROKEN[name]
    broken = make() if isinstance(make, type) and issubclass(make, Plugin) else make(tmp_path)
    assert ALL[name] in checks.checks_for(broken.family)
    with pytest.raises(checks.ConformanceError, match=fault):
        ALL[name](Subject(broken, tmp_path))
