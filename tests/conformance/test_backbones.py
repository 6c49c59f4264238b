from conformance.suite import every, found, subject

OPTIONS = {"cnn": {"size": "tiny"}, "tfidf_lr": {"grams": 500}}


def test_all_are_found():
    assert len(found("backbones")) == 4


@every("backbones")
def test_conforms(name, check, tmp_path, tiny_bert):
    options = {"model": str(tiny_bert), "dropout": 0.0} if name == "pretrained" else OPTIONS.get(name, {})
    check(subject("backbones", name, tmp_path, **options))
