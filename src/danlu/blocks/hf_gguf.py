"""GGUF: a model in one file of llama.cpp's, turned once into the folder that everything here reads.

The numbers are widened to float32 exactly as the file says; what its quantization lost stays lost. `transformers` reads
the file, with the package `gguf`; what is written is a configuration, safetensors and a tokenizer, in Danlu's cache.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import save_file

from danlu.blocks import hf
from danlu.core import plugin
from danlu.core.digests import cache_dir
from danlu.core.errors import DataError
from danlu.core.files import disk_faults, locked, make_dirs, publish_dir, sha256_file, temp_beside, write_atomic

_gguf: Any = plugin.lazy("gguf", "gguf")

_DIGITS = {"type": "Digits", "individual_digits": True}
_DIGIT_BY_DIGIT = ("smollm",)
"""Kinds of cutting (`tokenizer.ggml.pre`) that take each digit alone; transformers' own conversion forgets it."""


def opened(folder: Path) -> Path:
    """The folder; for one that holds a GGUF file and no configuration, the one that its file was turned into.

    Takes a minute or two the first time. Raises MachineError without the package `gguf`, DataError for a file that is
    no such model, and where there are several.
    """
    files = sorted(folder.glob("*.gguf"))
    if (folder / "config.json").is_file() or not files:
        return folder
    if len(files) > 1:
        what = f"there are {len(files)} GGUF files, and one is a model: {', '.join(file.name for file in files[:5])}"
        raise DataError(what, where=str(folder), do="keep one of them in the folder")
    made = cache_dir() / "gguf" / sha256_file(files[0])[:32]
    with disk_faults(made):
        make_dirs(made.parent)
        with locked(made.parent / f".lock-{made.name}"):
            if not made.is_dir():
                temp = temp_beside(made)
                try:
                    temp.mkdir()
                    _convert(files[0], temp)
                    publish_dir(temp, made)
                finally:
                    shutil.rmtree(temp, ignore_errors=True)
    return made


def _convert(file: Path, folder: Path) -> None:
    pre = _kind_of_cutting(file)
    told: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        with hf.quiet():
            auto: Any = transformers.AutoModelForCausalLM
            module = auto.from_pretrained(file.parent, trust_remote_code=False, dtype="float32", **told)
            cutter = transformers.AutoTokenizer.from_pretrained(file.parent, trust_remote_code=False, **told)
    except Exception as error:  # the library raises many kinds
        what = f"transformers can't read it as a language model: {error!s:.300}"
        raise DataError(what, where=str(file), do="get the model as safetensors") from error
    tensors = module.state_dict()
    if module.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)  # it is the table that tokens are read by
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    hf.write_config(folder, module)
    with hf.quiet():
        cutter.save_pretrained(folder)
    if pre in _DIGIT_BY_DIGIT:
        path = folder / "tokenizer.json"
        whole = json.loads(path.read_bytes())
        whole["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [_DIGITS, whole["pre_tokenizer"]]}
        write_atomic(path, json.dumps(whole, ensure_ascii=False))
    path = folder / "tokenizer_config.json"
    positions = {"model_max_length": module.config.max_position_embeddings}
    write_atomic(path, json.dumps(json.loads(path.read_bytes()) | positions, ensure_ascii=False, indent=2) + "\n")


def _kind_of_cutting(file: Path) -> str:
    """What the file says of how its tokenizer cuts a text before it looks for pieces."""
    reader = _gguf.GGUFReader
    try:
        field = reader(file).get_field("tokenizer.ggml.pre")
        return str(field.contents()) if field else ""
    except (ValueError, KeyError, IndexError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"it is no GGUF file: {error!s:.200}", where=str(file), do="get the model again") from error
