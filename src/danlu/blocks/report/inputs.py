"""How a report shows an input: as text, or as a small picture inside the page."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any

from danlu.blocks import pixels
from danlu.contracts import Task
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


def thumbnail(content: Any) -> str:
    """A picture, drawn small, as a data URI. Raises DataError when it is none."""
    picture = pixels.open_picture(content)
    picture.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
