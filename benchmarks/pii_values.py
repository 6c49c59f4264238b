"""Personal data for `pii.py`: each generator gives (value, whether it is told by the words around it), or (what stands
before it, value, what stands behind it). Nothing here uses the code of the recognisers.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote

from faker import Faker

RNG = random.Random(7)
FAKES = {name: Faker(name) for name in ("zh_CN", "en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "ja_JP")}


def seed(number: int) -> None:
    """Every value that is made from here on is a function of the seed."""
    RNG.seed(number)
    for n, one in enumerate(FAKES.values()):
        one.seed_instance(number + n)


def fake(*locales: str) -> Faker:
    return FAKES[RNG.choice(locales)]


def digits(n: int) -> str:
    return "".join(RNG.choices(string.digits, k=n))


def chars(n: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(RNG.choices(letters, k=n))


def grouped(number: str, size: int = 4, by: str = " ") -> str:
    return by.join(number[n : n + size] for n in range(0, len(number), size))


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


GENERATORS: dict[str, Callable[[], tuple]] = {
    "email": email, "phone": phone, "resident_id": resident_id, "passport": passport, "bank_card": bank_card,
    "iban": iban, "ip": ip, "url_credentials": url_credentials, "api_key": api_key, "licence_plate": licence_plate,
}  # fmt: skip
