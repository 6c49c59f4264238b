from conformance.suite import all_are_found, every, subject


def test_all_are_found():
    assert all_are_found("backbones", least=4)


@every("backbones")
def test_conforms(name, check, tmp_path, tiny_bert):
    more = {"model": str(tiny_bert), "dropout": 0.0} if name == "pretrained" else {}
    check(subject("backbones", name, tmp_path, **more))
