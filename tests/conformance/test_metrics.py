from conformance.suite import every, found, subject


def test_all_are_found():
    assert len(found("metrics")) == 8


@every("metrics")
def test_conforms(name, check, tmp_path):
    check(subject("metrics", name, tmp_path))
