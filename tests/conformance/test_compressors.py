from conformance.suite import every, found, subject


def test_all_are_found():
    assert len(found("compressors")) == 1


@every("compressors")
def test_conforms(name, check, tmp_path):
    check(subject("compressors", name, tmp_path))
