import re

import pytest

from danlu.blocks.personal import Mask, blacked, find
from danlu.blocks.personal.checksums import luhn, mod97, resident
from personal_texts import THERE, unmarked

KEY = b"0123456789abcdef0123456789abcdef"
TEXTS = [unmarked(marked)[0] for texts in THERE.values() for marked in texts]


def masked(text, **options):
    return Mask(**options).apply(text, find([text])[0])


def test_a_tag_names_the_kind():
    assert masked("信：a@b.de，电话13812345678。") == "信：[EMAIL]，电话[PHONE]。"


@pytest.mark.parametrize("style", ["tag", "hash", "fake"])
@pytest.mark.parametrize("text", TEXTS)
def test_nothing_of_a_value_is_left_and_the_rest_stays(style, text):
    found = find([text])[0]
    after = Mask(style, KEY).apply(text, found)
    assert after.startswith(text[: found[0].start])
    assert after.endswith(text[found[-1].end :])
    assert all(text[f.start : f.end] not in after for f in found)
    if style != "fake":
        assert find([after]) == [[]]


def test_the_same_value_has_the_same_hash_however_it_is_spelled_and_another_with_another_key():
    spelled = ["13812345678", "138-1234-5678", "１３８ 1234 5678", "1\u200b3812345678"]
    hashes = {masked(text, style="hash", key=KEY) for text in spelled}
    assert len(hashes) == 1
    assert (
        len({*hashes, masked("13812345679", style="hash", key=KEY), masked(spelled[0], style="hash", key=KEY[::-1])})
        == 3
    )
    assert masked("A@B.de", style="hash", key=KEY) == masked("a@b.de", style="hash", key=KEY)
    token = "https://a.example/?token=ab-cd-ef"
    assert masked(token, style="hash", key=KEY) != masked(token.replace("-", "."), style="hash", key=KEY)


def test_a_hash_without_a_key_is_refused():
    with pytest.raises(ValueError, match="a hash needs a key"):
        Mask("hash")


@pytest.mark.parametrize(
    ("value", "valid"),
    [("4111111111111111", luhn), ("DE89370400440532013000", mod97), ("11010519491231002X", resident)],
)
def test_a_fake_never_has_valid_check_digits(value, valid):
    fakes = [masked(value, style="fake", key=KEY + str(n).encode()) for n in range(300)]
    assert len(set(fakes)) > 250
    assert all(len(fake) == len(value) for fake in fakes)
    assert not any(valid(fake) for fake in fakes)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("138-1234-5678", r"12\d-\d{4}-\d{4}"),
        ("+86 13812345678", r"\+86 12\d{9}"),
        ("(212) 555-4567", r"\(\d{3}\) 555-01\d\d"),
        ("+49 30 1234567", r"\+49 \d\d \d{7}"),
        ("Zhang.3@qq.com", r"[A-Z][a-z]{4}\.\d@example\.com"),
        ("8.8.8.8", r"198\.1[89]\.\d+\.\d+"),
        ("2001:db9::1", r"2001:db8::[0-9a-f]+:[0-9a-f]+"),
        ("京A12345", r"京[A-Z]\d{5}"),
        ("AKIAIOSFODNN7EXAMPLE", r"[A-Z]{12}\d[A-Z]{7}"),
    ],
)
def test_a_fake_has_the_shape(text, shape):
    assert re.fullmatch(shape, masked(text, style="fake", key=KEY))


def test_a_keyed_fake_is_the_same_everywhere_and_one_without_a_key_tells_nothing_of_the_value():
    one, other = "tel 13812345678", "my phone is 138 1234 5678"
    assert masked(one, style="fake", key=KEY)[-11:] == masked(other, style="fake", key=KEY).replace(" ", "")[-11:]
    assert masked(one, style="fake") == masked("tel 13899999999", style="fake")
    assert masked(one, style="fake") != masked(one, style="fake", seed=1)
    twice = masked("13812345678, 13812345678", style="fake")
    assert twice[:11] != twice[-11:]


def test_blacking_out_keeps_length_and_punctuation():
    assert blacked("信a.b@qq.com，138-1234-5678") == "信█.█@██.███，███-████-████"
    assert blacked("a@b.de 13812345678", ["phone"]) == "a@b.de ███████████"
