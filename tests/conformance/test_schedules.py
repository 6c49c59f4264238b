from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("schedules", least=6)


@every("schedules")
def test_conforms(name, check, tmp_path):
    check(subject("schedules", name, tmp_path))
