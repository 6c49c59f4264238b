"""How a report shows an input: as text, or as a small picture inside the page."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.blocks import pixels
from danlu.contracts import Answer, Task
from danlu.core.errors import DataError

_THUMBNAIL = (112, 112)
_LONGEST = 1200


def shown(task: Task, x: Any) -> dict[str, str]:
    """`{text}` or `{picture}` (a data URI), from the input as a request would hold it.

    What a request carries as base64 is shown as a picture where it is one; the picture is drawn anew, so that nothing
    of the file but its pixels gets into the page.
    """
    value = task.to_json(x)
    if isinstance(value, str) and '"base64"' in json.dumps(task.request_schema()):
        try:
            return {"picture": thumbnail(base64.b64decode(value))}
        except (DataError, binascii.Error):
            return {"text": "(binary)"}
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {"text": text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"}


def filled(answers: Sequence[Answer], gold: Sequence[Answer], most: int) -> list[dict[str, Any]]:
    """Rows whose hidden squares were filled in, the best to the worst: what was seen, said and true, as data URIs."""
    order = np.argsort([answer["error"] for answer in answers], kind="stable")
    rows = sorted({round(place) for place in np.linspace(0, len(order) - 1, min(most, len(order)))})
    return [
        {
            "row": int(row),
            "masked": thumbnail(pixels.from_base64(answers[row]["masked"])),
            "filled": thumbnail(pixels.from_base64(answers[row]["picture"])),
            "true": thumbnail(pixels.from_base64(gold[row]["picture"])),
            "error": answers[row]["error"],
        }
        for row in order[rows]
    ]


def thumbnail(content: Any) -> str:
    """A picture, drawn small, as a data URI. Raises DataError when it is none."""
    picture = pixels.open_picture(content)
    picture.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
