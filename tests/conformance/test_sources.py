import pytest

from conformance.suite import every, found, subject
from danlu.core import assets
from danlu.core.errors import DanluError

ASSET = "movie-snippets"


def options(name, folder):
    if name == "csv":
        (folder / "rows.csv").write_text("text,label\nwarm,good\ncold,bad\n")
        return {"path": str(folder / "rows.csv")}
    return {"asset": ASSET} if name == "asset" else {}


def test_all_are_found():
    assert len(found("sources")) == 4


def is_here():
    try:
        return bool(assets.folder(ASSET))
    except DanluError:
        return False


@every("sources")
def test_conforms(name, check, tmp_path):
    if name == "asset" and not is_here():
        pytest.skip(f"the asset {ASSET} is not here: danlu assets get {ASSET}")
    check(subject("sources", name, tmp_path, **options(name, tmp_path)))
