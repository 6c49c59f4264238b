import pytest

from conformance.suite import all_are_found, every, subject
from danlu.core import assets
from danlu.core.errors import DanluError

ASSET = "movie-snippets"


def test_all_are_found():
    assert all_are_found("sources", least=4)


def is_here():
    try:
        return bool(assets.folder(ASSET))
    except DanluError:
        return False


@every("sources")
def test_conforms(name, check, tmp_path):
    if name == "asset" and not is_here():
        pytest.skip(f"the asset {ASSET} is not here: danlu assets get {ASSET}")
    check(subject("sources", name, tmp_path))
