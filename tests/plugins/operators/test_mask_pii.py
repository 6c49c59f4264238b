import json

import pyarrow as pa
import pytest
from pydantic import ValidationError

from danlu.contracts import Columns, Context
from danlu.core.errors import DataError, MachineError
from danlu.plugins.operators.mask_pii import MaskPII
from personal_texts import THERE, unmarked

CONTEXT = Context(Columns(("text",), ("label",)))
KEY = "0123456789abcdef0123456789abcdef"
TEXTS = ["nothing here", "信 a@b.de，13812345678", None, "8.8.8.8 again", "c@d.de"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("DANLU_MASK_KEY", raising=False)


def mask(texts=TEXTS, kind="string", **options):
    table = pa.table(
        {"text": pa.chunked_array([texts[:2], texts[2:]], pa.type_for_alias(kind)), "label": range(len(texts))}
    )
    return MaskPII(**options).apply(table, CONTEXT)


def test_the_rows_are_masked_counted_by_kind_and_told_without_a_value():
    after, counts = mask()
    assert after.column("text").to_pylist() == ["nothing here", "信 [EMAIL]，[PHONE]", None, "[IP] again", "[EMAIL]"]
    assert after.column("label").to_pylist() == list(range(5))
    assert (counts.rows_in, counts.rows_out, counts.changed) == (5, 5, 3)
    assert counts.by == {"email": 2, "ip": 1, "phone": 1}
    assert counts.why == {1: "email, phone", 3: "ip", 4: "email"}
    assert counts.samples[0] == ("信 █@█.██，███████████", "信 [EMAIL]，[PHONE]")


def test_drop_takes_the_rows_away():
    after, counts = mask(style="drop")
    assert after.column("text").to_pylist() == ["nothing here", None]
    assert (counts.rows_out, counts.changed, counts.by) == (2, 0, {"email": 2, "ip": 1, "phone": 1})
    assert counts.samples[1] == ({"text": "█.█.█.█ again"}, None)
    assert list(counts.why) == [1, 3, 4]


def test_what_is_not_masked_is_blacked_out_in_samples():
    after, counts = mask(kinds=("email",))
    assert after.column("text").to_pylist()[1] == "信 [EMAIL]，13812345678"
    assert counts.samples[0] == ("信 █@█.██，███████████", "信 [EMAIL]，███████████")
    assert counts.by == {"email": 2}


def test_pieces_add_up_to_the_whole(monkeypatch):
    monkeypatch.setenv("DANLU_MASK_KEY", KEY)
    texts = [unmarked(marked)[0] for texts in THERE.values() for marked in texts] + TEXTS
    for style in ("tag", "hash", "fake", "drop"):
        whole, counts = mask(texts, style=style)
        pieces = [mask(texts[n : n + 7], style=style) for n in range(0, len(texts), 7)]
        assert (
            pa.concat_tables([p.select(["text"]) for p, _ in pieces]).to_pydict() == whole.select(["text"]).to_pydict()
        )
        assert sum(c.changed for _, c in pieces) == counts.changed
        assert {k: sum(c.by.get(k, 0) for _, c in pieces) for k in counts.by} == counts.by


def test_the_key_comes_from_the_environment_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", KEY)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    named, _ = mask(style="hash", key_env="MY_KEY")
    kept, _ = mask(style="hash", key_file=str(file))
    assert named.equals(kept)
    text = named.column("text")[4].as_py()
    assert text.startswith("[EMAIL#")
    file.write_text(KEY[::-1])
    assert mask(style="hash", key_file=str(file))[0].column("text")[4].as_py() != text


def test_a_missing_or_short_key_is_told_and_not_shown(monkeypatch):
    with pytest.raises(
        MachineError, match=r"variable DANLU_MASK_KEY holds no key; masking by hash asks for 32\n.*openssl"
    ):
        mask(style="hash")
    monkeypatch.setenv("DANLU_MASK_KEY", "swordfish")
    with pytest.raises(MachineError, match="holds a key of 9 characters") as error:
        mask(style="fake")
    assert "swordfish" not in str(error.value)
    with pytest.raises(ValidationError, match="key_env"):
        MaskPII(key_env=KEY)


def test_a_fake_needs_no_key_and_follows_the_seed():
    texts = ["call 13812345678"]
    table = pa.table({"text": texts})
    one, other = (MaskPII(style="fake").apply(table, Context(Columns(("text",)), seed=seed))[0] for seed in (0, 1))
    assert one.column("text")[0].as_py().startswith("call 12")
    assert not one.equals(other)


def test_large_strings_stay_large_and_other_columns_are_told():
    after, _ = mask(kind="large_string")
    assert after.schema.field("text").type == pa.large_string()
    table = pa.table({"text": ["a@b.de"], "n": [13812345678]})
    after, counts = MaskPII(columns=("n", "text")).apply(table, CONTEXT)
    assert after.to_pylist() == [{"text": "[EMAIL]", "n": 13812345678}]
    assert counts.notes == ["the column n holds no text and was left alone"]


def test_a_row_masked_in_two_columns_counts_once():
    table = pa.table({"a": ["a@b.de", "x"], "b": ["c@d.de 8.8.8.8", "y"]})
    after, counts = MaskPII(columns=("a", "b")).apply(table, CONTEXT)
    assert after.to_pylist()[0] == {"a": "[EMAIL]", "b": "[EMAIL] [IP]"}
    assert (counts.changed, counts.by, len(counts.samples)) == (1, {"email": 1, "ip": 1}, 2)


def test_no_rows_no_chunks_and_a_missing_column():
    for style in ("tag", "drop"):
        after, counts = mask([], style=style)
        assert (after.num_rows, counts.changed, counts.by) == (0, 0, {})
    with pytest.raises(DataError, match=r"no column 'body'; the columns are: text, label\n.*mask_pii\.columns"):
        mask(columns=("body",))


def test_no_kinds_at_all_is_refused():
    with pytest.raises(ValidationError, match="kinds"):
        MaskPII(kinds=())


def test_a_long_row_is_cut_only_after_it_was_blacked_out():
    _, counts = mask(["x" * 497 + " a@b.de"])
    assert counts.samples == [("x" * 497 + " █@…", "x" * 497 + " [E…")]
    assert json.dumps(counts.why) == '{"0": "email"}'
