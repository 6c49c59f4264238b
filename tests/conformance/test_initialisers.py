from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("initialisers", least=5)


@every("initialisers")
def test_conforms(name, check, tmp_path):
    check(subject("initialisers", name, tmp_path))
