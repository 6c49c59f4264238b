"""The command line as a whole: its grammar, its exit codes, what `--json` promises, what it imports."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from danlu import api
from danlu.cli import main
from danlu.core.errors import DataError, Fault, GateError, MachineError, RecipeFaults

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "recipes" / "digits.yaml"
COMMANDS = ["new", "check", "plan", "run", "advise", "tune", "runs", "predict", "explain", "versions", "promote", "rollback", "list", "show", "assets", "clean", "doctor", "serve", "schema", "compare", "lineage", "reproduce", "export", "import", "runs:show", "assets:get", "data", "data:check", "data:show", "data:label"]  # fmt: skip


def walk(command, path=()):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, (*path, name))


TREE = dict(walk(typer.main.get_command(main.app)))


# ---- grammar -------------------------------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_grammar():
    assert sorted(":".join(path) for path in TREE if path) == sorted(COMMANDS)


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_help_shows_an_example_of_that_command(danlu, path):
    said = danlu(*path, "--help")
    examples = re.findall(r"Example:\s+(danlu [^\n]*?)\s*\n", said.out)
    assert said.code == 0
    assert len(examples) == 1
    words = shlex.split(examples[0])
    assert tuple(words[1 : 1 + len(path)]) == path


@pytest.mark.parametrize("path", [path for path in TREE if path], ids=" ".join)
def test_every_option_and_argument_has_a_help(path):
    silent = [p.name for p in TREE[path].params if p.name != "help" and not p.help]
    assert silent == []


def test_every_command_that_prints_a_result_has_json():
    without = [
        path
        for path, command in TREE.items()
        if path and path != ("data",) and "as_json" not in [p.name for p in command.params]
    ]
    assert without == [("serve",), ("schema",)]  # one never ends, and what the other prints is JSON


def test_an_unknown_command_is_told_with_the_nearest(danlu):
    said = danlu("rnu")
    assert (said.code, said.out) == (2, "")
    assert "No such command 'rnu'. Did you mean 'run'?" in said.err


@pytest.mark.parametrize("arguments", [["run"], ["new"], ["promote", "a@1", "--expect", "x"], ["list", "--nonsense"]])
def test_a_wrong_use_is_exit_code_2_and_json_when_asked(danlu, arguments):
    assert danlu(*arguments).code == 2
    said = danlu(*arguments, "--json")
    assert said.code == said.json["error"]["exit_code"] == 2
    assert said.json["error"]["what"]


def test_no_arguments_show_the_help(danlu):
    said = danlu()
    assert "Usage: danlu" in said.out + said.err
    assert "Traceback" not in said.err


def test_the_version(danlu):
    assert re.fullmatch(r"danlu \d+\.\d+\.\d+\S*\n", danlu("--version").out)


def test_the_version_by_the_interpreter():
    told = subprocess.run([sys.executable, "-m", "danlu", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"danlu \d+\.\d+\.\d+\S*\n", told.stdout)


# ---- exit codes and --json -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RecipeFaults([Fault("a.b", "is wrong", "a.b=1"), Fault("c", "too")]), 2, "a.b: is wrong"),
        (DataError("bad", where="x.csv", do="mend it"), 3, "x.csv: bad\n  → mend it"),
        (MachineError("full"), 4, "full"),
        (GateError("missed"), 5, "missed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("oops"), 1, "This is a bug in Danlu"),
    ],
)  # fmt: skip
def test_who_must_act_is_the_exit_code(danlu, monkeypatch, error, code, told):
    def fail(*_):
        raise error

    monkeypatch.setattr(api, "locate", fail)
    said = danlu("runs")
    assert (said.code, said.out) == (code, "")
    assert told in said.err
    as_json = danlu("runs", "--json")
    assert as_json.code == as_json.json["error"]["exit_code"] == code
    assert as_json.json["error"]["what"]
    if code == 2:
        assert [fault["where"] for fault in as_json.json["error"]["faults"]] == ["a.b", "c"]
    assert ("Traceback" in said.err) == (code == 1)


@pytest.mark.parametrize(
    "arguments",
    ["check {recipe}", "plan {recipe}", "run {recipe}", "runs", "runs show 2", "--json runs", "runs --json show 2",
     "list", "list method", "show lora", "predict digits {picture}", "versions", "versions digits", "versions digits@1",
     "versions digits --audit", "versions digits --card", "promote digits@1", "assets", "clean --dry-run", "doctor"],
)  # fmt: skip
def test_json_is_one_document_and_nothing_else(danlu, digits_store, picture, monkeypatch, arguments):
    monkeypatch.setenv("DANLU_STORE", str(digits_store))
    words = arguments.format(recipe=DIGITS, picture=picture).split()
    if "--json" not in words:
        words.append("--json")
    if words[0] == "--json":
        words = [*words[1:], words[0]]
    said = danlu(*words)
    assert said.code == 0, said.err
    assert isinstance(said.json, dict | list)
    plain = danlu(*[word for word in words if word != "--json"])
    assert plain.code == 0
    assert plain.out.strip()
    with pytest.raises(json.JSONDecodeError, match=r"Expecting|Extra"):
        json.loads(plain.out)


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    Image.new("L", (8, 8), 128).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_what_a_library_prints_does_not_spoil_json(danlu, monkeypatch, tmp_path):
    located = api.locate

    def loud(*arguments):
        print("a library says hello")  # noqa: T201
        return located(*arguments)

    monkeypatch.setattr(api, "locate", loud)
    said = danlu("runs", "--store", tmp_path, "--json")
    assert said.json == []
    assert "a library says hello" in said.err


def test_json_after_two_dashes_is_an_input_and_no_option(danlu, tmp_path):
    said = danlu("predict", "--store", tmp_path, "digits", "--", "--json")
    assert (said.code, said.out) == (2, "")
    assert "there is no model digits" in said.err


# ---- processes -----------------------------------------------------------------------------------------------------


def imported(*arguments):
    """The modules that a command imports, as a process of its own."""
    program = (
        "import sys; from danlu.cli import main; code = main.run(sys.argv[1:]); "
        "sys.stderr.write('\\n'.join(['', 'MODULES', *sys.modules])); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.partition("\nMODULES\n")[2].split("\n"))


HEAVY = {"torch", "transformers", "onnxruntime", "sklearn", "scipy", "peft", "onnx"}
COSTLY = HEAVY | {"danlu.contracts", "pyarrow", "numpy", "jsonschema", "sqlalchemy", "PIL", "ruamel.yaml"}


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"]], ids=" ".join)
def test_help_and_list_import_next_to_nothing(arguments):
    imported("list")  # so that the index is there
    assert imported(*arguments) & COSTLY == set()


@pytest.mark.parametrize(
    "arguments", [["check", DIGITS], ["plan", DIGITS], ["show", "lora"], ["doctor"], ["assets"]], ids=lambda a: a[0]
)
def test_what_needs_no_model_imports_none(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("DANLU_STORE", str(tmp_path))
    imported("list")
    assert imported(*arguments) & HEAVY == set()


def test_a_reused_run_and_the_registry_import_no_model_library(digits_store, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(digits_store))
    assert imported("run", DIGITS, "--quiet") & HEAVY == set()
    assert imported("versions", "digits", "--card") & HEAVY == set()


def test_an_onnx_form_answers_without_torch(digits_store, monkeypatch, picture):
    monkeypatch.setenv("DANLU_STORE", str(digits_store))
    assert imported("predict", "digits", picture) & {"torch", "transformers"} == set()


def test_a_reader_that_goes_away_is_no_error(command):
    process = command("list")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


def test_a_narrow_screen_stays_legible(command):
    out, err = command("assets", COLUMNS="60").communicate(timeout=60)
    assert err == ""
    assert "minilm\n  here" in out
    assert "what it is (licence)  A small English encoder" in out


def test_a_terminal_that_can_not_show_a_character_gets_its_escape(command, tmp_path):
    process = command("runs", "--store", tmp_path / "丹炉", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert r"\u4e39\u7089" in out


RECIPE = """
import: [{toys}]
steps:
  seeds: {{do: toy_sow, words: words.txt}}
  plant: {{do: toy_grow, steps: 40, wait: 0.05}}
"""


def test_ctrl_c_is_exit_code_130_and_the_next_run_goes_on(command, tmp_path, monkeypatch):
    (tmp_path / "words.txt").write_text("one two")
    (tmp_path / "my.yaml").write_text(RECIPE.format(toys=ROOT / "tests" / "toys.py"))
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    process = command("run", "my.yaml")
    while "step 2" not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "the next run goes on where it stopped" in err
    assert "Traceback" not in err
    again = command("run", "my.yaml", "plant.wait=0.05", "--json")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert json.loads(out)["reused"] == ["seeds"]
    steps = [line for line in log.read_text().split("\n") if line.startswith("step")]
    assert len(steps) < 40 + 5, "it began anew"
