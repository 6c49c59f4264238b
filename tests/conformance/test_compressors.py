from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("compressors", least=1)


@every("compressors")
def test_conforms(name, check, tmp_path):
    check(subject("compressors", name, tmp_path))
