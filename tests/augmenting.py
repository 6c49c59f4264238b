"""What the tests of augmentation share."""

import json

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from danlu.contracts import Columns, Context

CONTEXT = Context(Columns(("text",), ("label",)), "train", 3)


def table(n):
    """Texts that differ, a rare label for every fourth, and another column."""
    return pa.table(
        {
            "text": [f"it is fine film number {k} of all the films" for k in range(n)],
            "label": ["rare" if k % 4 == 0 else "common" for k in range(n)],
            "n": list(range(n)),
        }
    )


def pieces(operator, table, size, context=CONTEXT):
    """The table as it comes out when it comes in pieces."""
    parts = [operator.apply(table.slice(start, size), context)[0] for start in range(0, table.num_rows, size)]
    return pa.concat_tables(parts).combine_chunks()


def words_file(folder):
    path = folder / "words.txt"
    path.write_text(
        "# groups\ngood,fine, nice\nfilm,movie\n高兴，开心，快乐\n非常,十分\n常高,无\n电影,影片\nthe one,that one\n",
        "utf-8",
    )
    return path


def vectors_folder(folder):
    """A model's folder with a tokenizer of nine words, of which film and movie, and three others, lie close."""
    words = ["film", "movie", "awful", "terrible", "horrible", "good", "bad", "##ly", "the"]
    angles = np.array([0, 0.3, 1.5, 1.6, 1.7, 3.0, 3.95, 0.1, 5.0])
    made = folder / "vectors"
    made.mkdir(exist_ok=True)
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float16)
    save_file({"embed.weight": vectors, "other": np.zeros((9, 3), np.float32)}, made / "model.safetensors")
    vocabulary = {word: place for place, word in enumerate(words)}
    (made / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    return made
