import pytest

from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("metrics", least=9)


@every("metrics")
def test_conforms(name, check, tmp_path):
    if name in ("bleu", "chrf"):
        pytest.importorskip("sacrebleu")
    check(subject("metrics", name, tmp_path))
