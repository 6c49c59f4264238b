import base64
import io

import numpy as np
from PIL import Image

from danlu.blocks.report.inputs import shown
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification

TEXT = TextClassification(text="t", label="l", labels=("a", "b"))
IMAGE = ImageClassification(image="i", label="l", labels=("a", "b"))


def test_a_text_is_a_text_even_when_it_looks_like_a_picture():
    assert shown(TEXT, "iVBORw0KGgo=") == {"text": "iVBORw0KGgo="}


def test_a_long_text_is_cut_and_says_so():
    text = shown(TEXT, "word " * 1000)["text"]
    assert len(text) < 1300
    assert text.endswith("(5,000 characters)")


def test_a_picture_is_drawn_anew_and_small():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    picture = shown(IMAGE, pixels)["picture"]
    head, content = picture.split(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (84, 112)
