import pytest

from danlu.core.document import parse, read
from danlu.core.errors import RecipeError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("true", True), ("~", None), ("1e-3", 0.001), ("1_000", 1000),
        ("0o17", 15), ("017", 17), ("2024-01-01", "2024-01-01"), ("12:30:45", "12:30:45"), ("=", "="), ("'1'", "1"), ("", None),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    assert parse(f"a: {text}", "r.yaml") == {"a": value}


def test_anchors_and_merges_work():
    assert parse("a: &x {b: 1}\nc: {<<: *x, d: 2}\ne: *x", "r") == {"a": {"b": 1}, "c": {"b": 1, "d": 2}, "e": {"b": 1}}


BOMB = "\n".join(
    ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]", *(f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12))]
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", r"^r\.yaml:3:1: the key a is there twice\n  → remove one"),
        ("a: {b: 1, b: 2}", r"the key b is there twice"),
        ("a:\n\tb: 1", r"^r\.yaml:2:1: a tab stands where YAML wants spaces\n  → indent with spaces"),
        ("a: b: c", r"^r\.yaml:1:5: a second colon in one line"),
        ("a: >= 0.7 # enough", r'a sign that means something to YAML\n  → put the value in quotes: ">= 0.7"$'),
        ("a: > 0.5", r'→ put the value in quotes: "> 0.5"$'),
        ("a:\n  b: @me", r'^r\.yaml:2:6: .*\n  → put the value in quotes: "@me"$'),
        ("a: {b: >= 1, c: 2}", r'→ put the value in quotes: ">= 1"$'),
        ("a: {b: 1", r"^r\.yaml:1:9: is not YAML: expected ',' or '}'"),
        ("a: !!python/name:os.system x", r"the tag !!python/name:os.system is not allowed"),
        ("a: !!set {x}", r"the tag !!set is not allowed"),
        ("a: !mine 1", r"the tag !mine is not allowed"),
        ("a: *nope", r"undefined alias"),
        ("---\na: 1\n---\nb: 2", r"holds more than one document"),
        ("a: \x00", r"is not YAML: unacceptable character"),
        ("a: !!int x", r"is not YAML: invalid literal"),
        ("a: &x [*x]", r"nested more than 50 deep"),
        ("[" * 60 + "]" * 60, r"nested more than 50 deep"),
        ("[" * 100_000, r"nested more than 50 deep"),
        (BOMB, r"with its aliases written out it has more than 20,000 values"),
        ("a: &a {x: 1}\nb: &b {<<: [*a,*a,*a,*a,*a,*a,*a,*a,*a]}\n" + "\n".join(f"c{k}: &c{k} {{<<: [{','.join(['*b' if k == 0 else f'*c{k - 1}'] * 9)}]}}" for k in range(9)), r"more than 20,000 values"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused_with_its_line(text, told):
    with pytest.raises(RecipeError, match=told):
        parse(text, "r.yaml")


def test_a_file_is_read_whatever_its_line_ends_and_mark(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: ü\r\n".encode())
    assert parse(read(path), "r") == {"a": 1, "b": "ü"}


def test_files_that_can_be_no_recipe(tmp_path):
    for name in ("review.yaml", "digits.yaml"):
        (tmp_path / name).write_text("a: 1")
    with pytest.raises(RecipeError, match=r"there is no such recipe; did you mean review.yaml"):
        read(tmp_path / "reviews.yaml")
    with pytest.raises(RecipeError, match=r"there is no such recipe; there is no folder .*nowhere"):
        read(tmp_path / "nowhere" / "r.yaml")
    with pytest.raises(RecipeError, match=r"is a folder, not a recipe\n  → name one of: digits.yaml, review.yaml"):
        read(tmp_path)
    binary = tmp_path / "model.yaml"
    binary.write_bytes(b"\x80\x04\xff")
    with pytest.raises(RecipeError, match="is not UTF-8 text"):
        read(binary)
    binary.write_bytes(b"a: 1\n" * 2_000_000)
    with pytest.raises(RecipeError, match=r"is 10.0 MB long; a recipe has at most 1 MB"):
        read(binary)
