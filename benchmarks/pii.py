"""How much personal data do the recognisers of `danlu.blocks.personal` find, how much is none, how long does it take?

    python benchmarks/pii.py                      12,000 generated sentences: recall, precision, time
    python benchmarks/pii.py --faults 20          shows the first faults of every kind too
    python benchmarks/pii.py --real [--show]      what is found in movie-snippets and chinese-reviews
    python benchmarks/pii.py --linear             200 KB against 1 MB of texts that make patterns backtrack

Values come from faker in eight locales, or are built here from the formats' own definitions where faker has none (MRZ,
keys, new-energy plates); no code of the recognisers is used. A planted value is found when one of its kind covers it
whole; what is found is right when it overlaps a planted value of its kind. Every second sentence holds traps only.

An order number that is drawn at random has a valid Luhn digit and the prefix of a card issuer now and then. Nothing in
the number tells it from a card, so precision is given twice: with these as faults, and without.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import string
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import pyarrow as pa
from faker import Faker

from danlu.blocks.personal import KINDS, find, find_in
from danlu.plugins.sources.asset import Asset

RNG = random.Random(7)
FAKES = {name: Faker(name) for name in ("zh_CN", "en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "ja_JP")}
CHECKED = ("bank_card", "iban", "resident_id")


@dataclass
class Sentence:
    text: str = ""
    planted: list[tuple[str, int, int]] = field(default_factory=list)
    ambiguous: list[tuple[int, int]] = field(default_factory=list)

    def add(self, text: str, kind: str = "") -> None:
        if kind:
            self.planted.append((kind, len(self.text), len(self.text) + len(text)))
        self.text += text


def fake(*locales: str) -> Faker:
    return FAKES[RNG.choice(locales)]


def digits(n: int) -> str:
    return "".join(RNG.choices(string.digits, k=n))


def chars(n: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(RNG.choices(letters, k=n))


def grouped(number: str, size: int = 4, by: str = " ") -> str:
    return by.join(number[n : n + size] for n in range(0, len(number), size))


# ---- values: each gives (value, whether it is told by the words around it) -------------------------------------------


def luhn_digit(number: str) -> str:
    total = 0
    for place, d in enumerate(reversed(number)):
        n = int(d) * (2 if place % 2 == 0 else 1)
        total += n - 9 if n > 9 else n
    return str(-total % 10)


def email() -> tuple[str, bool]:
    one = fake(*FAKES)
    return RNG.choice([one.email, one.company_email, one.free_email, one.ascii_email])(), False


def phone() -> tuple[str, bool]:
    match RNG.randrange(6):
        case 0 | 1:
            number = FAKES["zh_CN"].phone_number()
            forms = [
                number,
                number,
                f"{number[:3]}-{number[3:7]}-{number[7:]}",
                f"{number[:3]} {number[3:7]} {number[7:]}",
                f"+86 {number}",
                f"+86-{number}",
            ]
            return RNG.choice(forms), False
        case 2:
            area = RNG.choice(["010", "021", "0571", "0755", "028", "0592"])
            local = RNG.choice("2345678") + digits(7)
            return RNG.choice([f"{area}-{local}", f"({area}){local}", f"{area} {local}"]), False
        case 3:
            number = FAKES["en_US"].phone_number()
            return number, number.isdigit()
        case 4:
            number = fake("en_GB", "de_DE", "fr_FR", "es_ES", "it_IT").phone_number()
            while not number.startswith("+"):
                number = fake("en_GB", "de_DE", "fr_FR", "es_ES", "it_IT").phone_number()
            return number, False
    return fake("en_GB", "de_DE", "fr_FR", "ja_JP").phone_number(), True


def resident_id() -> tuple[str, bool]:
    number = FAKES["zh_CN"].ssn()
    return RNG.choice([number, number, number.lower(), f"{number[:6]} {number[6:14]} {number[14:]}"]), False


def passport() -> tuple[str, bool]:
    match RNG.randrange(3):
        case 0:
            return RNG.choice("EGDP") + digits(8), True
        case 1:
            return fake("en_US", "en_GB", "fr_FR").passport_number(), True
    return mrz(), False


def mrz() -> str:
    """The second line of a passport, after ICAO document 9303, part 4."""

    def check(text: str) -> str:
        value = {c: n for n, c in enumerate(string.digits + string.ascii_uppercase)} | {"<": 0}
        return str(sum(value[c] * (7, 3, 1)[n % 3] for n, c in enumerate(text)) % 10)

    number, optional = chars(9, string.ascii_uppercase + string.digits), chars(8, string.digits).ljust(14, "<")
    born, until = FAKES["en_US"].date_of_birth().strftime("%y%m%d"), FAKES["en_US"].future_date().strftime("%y%m%d")
    line = f"{number}{check(number)}{RNG.choice(['CHN', 'USA', 'GBR', 'D<<'])}{born}{check(born)}{RNG.choice('MF')}"
    line += f"{until}{check(until)}{optional}{check(optional)}"
    return line + check(line[:10] + line[13:20] + line[21:43])


def bank_card() -> tuple[str, bool]:
    if RNG.random() < 0.4:
        number = RNG.choice(["622202", "621700", "622848", "625912", "622588"]) + digits(RNG.choice([9, 12]))
        number += luhn_digit(number)
    else:
        number = fake(*FAKES).credit_card_number()
    forms = [number, grouped(number), grouped(number, by="-")]
    return RNG.choice(forms), len(number) == 13


def iban() -> tuple[str, bool]:
    number = fake("en_GB", "de_DE", "fr_FR", "es_ES", "it_IT").iban()
    return RNG.choice([number, grouped(number), number.lower()]), False


def ip() -> tuple[str, bool]:
    one = fake("en_US")
    return RNG.choice([one.ipv4_public, one.ipv4_private, one.ipv4, one.ipv6])(), False


def url_credentials() -> tuple[str, str, str]:
    one = fake("en_US", "de_DE")
    if RNG.random() < 0.5:
        value = f"{one.user_name()}:{quote(one.password(), safe='')}"
        return (
            f"{RNG.choice(['https', 'postgresql', 'redis', 'ftp', 'amqp'])}://",
            value,
            f"@{one.domain_name()}/{one.uri_path()}",
        )
    name = RNG.choice(["token", "access_token", "api_key", "password", "sig", "client_secret"])
    return (
        f"https://{one.domain_name()}/{one.uri_path()}?page=2&{name}=",
        RNG.choice([one.sha1(), one.uuid4(), chars(24)]),
        "&lang=en",
    )


def api_key() -> tuple[str, str, str]:
    upper, url = string.ascii_uppercase + string.digits, string.ascii_letters + string.digits
    part = lambda n: base64.urlsafe_b64encode(json.dumps({"sub": chars(n)}).encode()).decode().rstrip("=")  # noqa: E731
    match RNG.randrange(10):
        case 0:
            return "", "AKIA" + chars(16, upper), ""
        case 1:
            return "", f"ghp_{chars(36)}", ""
        case 2:
            return "", f"xoxb-{digits(12)}-{digits(12)}-{chars(24)}", ""
        case 3:
            return "", "AIza" + chars(35, url + "_"), ""
        case 4:
            return "", RNG.choice(["sk-", "sk-proj-", "sk-ant-api03-"]) + chars(48), ""
        case 5:
            return "", f"{part(12)}.{part(30)}.{chars(43)}".replace("eyJ", "eyJ", 1), ""
        case 6:
            body = "\n".join(grouped(base64.b64encode(RNG.randbytes(600)).decode(), 64, "\n").split("\n"))
            kind = RNG.choice(["RSA ", "EC ", "", "OPENSSH "])
            return "", f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----", ""
        case 7:
            return (
                RNG.choice(["API_KEY=", "api_key: ", 'secret = "', "访问密钥：", "token: "]),
                chars(32, "0123456789abcdef"),
                "",
            )
        case 8:
            return "", f"hf_{chars(34)}", ""
    return "aws_secret_access_key = ", chars(40, url + "+/"), ""


def licence_plate() -> tuple[str, bool]:
    match RNG.randrange(4):
        case 0:
            return FAKES["zh_CN"].license_plate(), False
        case 1:
            return RNG.choice("京沪粤浙苏川") + RNG.choice("ABCDEFGH") + RNG.choice("DF") + digits(5), False
        case 2:
            return RNG.choice("京沪粤浙苏川") + RNG.choice("ABCDEFGH") + RNG.choice(["", "·", " "]) + chars(
                3, "ABCDEFGHJK"
            ) + digits(2), False
    return fake("de_DE", "en_GB", "fr_FR").license_plate(), True


# ---- traps -----------------------------------------------------------------------------------------------------------


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
GENERATORS: dict[str, Callable[[], tuple]] = {
    "email": email, "phone": phone, "resident_id": resident_id, "passport": passport, "bank_card": bank_card,
    "iban": iban, "ip": ip, "url_credentials": url_credentials, "api_key": api_key, "licence_plate": licence_plate,
}  # fmt: skip


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


# ---- judging ---------------------------------------------------------------------------------------------------------


def judge(made: list[Sentence], faults: int) -> bool:
    all_found = find([one.text for one in made])
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    shown: dict[str, list[str]] = defaultdict(list)
    for one, found in zip(made, all_found, strict=True):
        for kind, start, end in one.planted:
            hit = any(f.kind == kind and f.start <= start and f.end >= end for f in found)
            counts[kind]["planted"] += 1
            counts[kind]["hit"] += hit
            counts[kind]["exact"] += any((f.kind, f.start, f.end) == (kind, start, end) for f in found)
            if not hit:
                shown[kind].append(f"missed  {one.text[start:end]!r} in {one.text!r}")
        for f in found:
            right = any(f.kind == kind and f.start < end and start < f.end for kind, start, end in one.planted)
            doubt = f.kind == "bank_card" and any(f.start < end and start < f.end for start, end in one.ambiguous)
            counts[f.kind]["right" if right else "ambiguous" if doubt else "wrong"] += 1
            if not right and not doubt:
                shown[f.kind].append(f"wrong   {one.text[f.start : f.end]!r} in {one.text!r}")
    total: Counter[str] = sum(counts.values(), Counter())
    ok = True
    print(f"{len(made):,} sentences, {sum(not one.planted for one in made):,} of them with traps only")
    print(
        "| kind | planted | recall | exact | found | precision | with Luhn-valid order numbers as faults |\n"
        + "| --- " * 7
        + "|"
    )
    for kind, c in [*((kind, counts[kind]) for kind in KINDS), ("all", total)]:
        found = c["right"] + c["wrong"]
        recall, precision = c["hit"] / c["planted"], c["right"] / found
        strict = c["right"] / (found + c["ambiguous"])
        shares = [f"{share:.4f}" for share in (recall, c["exact"] / c["planted"])]
        row = [kind, f"{c['planted']:,}", *shares, f"{found + c['ambiguous']:,}", f"{precision:.4f}", f"{strict:.4f}"]
        print(f"| {' | '.join(row)} |")
        ok &= kind not in (*CHECKED, "all") or (recall >= 0.99 and strict >= 0.95)
    for kind, lines in shown.items():
        print(*[f"{kind}: {line}" for line in lines[:faults]], sep="\n", end="\n" * bool(lines[:faults]))
    return ok


def clock(made: list[Sentence]) -> None:
    texts = [one.text for one in made]
    size = sum(len(text.encode()) for text in texts) / 1024
    column = pa.chunked_array([texts])
    for name, run in (
        ("find, a text at a time", lambda: find(texts)),
        ("find_in, an Arrow column", lambda: find_in(column)),
    ):
        best = min(processor_time(run) for _ in range(3))
        print(f"{name}: {best / size * 1000:.4f} ms per KB ({size:,.0f} KB, {size / 1024 / best:.1f} MB/s)")


def processor_time(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def real(show: bool) -> None:
    for name in ("movie-snippets", "chinese-reviews"):
        source = Asset(asset=name)
        table = pa.Table.from_batches([batch for split in source.splits() or ("",) for batch in source.rows(split)])
        texts = [table.column(f.name) for f in table.schema if pa.types.is_string(f.type)]
        column = max(texts, key=lambda one: one.nbytes)
        found = find_in(column)
        kinds = Counter(f.kind for ones in found.values() for f in ones)
        size = sum(len(text.encode()) for text in column.to_pylist() if text) / 1024
        best = min(processor_time(lambda column=column: find_in(column)) for _ in range(3))
        print(f"{name}: {len(column):,} rows, {size:,.0f} KB, {best / size * 1000:.4f} ms per KB")
        print(f"found {dict(kinds)} in {len(found)} rows")
        for row, ones in found.items() if show else ():
            text = column[row].as_py()
            for f in ones:
                before, after = text[max(0, f.start - 30) : f.start], text[f.end : f.end + 20]
                print(f"  {f.kind}: …{before}⟦{text[f.start : f.end]}⟧{after}…")


HARD = (
    "1", "1 ", "1-", "0", "aaaa@", "a@a.", "a.", "(((((", "a:", ":", "1.", "1.1.", "+1 ", "://a:",
    "?key=", "key=", "A1", "DE89 ", "<", "P<", "eyJa.",
    "-----BEGIN PRIVATE KEY-----", "passport A1", "plate A1 ",
    "call ", "order no ", "京A", "１", "1\u200b", "\u200b", "sk-a", "token " ,
)  # fmt: skip


def linear() -> bool:
    ok = True
    for piece in HARD:
        small, large = (piece * (size // len(piece)) for size in (200_000, 1_000_000))
        times = [min(processor_time(lambda text=text: find([text])) for _ in range(2)) for text in (small, large)]
        ratio = times[1] / max(times[0], 1e-4)
        ok &= ratio < 10
        print(f"{piece!r}: {times[0] * 1000:.1f} ms, {times[1] * 1000:.1f} ms, {ratio:.1f} times for 5 times the text")
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", type=int, default=0)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--linear", action="store_true")
    given = parser.parse_args()
    if given.real:
        real(given.show)
        return 0
    if given.linear:
        return 0 if linear() else 1
    RNG.seed(given.seed)
    for n, one in enumerate(FAKES.values()):
        one.seed_instance(given.seed + n)
    made = sentences(given.sentences)
    ok = judge(made, given.faults)
    clock(made)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
