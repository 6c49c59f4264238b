from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("tasks", least=4)


@every("tasks")
def test_conforms(name, check, tmp_path):
    check(subject("tasks", name, tmp_path))
