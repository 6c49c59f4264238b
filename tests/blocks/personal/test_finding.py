"""What each recogniser finds, and the look-alikes that it leaves alone."""

import pyarrow as pa
import pytest

from danlu.blocks.personal import KINDS, Found, find, find_in
from personal_texts import PASSPORT_LINE, THERE, unmarked

LOOK_ALIKES = {
    "email": ["icon@2x.png", "@someone", "react@18.2.0", "a@b", "user@localhost"],
    "phone": [
        "订单号：13812345678", "order number is 13812345678", "SKU-13812345678", "part no. 212-555-0123", "2125550123",
        "2021-11-22 12:30:45", "978-1-4189-4232-8", "+40.7128 -74.0060", "1234567890123", "价格12345678.90元",
        "利润+123456789元", "12812345678", "手机2021-11-22到货", "联系我。174208675是编号", "我的QQ，联系qq42950063",
    ],
    "resident_id": [
        "110105194912310021", "110105194902300028", "990105194912310029", "1101051949123100211", "order 202111221234567890",
    ],
    "passport": ["E12345678", "passport 20211122", "护照2021年办的", PASSPORT_LINE[:-1] + "1", "request 868295420"],
    "bank_card": [
        "4111 1111 1111 1112", "订单号4111111111111111", "1234567890123452", "4222222222222", "978-1-4189-4232-8",
    ],
    "iban": ["DE89 3704 0044 0532 0130 01", "DE89 3704", "XX89370400440532013000", "DE893704004405320130001"],
    "ip": ["version 1.2.3.4", "v1.2.3.4", "1.2.3.4.5", "256.1.1.1", "第1.2.3.4节", "12:30:45", "00:1a:2b:3c:4d:5e", "std::dead", "a::b"],
    "url_credentials": ["https://example.com:8080/x", "ssh://git@example.com", "https://a.example/?page=2345"],
    "api_key": ["密码长度不少于16位", "the secret of internationalization", "risk-averse-people-are-everywhere", "key: 1234567890123456"],
    "licence_plate": ["最新A12345", "京ABCDEF", "川A的房子", "KD72 JHT", "京A1234567"],
}  # fmt: skip
CASES = [(kind, text) for kind, texts in THERE.items() for text in texts]


@pytest.mark.parametrize(("kind", "marked"), CASES)
def test_each_kind_is_found_where_it_stands_and_nothing_else_is(kind, marked):
    text, spans = unmarked(marked)
    assert find([text]) == [[Found(kind, start, end) for start, end in spans]]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in LOOK_ALIKES.items() for text in texts])
def test_what_looks_alike_is_left_alone(kind, text):
    assert [f.kind for f in find([text])[0] if f.kind == kind] == []


def test_every_kind_is_tried():
    assert set(THERE) == set(LOOK_ALIKES) == set(KINDS)


def test_only_the_kinds_asked_for_are_found():
    text = "a@b.de 13812345678"
    assert [f.kind for f in find([text], ["phone"])[0]] == ["phone"]


def test_of_two_that_overlap_the_surer_gives_the_name_and_nothing_sticks_out():
    assert find(["13812345678@qq.com"]) == [[Found("email", 0, 18)]]
    assert [f.kind for f in find(["https://joe:x@mail.example.com/"])[0]] == ["url_credentials"]
    both = find(["a@b.de", "call me"])
    assert both == [[Found("email", 0, 6)], []]


def test_a_column_gives_what_its_texts_give_without_those_that_hold_nothing():
    texts = [unmarked(marked)[0] for _, marked in CASES]
    mixed = [None, "", "nothing here", *texts, "nothing there"]
    column = pa.chunked_array([mixed[:20], [], mixed[20:]], pa.string())
    expected = {row: found for row, text in enumerate(mixed) if text and (found := find([text])[0])}
    assert find_in(column) == expected
    assert len(expected) == len(texts)
    assert find_in(pa.chunked_array([], pa.large_string())) == {}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "aaaa@", "((((", "a.", "://a:", "?key=", ":", "<", "eyJa.", "\u200b1", "-----BEGIN PRIVATE KEY-----"],
)
def test_a_long_text_that_is_no_data_takes_no_square_of_its_length(piece):
    find([piece * (1_000_000 // len(piece))])  # a quadratic pattern would take minutes
