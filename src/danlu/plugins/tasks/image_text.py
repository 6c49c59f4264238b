"""Which text belongs to which picture (CLIP; Radford et al., 2021)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from danlu.blocks import labels as of_labels
from danlu.blocks import pixels
from danlu.blocks.pair_processor import PICTURE, TEXT
from danlu.blocks.pictures import cell_of, check_paths, inside
from danlu.blocks.tables import is_text
from danlu.contracts import Answer, Arrays, Batch, Columns, Example, Head, Task
from danlu.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

_TEXTS = "texts"
_NAMES = {PICTURE, TEXT, _TEXTS}
_ASKED = '{"picture": …, "text": "…"}, one of the two, or {"picture": …, "texts": ["…", "…"]}'
_PLACES = ("upper left", "upper right", "lower left", "lower right")


class ImageText(Task):
    """Pre-training on pairs of a picture and a text: in every batch each picture is to find its text, and each text its
    picture (InfoNCE, both ways, with a learnt temperature). A larger batch is a harder question, and teaches more.

    Asked `{"picture": x, "texts": [...]}` it chooses: `{"label": str, "confidence": float, "ranking": [{"text": str,
    "probability": float}, …]}`, which classifies pictures by names alone. Asked with a picture or with a text it gives
    `{"vector": [...]}` of length 1; asked with a pair, `{"similarity": float, "pair": [[...], [...]]}`, the cosine and
    both vectors.
    """

    gives: ClassVar[Mapping[str, str]] = {
        "modality": "image_text", "head": "features", "answer": "pair", "loss": "contrastive",
    }  # fmt: skip

    image: str | None = None
    """The column of the pictures, `{bytes, path}` or absolute paths; found by its content when left open."""
    text: str | None = None
    """The column of the texts; found by its content when left open."""

    def columns(self) -> Columns:
        """The two columns; raises RecipeError while they are left open."""
        if self.image is None or self.text is None:
            raise RecipeError("the columns are not settled yet", do="data.task.image_text.image=<column>")
        return Columns((self.image, self.text), (self.image, self.text))

    def settle(self, rows: pa.Table) -> Self:
        """Columns sniffed where left open, the only one of texts taken. Raises DataError when the table lacks one, or
        holds relative paths."""
        texts = [field.name for field in rows.schema if is_text(field.type) and field.name != self.image]
        only = texts[0] if len(texts) == 1 else None
        image, text = of_labels.find_columns(rows, self.name, image=self.image, text=self.text or only)
        check_paths(rows.column(image), image)
        return self.model_copy(update={"image": image, "text": text})

    def resolve(self, rows: pa.Table) -> Self:
        return self.settle(rows)

    def ask(self, row: Mapping[str, Any]) -> Any:
        image, text = self.columns().ask
        return {PICTURE: inside(row[image]), TEXT: row[text]}

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        """That the two belong together."""
        return None if any(row.get(name) is None for name in self.columns().gold) else {"similarity": 1.0}

    def row(self, x: Any, answer: Answer) -> dict[str, Any]:
        image, text = self.columns().ask
        return {image: cell_of(x[PICTURE]), text: x[TEXT]}

    def examples(self, row: Mapping[str, Any], processor: Any) -> list[Example]:
        """Raises DataError for a row that lacks the picture or the text."""
        x = self.ask(row)
        for column, value in zip(self.columns().ask, (x[PICTURE], x[TEXT]), strict=True):
            if value is None or (isinstance(value, str) and not value.strip()):
                do = "add `drop_empty` to the operators, or fill it in"
                raise DataError(f"the column {column!r} is empty, and a pair has a picture and a text", do=do)
        same = np.int64(zlib.crc32(" ".join(x[TEXT].split()).casefold().encode("utf-8", "replace")))
        return [Example(processor.inputs(x), {"same": same})]

    def head(self) -> Head:
        return Head("features")

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        """Pairs of the batch that have the same text are no wrong answers for one another."""
        near: Tensor = outputs["scale"].unsqueeze(1) * (outputs["picture"] @ outputs["text"].T)
        same = batch.targets["same"]
        twins = (same.unsqueeze(0) == same.unsqueeze(1)).fill_diagonal_(False)
        near = near.masked_fill(twins, float("-inf"))
        return -(near.log_softmax(0).diagonal() + near.log_softmax(1).diagonal()) / 2

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """The picture is an example, and so is each text: either tower answers alone."""
        asked = _asked(x)
        if _TEXTS in asked:
            parts = [{PICTURE: asked[PICTURE]}, *({TEXT: text} for text in asked[_TEXTS])]
        else:
            parts = [{PICTURE: asked[PICTURE]}] if PICTURE in asked else []
            parts += [{TEXT: asked[TEXT]}] if TEXT in asked else []
        return [Example(processor.inputs(part)) for part in parts]

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        vectors = np.stack([np.asarray(out[PICTURE if PICTURE in out else TEXT], np.float64) for out in outputs])
        asked = _asked(x)
        if _TEXTS in asked:
            return _ranking(asked[_TEXTS], vectors[1:] @ vectors[0] * float(outputs[0]["scale"]))
        if len(vectors) == 1:
            return {"vector": vectors[0].tolist()}
        return {"similarity": float(np.clip(vectors[0] @ vectors[1], -1, 1)), "pair": vectors.tolist()}

    def sample(self, n: int) -> list[dict[str, Any]]:
        """Grey pictures with a bright or dark patch in one of four corners, and texts that say so."""
        rng = np.random.default_rng(0)
        rows = []
        for k in range(n):
            place, bright = k % 4, k // 4 % 2
            picture = rng.integers(100, 130, (16, 16))
            top, left = 8 * (place // 2), 8 * (place % 2)
            picture[top : top + 8, left : left + 8] += 100 if bright else -90
            words = f"{'bright' if bright else 'dark'} patch, {_PLACES[place]}"
            rows.append({self.image or "image": cell_of(picture.astype(np.uint8)), self.text or "text": words})
        return rows

    def distance(self, a: Answer, b: Answer) -> float:
        """How far the similarities lie apart, or, if that is more, how far the vectors do; of two choices the total
        variation."""
        if "ranking" in a and "ranking" in b:
            one, other = ({row["text"]: row["probability"] for row in x["ranking"]} for x in (a, b))
            return float(sum(abs(one.get(text, 0.0) - other.get(text, 0.0)) for text in one.keys() | other.keys()) / 2)
        far = abs(a["similarity"] - b["similarity"]) if "similarity" in a and "similarity" in b else 0.0
        for name in ("vector", "pair"):
            if name in a and name in b:
                apart = np.linalg.norm(np.array(a[name]) - np.array(b[name]), axis=-1).max() / 2
                far = max(far, float(apart))
        return min(far, 1.0) if a.keys() & b.keys() else 1.0

    def to_json(self, x: Any) -> Any:
        asked = _asked(x)
        return asked | ({PICTURE: pixels.to_base64(asked[PICTURE])} if PICTURE in asked else {})

    def from_json(self, value: Any) -> Any:
        asked = _asked(value)
        return asked | ({PICTURE: pixels.from_base64(asked[PICTURE])} if PICTURE in asked else {})

    def request_schema(self) -> dict[str, Any]:
        text = {"type": "string"}
        told = {PICTURE: dict(pixels.REQUEST), TEXT: text, _TEXTS: {"type": "array", "items": text, "minItems": 1}}
        return {"type": "object", "properties": told, "minProperties": 1, "additionalProperties": False}

    def answer_schema(self) -> dict[str, Any]:
        number = {"type": "number"}
        vector = {"type": "array", "items": number}
        chosen = {"type": "object", "properties": {"text": {"type": "string"}, "probability": number}}
        told = {
            "similarity": {"type": "number", "minimum": -1, "maximum": 1},
            "pair": {"type": "array", "items": vector, "minItems": 2, "maxItems": 2},
            "vector": vector,
            "label": {"type": "string"},
            "confidence": number,
            "ranking": {"type": "array", "items": chosen},
        }
        return {"type": "object", "properties": told, "minProperties": 1, "additionalProperties": False}


def _asked(x: Any) -> dict[str, Any]:
    """What is asked, checked; a picture alone need not be wrapped. Raises DataError."""
    if isinstance(x, bytes | np.ndarray) or hasattr(x, "convert"):
        return {PICTURE: x}
    if not isinstance(x, Mapping) or not x or x.keys() - _NAMES or (_TEXTS in x and x.keys() != {PICTURE, _TEXTS}):
        raise DataError("this is no question about pictures and texts", do=f"ask {_ASKED}")
    texts = x.get(_TEXTS, [x[TEXT]] if TEXT in x else [])
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise DataError("a text must be a string", do=f"ask {_ASKED}")
    if _TEXTS in x and not texts:
        raise DataError("there is no text to choose from", do=f"ask {_ASKED}")
    return dict(x)


def _ranking(texts: list[str], scores: np.ndarray[Any, Any]) -> Answer:
    """The texts, the likeliest first."""
    odds = np.exp(scores - scores.max())
    odds /= odds.sum()
    rows = [{"text": texts[k], "probability": float(odds[k])} for k in np.argsort(-odds, kind="stable")]
    return {"label": rows[0]["text"], "confidence": rows[0]["probability"], "ranking": rows}
