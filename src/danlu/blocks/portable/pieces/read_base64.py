"""An input that JSON has no word for, for an exported script."""

import base64


def read(value):
    """The input in a JSON value: a file's bytes, as base64."""
    return base64.b64decode(value)
