from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("explainers", least=2)


@every("explainers")
def test_conforms(name, check, tmp_path):
    check(subject("explainers", name, tmp_path))
