from conformance.suite import every, found, subject


def test_all_are_found():
    assert len(found("trackers")) == 2


@every("trackers")
def test_conforms(name, check, tmp_path):
    check(subject("trackers", name, tmp_path, **({"path": str(tmp_path / "e.jsonl")} if name == "jsonl" else {})))
