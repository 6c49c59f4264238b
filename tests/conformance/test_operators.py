from conformance.suite import every, found, subject


def test_all_are_found():
    assert len(found("operators")) == 3


@every("operators")
def test_conforms(name, check, tmp_path):
    check(subject("operators", name, tmp_path))
