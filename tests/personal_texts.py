"""Texts with personal data of every kind, marked; each value is a public example or made up."""

PASSPORT_LINE = "L898902C36UTO7408122F1204159ZE184226B<<<<<10"  # the specimen of ICAO 9303
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"
PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1234\nabcd+/==\n-----END RSA PRIVATE KEY-----"

THERE = {
    "email": [
        "写信到⟦zhang.san@qq.com⟧，谢谢",
        "<⟦o'neil+news@mail.example.co.uk⟧>",
        "Mail ⟦a@b.de⟧. Then",
        "⟦ＷＡＮＧ＠ＱＱ．ＣＯＭ⟧",
        "an ⟦jörg@müller.de⟧",
    ],
    "phone": [
        "电话⟦13812345678⟧谢谢",
        "⟦138-1234-5678⟧",
        "⟦+86 138 1234 5678⟧，⟦0086-13812345678⟧",
        "⟦１３８１２３４５６７８⟧",
        "⟦1\u200b38–1234–5678⟧",
        "座机⟦010-62345678⟧，⟦(0571)88123456⟧，⟦400-810-1234⟧",
        "⟦(212) 555-0123⟧ or ⟦206.269.0743x9150⟧ or ⟦+1-780-563-6083⟧",
        "⟦+49 (0) 9141 777631⟧, ⟦+33 1 83 41 77 76⟧",
        "Telefon: ⟦09141 777631⟧",
        "call ⟦2125550123⟧ now",
        "⟦1 3 8 1 2 3 4 5 6 7 8⟧",
    ],
    "resident_id": [
        "身份证⟦11010519491231002X⟧。",
        "⟦110105 19491231 002x⟧",
        "号码是⟦１１０１０５１９４９１２３１００２Ｘ⟧",
    ],
    "passport": [
        "护照号码：⟦E12345678⟧",
        "passport no. ⟦C01X00T47⟧",
        "US passport ⟦123456789⟧",
        f"⟦P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<⟧\n⟦{PASSPORT_LINE}⟧",
        f"<td>⟦{PASSPORT_LINE}⟧</td>",
    ],
    "bank_card": [
        "卡号⟦4111 1111 1111 1111⟧，有效期",
        "⟦4111-1111-1111-1111⟧ 123",
        "⟦378282246310005⟧",
        "⟦6222020000000000000⟧",
        "card no. ⟦4222222222222⟧",
    ],
    "iban": [
        "IBAN ⟦DE89 3704 0044 0532 0130 00⟧ bitte",
        "⟦gb82west12345698765432⟧",
        "转到⟦FR1420041010050500013M02606⟧。",
    ],
    "ip": [
        "⟦192.168.0.1⟧:8080",
        "地址⟦8.8.8.8⟧。",
        "[⟦2001:db8::8a2e:370:7334⟧]:443",
        "IP:⟦fe80::1⟧",
        "⟦::ffff:0:1.2.3.4⟧",
    ],
    "url_credentials": [
        "postgresql://⟦admin:s3cret!⟧@db.example.com/x",
        "https://a.example/b?page=2&access_token=⟦abc123def⟧&lang=en",
        "redis://⟦:pass@word⟧@host:6379",
    ],
    "api_key": [
        "⟦AKIAIOSFODNN7EXAMPLE⟧",
        "密钥⟦ghp_abcdefghijklmnopqrstuvwxyz0123456789⟧",
        "⟦xoxb-123456789012-abcdefghijkl⟧",
        "⟦AIzaSyA1234567890abcdefghijklmnopqrstuv⟧",
        "OPENAI_API_KEY=⟦sk-proj-abcdefghijklmnopqrstuvwxyz⟧",
        f"Bearer ⟦{JWT}⟧",
        f"key:\n⟦{PRIVATE}⟧\nend",
        'client_secret: "⟦9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c⟧"',
        "访问令牌：⟦q7Rz0Lk2Vb9Xw4Td8Mn3⟧",
    ],
    "licence_plate": [
        "⟦京A12345⟧",
        "车⟦粤BD12345⟧，⟦沪A·8K888⟧",
        "⟦苏E-12345F⟧",
        "number plate ⟦KD72 JHT⟧",
        "Kennzeichen ⟦M-AB 123⟧",
    ],
}
"""Kind → texts in which what is between ⟦ and ⟧ is one, and nothing else."""


def unmarked(marked):
    """The text without ⟦ and ⟧, and where they stood."""
    text, spans = "", []
    for piece in marked.split("⟦"):
        value, _, rest = piece.rpartition("⟧")
        if value or "⟧" in piece:
            spans.append((len(text), len(text) + len(value)))
        text += value + rest
    return text, spans
