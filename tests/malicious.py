"""Models that attack whoever loads them, written byte by byte. None of them is ever loaded here.

`pickles()` are programs in the pickle format that would call one of the known gadgets, in several protocols and
disguises; every one would make the marker file. `folders(tmp)` are models as folders, `archives(tmp, whole)` archives
made from the record of a good one.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib

import numpy as np

MARKER = "/work/never/made-by-a-pickle"
GADGETS = [
    ("posix", "system"), ("os", "system"), ("nt", "system"), ("os", "popen"), ("os", "execv"), ("os", "spawnl"),
    ("builtins", "eval"), ("builtins", "exec"), ("__builtin__", "eval"), ("builtins", "compile"),
    ("builtins", "open"), ("builtins", "getattr"), ("builtins", "__import__"), ("builtins", "breakpoint"),
    ("subprocess", "Popen"), ("subprocess", "run"), ("subprocess", "check_output"), ("subprocess", "getoutput"),
    ("runpy", "run_path"), ("runpy", "_run_code"), ("importlib", "import_module"), ("pty", "spawn"), ("pdb", "run"),
    ("bdb", "Bdb.run"), ("code", "InteractiveInterpreter.runcode"), ("codeop", "compile_command"), ("timeit", "timeit"),
    ("cProfile", "run"), ("profile", "run"), ("trace", "Trace.run"), ("doctest", "debug_script"), ("pydoc", "pipepager"),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start"), ("idlelib.pyshell", "ModifiedInterpreter.runcode"),
    ("idlelib.run", "Executive.runcode"), ("lib2to3.pgen2.pgen", "ParserGenerator.make_label"),
    ("ensurepip", "_run_pip"), ("pip", "main"), ("pkgutil", "resolve_name"), ("types", "CodeType"),
    ("types", "FunctionType"), ("operator", "attrgetter"), ("operator", "methodcaller"), ("functools", "partial"),
    ("functools", "reduce"), ("shutil", "rmtree"), ("socket", "create_connection"), ("ssl", "get_server_certificate"),
    ("urllib.request", "urlopen"), ("http.client", "HTTPConnection"), ("smtplib", "SMTP"), ("ctypes", "CDLL"),
    ("webbrowser", "open"), ("zipimport", "zipimporter"), ("marshal", "loads"), ("pickle", "loads"), ("_pickle", "loads"),
    ("torch", "load"), ("torch.hub", "load"), ("torch.utils._config_module", "load_config"),
    ("torch._inductor.codecache", "compile_file"), ("torch.jit", "load"), ("numpy", "load"), ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py.crackfortran", "getlincoef"), ("joblib", "load"), ("pandas", "read_pickle"), ("dill", "loads"),
    ("cloudpickle", "loads"), ("sqlite3", "connect"), ("logging.config", "listen"), ("distutils.file_util", "write_file"),
]  # fmt: skip


def program(module: str, name: str, protocol: int = 2) -> bytes:
    """A pickle that calls `module.name` with a shell command."""
    argument = f"touch {MARKER}".encode()
    call = f"c{module}\n{name}\n".encode() + b"(" + b"X" + struct.pack("<I", len(argument)) + argument + b"tR."
    head = b"" if protocol < 2 else bytes([0x80, protocol])
    if protocol == 4:
        body = b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode()
        call = body + b"\x93(" + b"X" + struct.pack("<I", len(argument)) + argument + b"tR."
    return head + call


def pickles() -> dict[str, bytes]:
    """Name → bytes: every gadget, and the disguises that scanners missed."""
    found = {f"{m}.{n}": program(m, n, (0, 2, 4)[k % 3]) for k, (m, n) in enumerate(GADGETS)}
    bad = program("os", "system")
    found["broken after the call"] = bad[:-1] + b"\xff\xff"
    found["a second pickle"] = b"\x80\x02N." + bad
    found["inst"] = b"(S'touch'\nios\nsystem\n."
    found["stack_global of joined names"] = b"\x80\x04\x8c\x02os\x8c\x06system\x93."
    found["zlib"] = zlib.compress(bad)
    found["gzip"] = gzip.compress(bad, mtime=0)
    found["torch zip"] = _zip({"archive/data.pkl": bad, "archive/version": b"3\n"})
    found["torch zip with a broken sum"] = _zip({"archive/data.pkl": bad})[:-10] + b"0" * 10
    found["tar"] = _tar(("data.pkl", bad))
    found["old torch"] = program("torch", "load") + bad
    found["npy"] = b"\x93NUMPY\x01\x00F\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(80) + bad
    found["behind text"] = b'{"a": 1}\n' + bad
    return found


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _tar(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            told = tarfile.TarInfo(name)
            told.size = len(data)
            archive.addfile(told, io.BytesIO(data))
    return buffer.getvalue()


TEMPLATES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ messages['__class__'] }}",
    "{{ messages['_' ~ '_class_' ~ '_'] }}",
    "{{ messages['_'+'_class_'+'_'] }}",
    "{{ messages['%c%cclass%c%c' % (95,95,95,95)] }}",
    "{{ messages|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ messages|attr(['_','_','class','_','_']|join) }}",
    "{{ messages[['_','_class','_']|join('')] }}",
    "{{ messages['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ self._TemplateReference__context.cycler }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{% import 'os' as os %}{{ os.system('id') }}",
    "{% include '/etc/passwd' %}",
    "{{ (messages|select|first).gi_frame.f_builtins }}",
    "{{ messages.mro() }}",
    "{% for x in messages %}",
]

SETTINGS = [
    {"auto_map": {"AutoModel": "evil.Model"}},
    {"nested": [{"auto_map": {"AutoConfig": "org/repo--evil.Config"}}]},
    {"custom_pipelines": {"text": {"impl": "evil.Pipeline"}}},
    {"trust_remote_code": True},
    {"_attn_implementation_internal": "org/evil-kernel"},
    {"attn_implementation": "kernels:org/evil"},
    {"text_config": {"_attn_implementation": "org/evil@main"}},
]


def tensors(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def weights() -> dict[str, bytes]:
    """Name → safetensors files that must not be loaded."""
    f32 = np.array([1.0, np.nan], np.float32).tobytes()
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    return {
        "NaN in F32": tensors({"w": entry}, f32),
        "NaN in F16": tensors({"w": {**entry, "dtype": "F16", "data_offsets": [0, 4]}}, b"\x00\x00\x01\x7e"),
        "NaN in BF16": tensors({"w": {**entry, "dtype": "BF16", "data_offsets": [0, 4]}}, b"\x00\x00\xc0\x7f"),
        "NaN in F64": tensors(
            {"w": {**entry, "dtype": "F64", "data_offsets": [0, 16]}}, np.array([0, np.nan]).tobytes()
        ),
        "NaN in F8": tensors({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"\x7f"),
        "header too long": tensors({"w": entry}, f32, length=2**63),
        "header over the limit": tensors({"w": entry}, f32, length=100_000_001),
        "header longer than the file": tensors({"w": entry}, f32, length=10_000),
        "offsets outside": tensors({"w": {**entry, "data_offsets": [0, 2**40]}}, f32),
        "overlapping": tensors({"w": entry, "v": entry}, f32),
        "deep header": tensors(b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    }
