"""`danlu explain`: the answer, its pieces with their weights, and clear refusals."""

import pytest
from PIL import Image

from danlu.core.errors import RecipeError


@pytest.fixture
def texts(moods, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(moods))


@pytest.fixture
def digits(digits_run, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(digits_run.store.path))


def test_words_with_their_weights_the_strongest_first(danlu, texts):
    text = danlu("explain", "moods", "a good and fine day", "--json").json["explanations"][0]
    weights = sorted((abs(piece["weight"]) for piece in text["pieces"]), reverse=True)
    assert weights[0] > 0
    said = danlu("explain", "moods", "a good and fine day")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "a good and fine day"
    assert "log-odds of" in lines[1]
    assert lines[2].split()[:2] == ["piece", "weight"]
    told = sorted((piece["weight"] for piece in text["pieces"]), key=lambda weight: -abs(weight))
    assert [float(line.split()[1]) for line in lines[3:8]] == pytest.approx(told, abs=1e-3)
    assert lines[-1] == "moods@2, form trained, explained by occlusion"


def test_squares_of_a_picture_and_options_of_the_explainer(danlu, digits, tmp_path):
    from sklearn.datasets import load_digits

    path = tmp_path / "zero.png"
    Image.fromarray((load_digits().images[0] * 255 / 16).astype("uint8")).save(path)
    told = danlu("explain", "digits", path, "--by", "{occlusion: {across: 2}}", "--json").json
    [one] = told["explanations"]
    assert one["number"] == "log-odds of 0"
    assert [piece["place"] for piece in one["pieces"]] == [[0, 0, 4, 4], [0, 4, 4, 8], [4, 0, 8, 4], [4, 4, 8, 8]]
    said = danlu("explain", "digits", path, "--by", "{occlusion: {across: 2}}")
    assert "rows 0-4, columns 4-8" in said.out


@pytest.mark.parametrize(
    ("arguments", "fault", "do"),
    [
        (["moods"], "nothing to explain", "danlu explain moods"),
        (["moods", "x", "--by", "magic"], "no explainer called 'magic'", "danlu list explainers"),
        (["moods", "x", "--by", "{occlusion: {most: 1}}"], "most", ""),
        (["moods", "x", "--by", "integrated_gradients"], "no vectors of words", "occlusion"),
        (["moods", "x", "--json-input"], "it is no JSON", "write it as in a request"),
        (["nobody", "x"], "nobody", ""),
    ],
)
def test_what_can_not_be_explained_says_why_and_what_to_do(danlu, texts, arguments, fault, do):
    said = danlu("explain", *arguments)
    assert said.code in (2, 3)
    assert fault in said.err
    assert do in said.err


def test_a_model_of_pictures_is_not_explained_by_the_words(danlu, digits):
    said = danlu("explain", "digits", "x.png", "--by", "integrated_gradients")
    assert said.code == 2
    assert "wants modality text, and this model's task gives image" in said.err


def test_a_text_without_words_is_told(danlu, texts):
    assert "no word in it to explain" in danlu("explain", "moods", " ").out


def test_models_are_explained_from_python(texts):
    import danlu

    model = danlu.load("moods")
    [one] = model.explain(["a good day"])
    assert [piece.text for piece in one.pieces] == ["a", " good", " day"]
    with pytest.raises(RecipeError, match="a list of inputs"):
        model.explain("a good day")
