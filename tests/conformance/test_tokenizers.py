from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("tokenizers", least=5)


@every("tokenizers")
def test_conforms(name, check, tmp_path):
    check(subject("tokenizers", name, tmp_path))
