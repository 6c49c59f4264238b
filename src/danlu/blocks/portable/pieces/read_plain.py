"""An input that JSON has a word for, for an exported script."""


def read(value):
    """The input in a JSON value: the value itself."""
    return value
