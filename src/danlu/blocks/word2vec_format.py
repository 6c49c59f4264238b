"""A model's word vectors as a file in word2vec's own format, which gensim, fastText and spaCy read.

The first line says how many words and numbers there are. Then comes a word a line: in text, the word and its numbers
set apart by spaces; in binary, the word, a space, and its numbers as float32, little-endian.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from danlu import bundle
from danlu.blocks.word_list import WordList
from danlu.blocks.word_vectors import WordVectors
from danlu.core.errors import RecipeError
from danlu.core.files import disk_faults, write_atomic


def save(version_folder: Path, out: Path) -> Path:
    """Write the vectors of a version's folder, or of any model's, into the new file `out`; `*.bin` is binary.

    Raises RecipeError when there is something at `out` and for a model that has no word vectors, DataError for a
    damaged one. Nothing is left at `out` after a failure.
    """
    if out.exists():
        what = "there is something already, and it is left as it is"
        raise RecipeError(what, where=str(out), do="name a new file")
    module, _, task, processor = bundle.load_module(bundle.Forms.open(version_folder).folder("trained"))
    if not (isinstance(module, WordVectors) and isinstance(processor, WordList)):
        what = f"a model of {task.name} has no vector a word"
        raise RecipeError(what, where=str(version_folder), do="name a model of the task word_vectors")
    with disk_faults(out):
        write_atomic(out, encoded(processor.names, module.vectors.numpy(), binary=out.suffix == ".bin"))
    return out


def encoded(names: tuple[str, ...], vectors: np.ndarray[Any, Any], *, binary: bool) -> bytes:
    """The content of such a file, for vectors [words, size]."""
    lines = [f"{len(vectors)} {vectors.shape[1]}".encode()]
    for name, vector in zip(names, vectors.astype("<f4"), strict=True):
        numbers = vector.tobytes() if binary else " ".join(map(str, vector)).encode()
        lines.append(name.encode() + b" " + numbers)
    return b"\n".join(lines) + b"\n"
