from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("optimizers", least=8)


@every("optimizers")
def test_conforms(name, check, tmp_path):
    check(subject("optimizers", name, tmp_path))
