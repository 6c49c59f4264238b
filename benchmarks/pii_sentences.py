"""Sentences for `pii.py`: values planted in frames of words, and traps that look like personal data and are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pii_values import FAKES, GENERATORS, RNG, chars, digits, luhn_digit


@dataclass
class Sentence:
    text: str = ""
    planted: list[tuple[str, int, int]] = field(default_factory=list)
    ambiguous: list[tuple[int, int]] = field(default_factory=list)

    def add(self, text: str, kind: str = "") -> None:
        if kind:
            self.planted.append((kind, len(self.text), len(self.text) + len(text)))
        self.text += text


def wrong_card() -> str:
    number = RNG.choice(["4", "51", "6222", "37"])
    number += digits(15 - len(number))
    return number + str((int(luhn_digit(number)) + RNG.randrange(1, 10)) % 10)


def wrong_resident() -> str:
    number = FAKES["zh_CN"].ssn()
    return number[:-1] + RNG.choice([d for d in "0123456789X" if d != number[-1]])


def wrong_iban() -> str:
    number = FAKES["de_DE"].iban()
    return number[:2] + f"{(int(number[2:4]) + RNG.randrange(1, 90)) % 97:02}" + number[4:]


TRAPS: list[tuple[str, Callable[[], str]]] = [
    ("订单号{}已发货，请注意查收。", lambda: digits(RNG.choice([10, 12, 14, 16, 18]))),
    ("Your order number is {}.", lambda: digits(RNG.choice([9, 10, 12, 16]))),
    ("Order #{} has been shipped", lambda: f"{digits(3)}-{digits(7)}-{digits(7)}"),
    ("流水 {} 已入账", lambda: FAKES["zh_CN"].date_this_year().strftime("%Y%m%d") + digits(10)),
    ("Reference {} was closed", lambda: digits(16)),
    ("快递单号 SF{}", lambda: digits(13)),
    ("ISBN {}", lambda: FAKES["en_US"].isbn13()),
    ("the book ({}) sold well", lambda: FAKES["en_US"].isbn10()),
    ("条码 {}", lambda: FAKES["en_US"].ean13()),
    ("bar code {} scanned", lambda: FAKES["en_US"].ean13()),
    ("会议定于{}召开", lambda: FAKES["zh_CN"].date_time().strftime("%Y-%m-%d %H:%M:%S")),
    (
        "on {} we met",
        lambda: (
            FAKES["en_US"].date_time().strftime(RNG.choice(["%m/%d/%Y", "%d.%m.%Y", "%Y%m%d", "%Y-%m-%dT%H:%M:%SZ"]))
        ),
    ),
    ("总价{}元", lambda: f"{RNG.uniform(1, 9e7):.2f}"),
    ("It cost ${} in all", lambda: f"{RNG.randrange(10**9):,}.{digits(2)}"),
    ("upgrade to version {} now", lambda: ".".join(str(RNG.randrange(40)) for _ in range(4))),
    ("请升级到v{}", lambda: ".".join(str(RNG.randrange(40)) for _ in range(RNG.choice([3, 4])))),
    ("见第{}节", lambda: ".".join(str(RNG.randrange(1, 9)) for _ in range(4))),
    ("position {}", lambda: f"{FAKES['en_US'].latitude()}, {FAKES['en_US'].longitude()}"),
    ("坐标 +{} +{}".replace("{} +{}", "{}"), lambda: f"{FAKES['en_US'].latitude()} {FAKES['en_US'].longitude()}"),
    ("型号 {} 已停产", lambda: f"1{RNG.choice('3578')}{digits(9)}"),
    ("part no. {} is out of stock", lambda: f"{RNG.randrange(200, 999)}-{RNG.randrange(200, 999)}-{digits(4)}"),
    ("SKU-{}", lambda: f"1{RNG.choice('3578')}{digits(9)}"),
    ("the model {}", lambda: f"{chars(2, 'ABCX')}{digits(8)}"),
    ("request {} failed", lambda: str(FAKES["en_US"].uuid4())),
    ("commit {}", lambda: FAKES["en_US"].sha1()),
    ("md5 {}", lambda: FAKES["en_US"].md5()),
    ("at {} ms since 1970", lambda: str(RNG.randrange(10**12, 2 * 10**12))),
    ("timestamp={}", lambda: str(RNG.randrange(10**9, 2 * 10**9))),
    ("device {}", lambda: FAKES["en_US"].mac_address()),
    ("the social security number {}", lambda: FAKES["en_US"].ssn()),
    ("background@2x.png and {}", lambda: f"{FAKES['en_US'].user_name()}@3x.jpg"),
    ("thanks @{} for the hint", lambda: FAKES["en_US"].user_name()),
    ("npm install react@{}", lambda: f"{RNG.randrange(20)}.{RNG.randrange(20)}.{RNG.randrange(20)}"),
    ("see {}", lambda: FAKES["en_US"].url() + FAKES["en_US"].uri_path() + "?page=3&sort=asc"),
    ("人口{}人", lambda: digits(8)),
    ("between {} of them", lambda: f"{digits(4)}-{digits(4)}"),
    ("卡号写错了：{}", wrong_card),
    ("身份证号{}校验不通过", wrong_resident),
    ("IBAN {} is wrong", wrong_iban),
    ("π ≈ 3.{}", lambda: digits(20)),
    ("0x{}", lambda: chars(16, "0123456789abcdef")),
    ("ISSN {}", lambda: f"{digits(4)}-{digits(4)}"),
    ("比分 {}", lambda: f"{RNG.randrange(20)}:{RNG.randrange(20)}"),
    ("他花了{}块钱买了3个", lambda: digits(3)),
    ("std::{} is a template", lambda: FAKES["en_US"].word()),
    ("本店最新A{}款", lambda: digits(5)),
    ("the token ring network of {} was slow", lambda: FAKES["en_US"].year()),
    ("密码长度不少于{}位", lambda: str(RNG.randrange(8, 32))),
    ("doi 10.{}/j.{}".replace("/j.{}", ""), lambda: f"{digits(4)}/{digits(6)}.{digits(7)}"),
    ("IMSI {}", lambda: "460" + digits(12)),
    ("invoice {} is due", lambda: f"INV-{digits(4)}-{digits(6)}"),
]

SAID = {
    "phone": [
        "电话：{}",
        "手机号{}，请回电",
        "Call me at {} tomorrow",
        "phone: {}",
        "Telefon {}",
        "my mobile number is {}",
    ],
    "passport": [
        "护照号码：{}",
        "Passport No. {}",
        "passport number {} expires soon",
        "他的护照{}丢了",
        "Reisepass {}",
    ],
    "bank_card": ["card number {}", "信用卡{}", "卡号：{}"],
    "licence_plate": ["number plate {}", "license plate: {}", "Kennzeichen {}"],
}
FRAMES = [
    "请联系{}，谢谢。", "我的是{}", "{}", "（{}）", "资料：{}；已核对", "他说{}不对",
    "Please use {} from now on.", "It is {}, I think",
    "({})",
    "Write it down: {}!", "Bitte {} notieren", "“{}”", "客户{}已登记", "value={}", "<td>{}</td>", "\t{}\n",
]  # fmt: skip


def plant(sentence: Sentence, kind: str) -> None:
    made = GENERATORS[kind]()
    if len(made) == 3:
        left, value, right = made
        head, _, tail = RNG.choice(FRAMES[:10]).partition("{}")
        quote_end = '"' if left.endswith('"') else ""
        head, tail = head + left, quote_end + right + tail
    else:
        value, told = made
        frames = SAID[kind] if told else FRAMES + SAID.get(kind, [])
        head, _, tail = RNG.choice(frames).partition("{}")
    sentence.add(head)
    sentence.add(disguised(kind, value), kind)
    sentence.add(tail)


def disguised(kind: str, value: str) -> str:
    """Now and then in full-width characters, or with zero-width ones between."""
    if kind in ("api_key", "url_credentials"):
        return value
    match RNG.randrange(20):
        case 0:
            return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in value)
        case 1:
            place = RNG.randrange(1, len(value))
            return value[:place] + RNG.choice("\u200b\u200c\u2060\ufeff") + value[place:]
    return value


def luhn_valid(text: str) -> bool:
    number = "".join(c for c in text if c.isdigit())
    return len(number) >= 12 and luhn_digit(number[:-1]) == number[-1]


def trap(sentence: Sentence) -> None:
    frame, make = RNG.choice(TRAPS)
    head, _, tail = frame.partition("{}")
    sentence.add(head)
    value = make()
    if luhn_valid(value):
        sentence.ambiguous.append((len(sentence.text), len(sentence.text) + len(value)))
    sentence.add(value)
    sentence.add(tail)


def filler() -> str:
    return RNG.choice(["", "", FAKES[RNG.choice(list(FAKES))].sentence() + " "])


def sentences(count: int) -> list[Sentence]:
    made = []
    for n in range(count):
        one = Sentence()
        one.add(filler())
        if n % 2:
            for _ in range(RNG.choice([1, 2])):
                trap(one)
                one.add(RNG.choice(["，", " ", "。", ". "]))
        else:
            plant(one, list(GENERATORS)[n // 2 % len(GENERATORS)])
            if RNG.random() < 0.3:
                one.add(RNG.choice(["，", " ; "]))
                trap(one)
        one.add(" " + filler())
        made.append(one)
    return made
