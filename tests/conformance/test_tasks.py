from conformance.suite import every, found, subject


def test_all_are_found():
    assert len(found("tasks")) == 2


@every("tasks")
def test_conforms(name, check, tmp_path):
    check(subject("tasks", name, tmp_path))
