import pytest

from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("trackers", least=2)


@every("trackers")
def test_conforms(name, check, tmp_path):
    if name == "wandb":
        pytest.importorskip("wandb")
    check(subject("trackers", name, tmp_path))
