import pytest

from danlu.blocks.language import detect_language

TEXTS = {
    "en": "I did not expect that the film would be this good. Where is my order? Please cancel it.",
    "zh": "这家酒店的服务很好，房间也干净，下次还会再来。",
    "zh traditional": "這家酒店的服務很好，房間也乾淨。",
    "zh with some English": "手机的screen很好看，拍照也清楚，推荐",
    "fr": "Le café était très agréable, mais on a attendu pour rien. C'est un film que je n'ai pas aimé.",
    "de": "Das Gerät ist größer als erwartet. Es war so gut, und wir hatten das schon. Was soll man machen?",
    "nl": "Dit is een heel goede film en we hebben er veel van genoten, het was een beetje lang.",
    "es": "El hotel no es muy bueno, pero me gusta la comida y he visto a todos. No hay nada mejor.",
    "it": "Il film non è male, ma la storia è un po' lunga e non mi ha convinto del tutto.",
    "da": "Jeg har ikke set den for at være ærlig, men den var god, og vi skal have den igen. Der er to.",
    "ru": "Это очень хороший фильм, мне понравилось.",
    "ja": "このホテルはとても良かったです。また来たいと思います。",
    "ko": "이 영화는 정말 재미있어요.",
    "ar": "كان الفيلم جيدا جدا",
    "names": "Apple iPhone 13 128GB blue",
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_language_is_told(name):
    found = detect_language([TEXTS[name]] * 3)
    assert found.code == (name[:2] if name[:2] in ("en", "zh") else "other")
    assert 0 <= found.confidence <= 1
    assert found.reason


def test_no_letters():
    assert detect_language(["12345", "!!!", ""]) == detect_language([])
    assert detect_language([]).reason == "there are no letters"


def test_only_the_first_texts_are_read():
    def endless():
        while True:
            yield TEXTS["en"]

    assert detect_language(endless()).code == "en"
