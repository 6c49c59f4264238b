from conformance.suite import every, found, subject


def test_all_are_found():
    assert len(found("methods")) == 2


@every("methods")
def test_conforms(name, check, tmp_path):
    check(subject("methods", name, tmp_path))
