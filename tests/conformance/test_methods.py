from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("methods", least=2)


@every("methods")
def test_conforms(name, check, tmp_path):
    check(subject("methods", name, tmp_path))
