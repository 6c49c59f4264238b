from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("operators", least=18)


@every("operators")
def test_conforms(name, check, tmp_path):
    check(subject("operators", name, tmp_path))
